"""Opens a TorchScript archive, scripted or traced: layers by module path, parameters as autograd leaves."""

from __future__ import annotations

import copy
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from curvcli.data.interface import Samples
from curvcli.errors import ModelError, UsageError
from curvcli.files import check_room
from curvcli.models.base import Array, Layer, Parameter, Port, as_float64
from curvcli.models.torch.archive import read_archive
from curvcli.models.torch.objective import Original, TorchObjective
from curvcli.models.torch.program import Program
from curvcli.spec.loss import LossSpec
from curvcli.wording import option

_DTYPES = {"float32": torch.float32, "float64": torch.float64}
_SPATIAL = {1: ("kernel",), 2: ("kernel_h", "kernel_w"), 3: ("kernel_d", "kernel_h", "kernel_w")}


class TorchScriptModel:
    """A loaded archive (see ``base.Model``); in inference mode, on one device, in one dtype."""

    backend = "torch"

    def __init__(self, path: Path, *, device: str = "cpu", dtype: str = "float32") -> None:
        """Load ``path``.

        Raises:
            ModelError: the file is no TorchScript archive, or is damaged.
            UsageError: the device is not there.
        """
        archive = read_archive(path)
        self.path, self.sha256 = path, archive.sha256
        self._device = _device(device)
        self._dtype = _DTYPES[dtype]
        try:
            with warnings.catch_warnings(), redirect_stdout(sys.stderr):  # loading may run code that prints
                warnings.simplefilter("ignore")  # torch.jit is deprecated in favour of torch.export; its files are not.
                self._module: Any = torch.jit.load(archive, map_location="cpu").eval()  # type: ignore[no-untyped-call]
        except Exception as error:  # what is damaged in a way that its checksums allow fails as it likes
            reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise ModelError(f"{path}: TorchScript can't be loaded: {reason.strip()[:200]}") from error
        del archive
        if not hasattr(self._module, "forward"):
            raise ModelError(f"{path}: its module has no forward(), so there is nothing to differentiate.")
        # A few bytes can be a parameter of any size, all of whose entries are in one place.
        sizes = [p.numel() * p.element_size() for p in (*self._module.parameters(), *self._module.buffers())]
        check_room(sum(sizes), f"{path}: what its parameters declare", error=ModelError)
        own_storage(self._module)
        trainable = {name: p.requires_grad for name, p in self._module.named_parameters() if p.is_floating_point()}
        wide = self._dtype is torch.float64
        self._program = Program(self._module, wide=wide)
        if wide and self._program.changed:
            # What is written down in the file's own dtype computes with numbers of that dtype only.
            own = next((p.dtype for p in self._module.parameters() if p.is_floating_point()), torch.float32)
            self._original: Original | None = Original(copy.deepcopy(self._module), own)
        else:
            self._original = Original(self._module, self._dtype)
        self._module._apply(self._converted)
        self._parameters: dict[str, Tensor] = {n: p for n, p in self._module.named_parameters() if n in trainable}
        for tensor in self._module.parameters():
            tensor.requires_grad_(False)
        # A file saved for inference may say of no parameter that it is trained; then it says nothing.
        self.layers = tuple(_layers(self._module, self._parameters, trainable if any(trainable.values()) else {}))
        self.inputs = tuple(Port(name, None, "float") for name in self._program.inputs)
        returns = self._module.forward.schema.returns
        self.outputs = tuple(Port(r.name or str(i), None, str(r.type)) for i, r in enumerate(returns))

    def _converted(self, tensor: Tensor) -> Tensor:
        """On the device; floating-point and complex numbers as precise as asked for."""
        if tensor.is_complex():
            return tensor.to(self._device, torch.complex128 if self._dtype is torch.float64 else torch.complex64)
        return tensor.to(self._device, self._dtype if tensor.is_floating_point() else None)

    @property
    def threads(self) -> int:
        return torch.get_num_threads()

    @property
    def why_no_layers(self) -> str:
        """What to tell who asks for layers of a model without any."""
        return (
            f"{self.path}: no parameters: a frozen TorchScript keeps its weights as constants.\n"
            "Save the module before torch.jit.freeze or optimize_for_inference."
        )

    def precise(self) -> TorchScriptModel:
        """The same file, opened in float64.

        Raises:
            ModelError: it is another file by now.
        """
        found = TorchScriptModel(self.path, device=str(self._device), dtype="float64")
        if found.sha256 != self.sha256:
            raise ModelError(f"{self.path}: the file was replaced during the run.")
        return found

    def values(self, parameter: str) -> Array:
        return as_float64(self._parameters[parameter].detach().cpu())

    def objective(
        self,
        samples: Samples,
        loss: LossSpec,
        *,
        output: str | None = None,
        batch_size: int = 64,
        target_column: str = "target",
    ) -> TorchObjective:
        """The loss over ``samples`` as a function of the parameters."""
        # Once per opened model: what was the same on one batch of data is the same function.
        original, self._original = self._original, None
        return TorchObjective(
            self._program,
            original,
            self._parameters,
            samples,
            loss,
            output=output,
            batch_size=batch_size,
            target_column=target_column,
            device=self._device,
            dtype=self._dtype,
            where=str(self.path),
        )


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0][:160]
        raise UsageError(f"{option('device', name)}: not available here ({reason}).") from error
    return device


