"""Reads a preconditioner: an ``.npz`` file with a positive array for each parameter, by its name."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from curvcli.arrays import Archive
from curvcli.errors import UsageError
from curvcli.files import UNREADABLE, open_regular
from curvcli.models.base import Array, Layer, Parameter
from curvcli.spec.mistakes import listed
from curvcli.text import cut, quoted
from curvcli.wording import option


def read_preconditioner(path: Path, parameters: Sequence[Parameter], layers: Sequence[Layer]) -> Array:
    """The diagonal of P for some parameters, raveled and joined, (n,), float64.

    Args:
        path: of the file; it is not trusted: sizes are checked before anything is read, and nothing is unpickled.
        parameters: of which each needs an array of its shape.
        layers: of the model; arrays for others of their parameters may stand in the file too.

    Raises:
        UsageError: the file can't be read, or an array is missing, of another shape, or not positive.
    """
    where = option("preconditioner", str(path))
    with open_regular(path, "an .npz file", shown=where) as stream:
        if not zipfile.is_zipfile(stream):
            raise UsageError(f"{where}: is no complete .npz file; np.savez writes one.")
        try:
            archive = Archive(stream)
        except UNREADABLE:
            raise UsageError(f"{where}: is damaged; write it again with np.savez.") from None
        missing = [p.name for p in parameters if p.name not in archive.names]
        if missing:
            raise UsageError(
                f"{where}: it has no array {listed(missing)}.\nIt needs one for every parameter, by its name."
            )
        every = {p.name for layer in layers for p in layer.parameters}
        strange = [name for name in archive.names if name not in every]
        if strange:
            raise UsageError(f"{where}: the model has no parameter {listed([quoted(cut(name)) for name in strange])}.")
        return np.concatenate([_array(archive, p, where) for p in parameters] or [np.zeros(0)])


def _array(archive: Archive, parameter: Parameter, where: str) -> Array:
    """The entries of one array, (size,).

    Raises:
        UsageError: it is damaged, of another shape, or holds something else than positive numbers.
    """
    name = parameter.name
    try:
        header = archive.header(name)
        if header.shape != parameter.shape:
            raise UsageError(f"{where}: {name} has shape {header.shape} there, and {parameter.shape} in the model.")
        if header.dtype.kind not in "fiu":
            raise UsageError(f"{where}: {name} holds {header.dtype}; real numbers are needed.")
        values = np.asarray(archive.read(name, f"{where}: {name}", error=UsageError), dtype=np.float64).ravel()
    except UNREADABLE:
        raise UsageError(f"{where}: {name} is damaged; write the file again with np.savez.") from None
    if not (np.isfinite(values).all() and (values > 0).all()):
        bad = int(np.argmin(np.isfinite(values) & (values > 0)))
        raise UsageError(
            f"{where}: {name}: entry {bad} is {values[bad]:.6g}; P has to be positive.\n"
            "Of Adam's second moments v, P is √v + ε."
        )
    return values
