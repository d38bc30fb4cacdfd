"""Opens a TorchScript archive, scripted or traced: layers by module path, parameters as autograd leaves."""

from __future__ import annotations

import copy
import sys
import warnings
from collections.abc import Mapping
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from curvcli.errors import ModelError
from curvcli.files import check_room
from curvcli.models.base import Port
from curvcli.models.model import Model
from curvcli.models.torch.archive import read_archive
from curvcli.models.torch.device import device_of
from curvcli.models.torch.layers import layers_of
from curvcli.models.torch.model import DTYPES, HALVES, TorchModel
from curvcli.models.torch.parameters import Parameters, own_storage
from curvcli.models.torch.placed import move_attributes
from curvcli.models.torch.program import Original
from curvcli.models.torch.scripted import ScriptProgram, as_saved, derivative_of, script_errors


def opened(path: Path, *, device: str, dtype: str) -> Model:
    """Load an archive; see ``open.Opener``."""
    return _opened(path, device, dtype)


def _opened(path: Path, device: str, dtype: str) -> TorchModel:
    place, numbers = device_of(device), DTYPES[dtype]
    sha256, module = _loaded(path)
    # A few bytes can be a parameter of any size, all of whose entries are in one place.
    sizes = [p.numel() * p.element_size() for p in (*module.parameters(), *module.buffers())]
    check_room(sum(sizes), f"{path}: what its parameters declare", error=ModelError)
    own_storage(module)
    written = derivative_of(module.forward.graph)
    if written is not None:
        raise ModelError(
            f"{path}: its code takes a derivative itself ({written}), whose own derivatives PyTorch gets wrong.\n"
            "Use torch.autograd.grad in the forward, or write the formula out, and script it again."
        )
    narrow = any(t.dtype in HALVES for t in (*module.parameters(), *module.buffers()))
    trainable = {name: p.requires_grad for name, p in module.named_parameters() if p.is_floating_point()}
    program = ScriptProgram(module, numbers, place)
    original = _original(module, numbers, program, place)
    module._apply(partial(_converted, device=place, dtype=numbers))
    if place.type != "cpu":
        move_attributes(module, program.graph, place)
    tensors = {n: p for n, p in module.named_parameters() if n in trainable}
    for tensor in module.parameters():
        tensor.requires_grad_(False)
    kinds = {name: str(getattr(child, "original_name", "Module")) for name, child in module.named_modules()}
    returns = module.forward.schema.returns
    return TorchModel(
        path=path,
        sha256=sha256,
        program=program,
        parameters=Parameters(tensors, place, numbers),
        original=original,
        # A file saved for inference may say of no parameter that it is trained; then it says nothing.
        layers=tuple(layers_of(tensors, kinds, trainable if any(trainable.values()) else {})),
        outputs=tuple(Port(r.name or str(i), None, str(r.type)) for i, r in enumerate(returns)),
        why_no_layers=(
            f"{path}: no parameters: a frozen TorchScript keeps its weights as constants.\n"
            "Save the module before torch.jit.freeze or optimize_for_inference."
        ),
        reopened=partial(_opened, path, device),
        widened=program.halves or narrow,
    )


def _loaded(path: Path) -> tuple[str, Any]:
    """The archive's hash, and its module in inference mode, on the CPU."""
    archive = read_archive(path)
    try:
        with warnings.catch_warnings(), redirect_stdout(sys.stderr):  # loading may run code that prints
            warnings.simplefilter("ignore")  # torch.jit is deprecated in favour of torch.export; its files are not.
            module: Any = torch.jit.load(archive, map_location="cpu").eval()  # type: ignore[no-untyped-call]
    except Exception as error:  # what is damaged in a way that its checksums allow fails as it likes
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ModelError(f"{path}: TorchScript can't be loaded: {reason.strip()[:200]}") from error
    if not hasattr(module, "forward"):
        raise ModelError(f"{path}: its module has no forward(), so there is nothing to differentiate.")
    return archive.sha256, module


def _original(module: Any, dtype: torch.dtype, program: ScriptProgram, place: torch.device) -> Original:
    """The module's own ``forward``; a copy in the file's dtype where float64 was written into the program.

    What is written down in the file's own dtype computes with numbers of that dtype only.
    """
    if program.halves or (dtype is torch.float64 and program.changed):
        dtype = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
        module = copy.deepcopy(module)
        if place.type != "cpu":
            module._apply(partial(_converted, device=place))
            move_attributes(module, program.graph, place)

    def run(arguments: Mapping[str, Tensor]) -> Any:
        with script_errors():
            return module(**arguments)

    # Called as it is wherever it can be: hooks are no part of its graph.
    return Original(run if place.type == "cpu" else as_saved(module, place), dtype, rough=program.halves)


def _converted(tensor: Tensor, *, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """On the device; floating-point and complex numbers as precise as requested, if anything is."""
    if dtype is None:
        return tensor.to(device)
    if tensor.is_complex():
        return tensor.to(device, torch.complex128 if dtype is torch.float64 else torch.complex64)
    return tensor.to(device, dtype if tensor.is_floating_point() else None)
