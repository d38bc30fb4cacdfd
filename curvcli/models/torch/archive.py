"""Reads a TorchScript file once: what is hashed and checked is what is loaded."""

from __future__ import annotations

import hashlib
import pickletools
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from curvcli.errors import ModelError
from curvcli.files import UNREADABLE, read_bounded
from curvcli.memory import available_memory
from curvcli.models.torch.members import RECIPE, check_members
from curvcli.models.torch.source import refused_operators, too_deep
from curvcli.models.torch.storages import misfit

# The members of an archive that hold tensors; all others are code or say how to read it.
_TENSOR = re.compile(r"/(?:data|constants|tensors)/[^/]*$|^[^/]*/data\.pkl$")


@dataclass(frozen=True)
class Archive:
    """A file's bytes, as a stream that torch reads from.

    Attributes:
        data: all of them.
        sha256: of the data.
    """

    data: bytes
    sha256: str

    def read(self) -> bytes:
        """All bytes; torch asks for them in one piece."""
        return self.data


def read_archive(path: Path) -> Archive:
    """Read a TorchScript archive, and hold every member against its checksum, which torch does not.

    Raises:
        ModelError: the file is something else, or damaged; with what to do.
    """
    data = read_bounded(path, "a TorchScript file", available_memory(), error=ModelError)
    try:
        _refuse_other_files(path, BytesIO(data))
    except UNREADABLE as error:
        raise ModelError(f"{path}: the archive is damaged ({str(error)[:120]}); save the model again.") from error
    return Archive(data, hashlib.sha256(data).hexdigest())


def _check_tensors(path: Path, archive: zipfile.ZipFile) -> None:
    """Raise a ModelError if a tensor is declared over more bytes than the archive has for it."""
    sizes = {one.filename: one.file_size for one in archive.infolist()}
    for description in [name for name in sizes if name.endswith(("/data.pkl", "/constants.pkl"))]:
        folder = description.removesuffix(".pkl") + "/"
        members = {name.removeprefix(folder): size for name, size in sizes.items() if name.startswith(folder)}
        wrong = misfit(archive.read(description), members)
        if wrong is not None:
            raise ModelError(f"{path}: {wrong}; save or copy the model again.")


def _refuse_operators(path: Path, archive: zipfile.ZipFile) -> None:
    """Raise a ModelError if the code may call what is not on the list; nothing in it has run."""
    # What is no UTF-8 is no code that torch writes, but it reads any bytes.
    code = [archive.read(n).decode("utf-8", errors="replace") for n in archive.namelist() if n.endswith(".py")]
    if any(map(too_deep, code)):
        raise ModelError(f"{path}: its code is nested deeper than torch can read; export the network again.")
    refused = refused_operators(code)
    if any("quantized." in name for name in refused):
        raise ModelError(
            f"{path}: a quantised network: its weights are whole numbers, by which nothing can be differentiated.\n"
            f"Save the network it was made of, with {RECIPE}."
        )
    if refused:
        raise ModelError(
            f"{path}: its code uses {', '.join(refused[:5])}, which curvcli does not run: it may touch files, other "
            "processes or memory that is not its own.\nExport the network without it."
        )


def _refuse_other_files(path: Path, stream: BytesIO) -> None:
    """Say what a file is when it is not a TorchScript archive; nothing in it is executed."""
    if not zipfile.is_zipfile(stream):
        raise ModelError(
            f"{path}: not a TorchScript file, or a truncated one (a TorchScript file is a zip archive).\n"
            f"Save it with {RECIPE}."
        )
    with zipfile.ZipFile(stream) as archive:
        members = archive.namelist()
        if any(m.endswith("constants.pkl") for m in members):
            check_members(path, archive, lambda name: _TENSOR.search(name) is not None)
            _check_tensors(path, archive)
            _refuse_operators(path, archive)
            return
        if any(m.endswith("serialized_exported_program.json") for m in members):
            raise ModelError(
                f"{path}: a torch.export archive of an old torch, whose weights are pickled.\n"
                "Load it with the torch that saved it, and save it with torch.export.save in torch 2.9 or later."
            )
        pickled = next((m for m in members if m.endswith("data.pkl")), None)
        if pickled is None:
            raise ModelError(f"{path}: a zip archive, but not a TorchScript one.")
        classes = list(_pickled_classes(archive.read(pickled)))
    if any(c.startswith(("torch.nn", "__main__")) or not c.startswith(("torch", "collections")) for c in classes):
        raise ModelError(
            f"{path}: a pickled nn.Module (torch.save(model)); opening it would run its code, so curvcli never does.\n"
            f"Save it with {RECIPE}."
        )
    raise ModelError(
        f"{path}: a state_dict: weights without the model.\nLoad it into the model and save that with {RECIPE}."
    )


def _pickled_classes(data: bytes) -> Iterator[str]:
    """Names of the classes a pickle would build, read without building any."""
    strings: list[str] = []
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name == "GLOBAL":
            yield str(argument).replace(" ", ".")
        elif "UNICODE" in opcode.name:
            strings.append(str(argument))
        elif opcode.name == "STACK_GLOBAL" and len(strings) >= 2:
            yield ".".join(strings[-2:])