def own_storage(module: Any) -> None:
    """Give every parameter memory of its own.

    Two parameters that were saved as views of one storage are two variables to autograd all the same; in shared memory
    a change of one would change the other.
    """
    seen: set[int] = set()
    for tensor in [*module.parameters(), *module.buffers()]:
        address = tensor.untyped_storage().data_ptr()
        if address in seen or not tensor.is_contiguous():
            tensor.data = tensor.data.clone(memory_format=torch.contiguous_format)
        seen.add(address)


def _owner(name: str) -> tuple[str, str]:
    """The module that a parameter belongs to for whoever built it, and its name there.

    What torch.nn.utils.parametrize makes of ``fc.weight`` lies in a module of its own,
    ``fc.parametrizations.weight.original0`` …; it is ``weight.original0`` of ``fc``.
    """
    owner, _, label = name.rpartition(".")
    parent, found, child = f".{owner}".rpartition(".parametrizations.")
    return (parent.lstrip("."), f"{child}.{label}") if found else (owner, label)


def _layers(module: Any, parameters: dict[str, Tensor], trainable: Mapping[str, bool]) -> Iterator[Layer]:
    """Parameters grouped by the module that owns them; those of the root are layers of their own."""
    kinds = {name: str(getattr(child, "original_name", "Module")) for name, child in module.named_modules()}
    groups: dict[str, list[str]] = {}
    for name in parameters:
        groups.setdefault(_owner(name)[0] or name, []).append(name)
    for owner, names in groups.items():
        kind = kinds.get(owner, "Parameter").removeprefix("Parametrized")
        found = []
        for name in names:
            label = _owner(name)[1]
            shape = tuple(parameters[name].shape)
            axes = _axes(kind, label, len(shape))
            found.append(Parameter(name, label, shape, axes, trainable.get(name, True)))
        yield Layer(owner, kind, tuple(found))


def _axes(kind: str, label: str, ndim: int) -> tuple[str, ...]:
    if label == "bias" and ndim == 1:
        return ("out",)
    if kind.startswith("ConvTranspose") and ndim - 2 in _SPATIAL:
        return ("in", "out", *_SPATIAL[ndim - 2])
    if kind.startswith("Conv") and ndim - 2 in _SPATIAL:
        return ("out", "in", *_SPATIAL[ndim - 2])
    if kind.startswith("Embedding") and ndim == 2:
        return ("token", "feature")
    if ndim == 2 and label.startswith("weight"):
        return ("out", "in")
    if ndim == 1:
        return ("feature",)
    return tuple(f"axis_{i}" for i in range(ndim))
