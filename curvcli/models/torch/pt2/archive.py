"""Reads a torch.export archive once, by its plain members alone.

``torch.export.load`` unpickles (sample inputs, custom objects, subclasses of tensors), hands text of the file to
SymPy's parser, and makes Python source of its names. Here the archive's JSON is read as data and its weights as
numbers; a member that would need more than that is refused, and sample inputs are never looked at.
"""

from __future__ import annotations

import hashlib
import json
import re
import zipfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from torch import Tensor

from curvcli.errors import ModelError
from curvcli.files import UNREADABLE, check_room, read_bounded
from curvcli.memory import available_memory
from curvcli.models.torch.members import RECIPE, check_members
from curvcli.models.torch.pt2.fields import MisfitError, natural, shown, taken
from curvcli.models.torch.pt2.tensors import LITTLE, declared, tensors

# The only schema whose meaning is known here; torch raises the number for changes that older readers misread.
_SCHEMA: Final = 8
_TENSOR: Final = re.compile(r"data/(?:weights/weight|constants/tensor)_\d+$")
# Those, and whatever else is no text to be read.
_DATA: Final = re.compile(r"/(?:data/(?:weights|constants|sample_inputs|aotinductor)|extra)/[^/]*(?<!\.json)$")
_IGNORED: Final = re.compile(
    r"(?:data/sample_inputs/[^/]+\.pt|extra/.*|\.data/.*|\.format_version|\.storage_alignment|version|archive_version)$"
)
_MODEL: Final = re.compile(r"models/([^/]+)\.json$")
_CONFIG: Final = re.compile(r"data/(?:weights/.+_weights|constants/.+_constants)_config\.json$")
# What else may lie in such an archive, and what to say of it.
_REFUSED: Final = (
    (
        re.compile(r"data/aotinductor/"),
        "compiled by AOTInductor: machine code, without a graph that could be differentiated",
    ),
    (re.compile(r"data/executorch/|.*\.pte$"), "an ExecuTorch program, without a graph that could be differentiated"),
    (
        re.compile(r"data/constants/(?:custom|opaque)_obj_"),
        "it holds a pickled object; opening it would run its code, so curvcli never does",
    ),
    (
        re.compile(r"data/(?:weights|constants)/.+\.pt$"),
        "its weights are pickled, as torch did before 2.9; opening them could run code, so curvcli never does",
    ),
)
_OLD: Final = frozenset({"serialized_exported_program.json", "serialized_state_dict.pt", "serialized_state_dict.json"})


@dataclass(frozen=True)
class ExportArchive:
    """What an archive says.

    Attributes:
        sha256: of all its bytes.
        model: its JSON, parsed; no part of it has been checked.
        weights: parameters and buffers by name; what is one in the file is one tensor.
        trained: of the weights, whether each requires gradients.
        constants: tensors that are neither, by name.
        as_exported: whether the graph is the one that was traced; one that was decomposed since has lost what was
            detached.
    """

    sha256: str
    model: dict[str, Any]
    weights: Mapping[str, Tensor]
    trained: Mapping[str, bool]
    constants: Mapping[str, Tensor]
    as_exported: bool


def read_export(path: Path) -> ExportArchive:
    """Read a torch.export archive; nothing in it is run.

    Raises:
        ModelError: the file is something else, damaged, or needs more than data to be read; with what to do.
    """
    data = read_bounded(path, "a torch.export archive", available_memory(), error=ModelError)
    _refuse_other_files(path, data)
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            check_members(path, archive, lambda name: _DATA.search(name) is not None)
            return _read(path, archive, hashlib.sha256(data).hexdigest())
    except MisfitError as error:
        raise ModelError(f"{path}: {error}") from error
    except (*UNREADABLE, RecursionError) as error:
        raise ModelError(f"{path}: the archive is damaged ({str(error)[:120]}); save the model again.") from error


def _refuse_other_files(path: Path, data: bytes) -> None:
    if data[4:8] in (b"ET12", b"ET13"):
        raise ModelError(
            f"{path}: an ExecuTorch program, without a graph that could be differentiated.\nSave it with {RECIPE}."
        )
    if not zipfile.is_zipfile(BytesIO(data)):
        raise ModelError(
            f"{path}: not a torch.export archive, or a truncated one (it is a zip archive).\nSave it with {RECIPE}."
        )


def _read(path: Path, archive: zipfile.ZipFile, sha256: str) -> ExportArchive:
    members = _by_place(archive.namelist())
    models = [match[1] for name in members if (match := _MODEL.match(name))]
    _check_places(members, models)

    def read(place: str) -> bytes:
        if place not in members:
            raise MisfitError(f"{shown(place)} is missing in the archive")
        return archive.read(members[place])

    if "byteorder" in members and (read("byteorder") == b"little") != LITTLE:
        raise MisfitError("its numbers have the other byte order")
    name = models[0]
    model = _parsed(read(f"models/{name}.json"))
    version = taken(model, "schema_version", dict)
    if natural(version.get("major")) != _SCHEMA:
        raise MisfitError(f"its schema has version {version['major']}; curvcli reads version {_SCHEMA} (torch 2.9 on)")
    weights = declared(_parsed(read(f"data/weights/{name}_weights_config.json")), "weight_")
    constants = declared(_parsed(read(f"data/constants/{name}_constants_config.json")), "tensor_")
    # A few bytes can be a tensor of any size, all of whose entries are in one place.
    check_room(
        sum(one.nbytes for one in (*weights.values(), *constants.values())),
        f"{path}: what its parameters declare",
        error=ModelError,
    )
    return ExportArchive(
        sha256,
        model,
        tensors(weights, _reader(read, "data/weights/")),
        {key: one.trained for key, one in weights.items()},
        tensors(constants, _reader(read, "data/constants/")),
        model.get("verifiers") in (None, [], ["TRAINING"]),
    )


def _reader(read: Callable[[str], bytes], folder: str) -> Callable[[str], bytes]:
    return lambda member: read(folder + member)


def _by_place(names: Collection[str]) -> dict[str, str]:
    """The members by their place under the archive's one root folder."""
    members = {name.partition("/")[2]: name for name in names if not name.endswith("/")}
    last = {name.rpartition("/")[2] for name in names}
    if _OLD & last:
        raise MisfitError("saved by a torch before 2.8, whose weights are pickled")
    if "data.pkl" in last:
        raise MisfitError("pickled by torch.save, a state_dict or a module; opening it could run code")
    if len({name.partition("/")[0] for name in names}) != 1:
        raise MisfitError("a zip archive, but not one that torch.export.save wrote")
    return members


def _check_places(members: Mapping[str, str], models: list[str]) -> None:
    """Refuse an archive with anything in it that is not known to be harmless."""
    for pattern, why in _REFUSED:
        if any(pattern.match(place) for place in members):
            raise MisfitError(why)
    if not models or "archive_format" not in members:
        raise MisfitError("a zip archive, but not one that torch.export.save wrote")
    if len(models) > 1:
        raise MisfitError(f"it holds {len(models)} models ({', '.join(map(shown, models[:5]))}); save one")
    rules = (_TENSOR, _IGNORED, _MODEL, _CONFIG)
    for place in members:
        if place not in ("archive_format", "byteorder") and not any(rule.match(place) for rule in rules):
            raise MisfitError(f"it has a member that torch.export.save does not write ({shown(place)})")


def _parsed(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise MisfitError(f"its description is no JSON ({str(error)[:80]})") from error
