"""Opens a torch.export archive: layers by module path, parameters as autograd leaves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from curvcli.errors import ModelError
from curvcli.models.base import Port
from curvcli.models.model import Model
from curvcli.models.torch.device import device_of
from curvcli.models.torch.layers import layers_of
from curvcli.models.torch.model import DTYPES, HALVES, TorchModel
from curvcli.models.torch.parameters import Parameters
from curvcli.models.torch.program import Original
from curvcli.models.torch.pt2.archive import ExportArchive, read_export
from curvcli.models.torch.pt2.equal import written_out
from curvcli.models.torch.pt2.fields import MisfitError, shown
from curvcli.models.torch.pt2.graph import Graph, GraphReader
from curvcli.models.torch.pt2.ports import ports_of
from curvcli.models.torch.pt2.program import ExportedProgram
from curvcli.models.torch.pt2.signature import Held, Signature, signature_of

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_DECOMPOSED = (
    "decomposed (run_decompositions), whereby torch drops every detach and torch.no_grad: if the network has one, "
    "these are derivatives of another function. Save what torch.export.export returned"
)
_COMPLEX = {torch.float32: torch.complex64, torch.float64: torch.complex128}


def opened(path: Path, *, device: str, dtype: str) -> Model:
    """Read an archive; see ``open.Opener``."""
    return _opened(path, device, dtype)


def _opened(path: Path, device: str, dtype: str) -> TorchModel:
    place, numbers = device_of(device), DTYPES[dtype]
    archive = read_export(path)
    try:
        signature = signature_of(archive.model)
        names = dict(_held(archive, signature))
        own = _dtype(archive, names)
        reader = GraphReader(_replaced(own, numbers), place)
        graph = reader.graph(archive.model["graph_module"]["graph"])
        exact = written_out(graph)
        original = graph
        if reader.replaced and own in DTYPES.values():
            original = GraphReader(_replaced(own, own), place).graph(archive.model["graph_module"]["graph"])
    except MisfitError as error:
        raise ModelError(f"{path}: {error}") from error
    except RecursionError as error:
        raise ModelError(f"{path}: its graph is nested too deep to be read; export the network again.") from error
    tensors = _converted(archive, signature, place, numbers)
    variables = [name for name, is_first in names.items() if is_first and tensors[name].is_floating_point()]
    parameters = {name: tensors[name] for name in variables}
    compared = None
    if exact is not graph or original is not graph:
        as_saved = tensors if original is graph else _converted(archive, signature, place, own)
        compared = Original(ExportedProgram(original, signature, as_saved), numbers if original is graph else own)
    trained = {name: archive.trained[name] for name in parameters}
    return TorchModel(
        path=path,
        sha256=archive.sha256,
        program=ExportedProgram(exact, signature, tensors),
        parameters=Parameters(parameters, place, numbers),
        original=compared,
        # A file saved for inference may say of no parameter that it is trained; then it says nothing.
        layers=tuple(layers_of(parameters, _kinds(graph, tensors), trained if any(trained.values()) else {})),
        outputs=tuple(
            Port(one.name or "output", None, str(one.dtype).removeprefix("torch.")) for one in signature.outputs
        ),
        why_no_layers=(
            f"{path}: no parameters: its weights were exported as constants.\n"
            "Export the module with its weights as parameters, or its inputs alone can be differentiated by."
        ),
        reopened=partial(_opened, path, device),
        caveat=None if archive.as_exported else _DECOMPOSED,
        ports=ports_of(signature, graph, tensors),
        widened=not reader.replaced.union(_dtypes(archive)).isdisjoint(HALVES),
    )


def _held(archive: ExportArchive, signature: Signature) -> Iterator[tuple[str, bool]]:
    """The parameters that the graph reads, and whether each is the first name of its tensor."""
    identities: set[int] = set()
    for one in signature.inputs:
        if not isinstance(one, Held):
            continue
        stored = archive.weights if one.is_parameter or one.name in archive.weights else archive.constants
        if one.name not in stored:
            raise MisfitError(f"{shown(one.name)} is missing in the archive")
        if one.is_parameter:
            yield one.name, id(stored[one.name]) not in identities
            identities.add(id(stored[one.name]))


def _dtypes(archive: ExportArchive) -> set[torch.dtype]:
    return {tensor.dtype for tensor in (*archive.weights.values(), *archive.constants.values())}


def _dtype(archive: ExportArchive, names: Mapping[str, bool]) -> torch.dtype:
    """The dtype of the file's own numbers: that of its first parameter, or of whatever it has."""
    tensors = [*(archive.weights[name] for name in names), *archive.weights.values(), *archive.constants.values()]
    return next((t.dtype for t in tensors if t.is_floating_point()), torch.float32)


def _replaced(own: torch.dtype, wanted: torch.dtype) -> dict[torch.dtype, torch.dtype]:
    """What takes the place of dtypes written in the graph: its own, and all that would round what is requested.

    A recurrent network creates its first state in float32; left alone, that would meet float64.
    """
    replacements = {one: wanted for one in _FLOATS if one is own or one.itemsize < wanted.itemsize}
    replacements |= {_COMPLEX[one]: _COMPLEX[wanted] for one in replacements if one in _COMPLEX}
    return {old: new for old, new in replacements.items() if old is not new}


def _converted(
    archive: ExportArchive, signature: Signature, place: torch.device, dtype: torch.dtype
) -> dict[str, Tensor]:
    """What the graph reads by name, on the device; floating-point and complex numbers as precise as requested.

    Two names of one parameter stay one tensor; a buffer that is a parameter's memory gets its own, which is no
    variable.
    """
    made: dict[tuple[int, bool], Tensor] = {}
    converted = {}
    for one in signature.inputs:
        if isinstance(one, Held):
            stored = archive.weights[one.name] if one.name in archive.weights else archive.constants[one.name]
            key = (id(stored), one.is_parameter)
            if key not in made:
                numbers = _COMPLEX.get(dtype) if stored.is_complex() else dtype if stored.is_floating_point() else None
                made[key] = stored.to(place, numbers, copy=True)
            converted[one.name] = made[key]
    return converted


def _kinds(graph: Graph, tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """The class of each module by its path; ``Module`` where a module was not called, and its weights were used.

    One that shares its weight with another that was called is of the same class.
    """
    called = {path.partition("@")[0]: kind for node in graph.all_nodes() for path, kind in node.modules}
    owners: dict[int, list[str]] = {}
    for name, tensor in tensors.items():
        if "." in name:
            owners.setdefault(id(tensor), []).append(name.rpartition(".")[0])
    shared = {
        owner: next((called[one] for one in group if one in called), "Module")
        for group in owners.values()
        for owner in group
    }
    return shared | called
