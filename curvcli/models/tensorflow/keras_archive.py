"""Reads a ``.keras`` file once, and holds all of it against what Keras itself writes, before Keras sees any of it."""

from __future__ import annotations

import hashlib
import json
import zipfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from curvcli.errors import ModelError
from curvcli.files import UNREADABLE, check_room, read_bounded, size_text
from curvcli.memory import available_memory
from curvcli.models.tensorflow.keras_config import ForeignPartError, read_config

_CONFIG, _WEIGHTS, _METADATA = "config.json", "model.weights.h5", "metadata.json"
_TEXT_LIMIT: Final = 64 << 20
_MOST_DEEP: Final = 256
_OPTIMIZER: Final = b"optimizer"
_SMALL_ATTRIBUTE: Final = 1 << 12
_EXPORT: Final = "Open it where you trust it, and export the network alone: model.export(FOLDER)"


@dataclass(frozen=True)
class KerasArchive:
    """What of a file is loaded.

    Attributes:
        sha256: of the file.
        config: of the model, every class of which may be made.
        weights: an HDF5 file.
        numbers: how many numbers its weights are, those of optimizers not counted.
    """

    sha256: str
    config: dict[str, Any]
    weights: bytes
    numbers: int


def read_keras(path: Path) -> KerasArchive:
    """Read a file and check it.

    Raises:
        ModelError: it is damaged, names what is none of Keras's own building blocks, or holds what no weights need.
    """
    data = read_bounded(path, "a Keras file", available_memory(), error=ModelError)
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            config, weights = _members(path, archive)
        numbers = _check_weights(path, weights)
    except UNREADABLE as error:
        raise ModelError(f"{path}: the Keras file is damaged ({str(error)[:120]}); save the model again.") from error
    return KerasArchive(hashlib.sha256(data).hexdigest(), config, weights, numbers)


def _members(path: Path, archive: zipfile.ZipFile) -> tuple[dict[str, Any], bytes]:
    members = {one.filename: one for one in archive.infolist() if not one.is_dir()}
    if len(members) < len([one for one in archive.infolist() if not one.is_dir()]):
        raise ModelError(f"{path}: two members of the archive have one name; save the model again.")
    assets = next((name for name in members if name.startswith("assets/")), None)
    if assets is not None:
        raise ModelError(f"{path}: {assets[:80]} comes with it, a file that a layer reads.\n{_EXPORT}")
    other = next((name for name in members if name not in (_CONFIG, _WEIGHTS, _METADATA)), None)
    missing = [name for name in (_CONFIG, _WEIGHTS) if name not in members]
    if other is not None or missing:
        why = f"without {missing[0]}" if missing else f"with {str(other)[:80]}"
        raise ModelError(f"{path}: an archive {why}, so not what Keras 3 saves.\nWrite it by model.save('NEW.keras').")
    large = next((n for n in (_CONFIG, _METADATA) if n in members and members[n].file_size > _TEXT_LIMIT), None)
    if large is not None:
        raise ModelError(f"{path}: {large} unpacks to {size_text(members[large].file_size)}: too much for text.")
    check_room(sum(one.file_size for one in members.values()), f"{path}: unpacked, it", error=ModelError)
    if _METADATA in members:
        _check_version(path, archive.read(_METADATA))
    try:
        return read_config(archive.read(_CONFIG)), archive.read(_WEIGHTS)
    except ForeignPartError as foreign:
        raise ModelError(
            f"{path}: it contains {foreign.what}, which curvcli does not run from a Keras file.\n{_EXPORT}"
        ) from None
    except RecursionError as error:
        raise ValueError("config.json is nested too deep") from error


def _check_version(path: Path, data: bytes) -> None:
    metadata = json.loads(data)
    version = str(metadata.get("keras_version", "")) if isinstance(metadata, dict) else ""
    if version[:2] in ("1.", "2."):
        raise ModelError(f"{path}: saved by Keras {version[:20]}; Keras 3 is needed.\nThere, run model.export(FOLDER).")


# -- the weights ------------------------------------------------------------------------------------------------------


def _check_weights(path: Path, data: bytes) -> int:
    """Hold every object against what a model's weights need; return how many numbers layers have in it."""
    import h5py

    from curvcli.hdf5 import UnsoundDatasetError

    try:
        with h5py.File(BytesIO(data), "r") as file:
            return _walk(h5py.h5g.open(file.id, b"/"), len(data))
    except UnsoundDatasetError as unsound:
        raise ModelError(f"{path}: {_WEIGHTS}: {str(unsound)[:200]}; save the model again.") from None


def _walk(root: Any, size: int) -> int:
    import h5py

    from curvcli.hdf5 import UnsoundDatasetError

    numbers = stored = 0
    addresses = {h5py.h5o.get_info(root).addr}
    waiting: list[tuple[bytes, Any]] = [(b"", root)]
    while waiting:
        place, group = waiting.pop()
        for name in list(group):
            path = place + b"/" + name
            try:
                item = _opened(group, name, addresses)
                if isinstance(item, h5py.h5g.GroupID) and path.count(b"/") <= _MOST_DEEP:
                    waiting.append((path, item))
                else:
                    held, taken = _numbers(item)
                    stored += taken
                    if _OPTIMIZER not in path.split(b"/"):
                        numbers += held
            except UnsoundDatasetError as unsound:
                raise UnsoundDatasetError(f"{path.decode('utf-8', 'replace')} {unsound}") from None
    if stored > size:
        raise UnsoundDatasetError("more is declared than the file has bytes")
    return numbers


def _opened(group: Any, name: bytes, addresses: set[Any]) -> Any:
    """An object of a group, if it is met for the first time and lies in the file itself."""
    import h5py

    from curvcli.hdf5 import UnsoundDatasetError

    if group.links.get_info(name).type != h5py.h5l.TYPE_HARD:
        raise UnsoundDatasetError("is a link to somewhere else")
    item = h5py.h5o.open(group, name)
    address = h5py.h5o.get_info(item).addr
    if address in addresses:
        raise UnsoundDatasetError("is a second name of something else")
    addresses.add(address)
    _check_attributes(item)
    return item


def _numbers(item: Any) -> tuple[int, int]:
    """How many numbers a dataset has, and in how many bytes of the file."""
    import h5py

    from curvcli.hdf5 import UnsoundDatasetError, check_dataset

    if not isinstance(item, h5py.h5d.DatasetID):
        raise UnsoundDatasetError("is a named datatype, or lies too deep")
    stored = check_dataset(item, values=frozenset({h5py.h5t.INTEGER, h5py.h5t.FLOAT}))
    return int(item.get_space().get_simple_extent_npoints()), stored


def _check_attributes(item: Any) -> None:
    """Keras writes a name beside the weights, and reads it."""
    import h5py

    from curvcli.hdf5 import VALUES, UnsoundDatasetError

    for number in range(h5py.h5a.get_num_attrs(item)):
        attribute = h5py.h5a.open(item, index=number)
        if attribute.get_storage_size() > _SMALL_ATTRIBUTE or attribute.get_type().get_class() not in VALUES:
            raise UnsoundDatasetError("has an attribute that no weights have")
