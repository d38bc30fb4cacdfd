"""Opens a TorchScript archive, scripted or traced: layers by module path, parameters as autograd leaves."""

from __future__ import annotations

import pickletools
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from curvcli.data.interface import Samples
from curvcli.errors import ModelError, UsageError
from curvcli.models.base import Array, Layer, Parameter, Port, as_float64
from curvcli.models.torch_objective import TorchObjective
from curvcli.models.torch_rewrite import rewrite
from curvcli.spec.dataset import LossSpec

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
        refuse_other_files(path)
        self.path = path
        self._device = _device(device)
        self._dtype = _DTYPES[dtype]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch.jit is deprecated in favour of torch.export; its files are not.
                self._module: Any = torch.jit.load(str(path), map_location="cpu").eval()  # type: ignore[no-untyped-call]
        except RuntimeError as error:
            raise ModelError(
                f"{path}: TorchScript can't be loaded: {str(error).strip().splitlines()[0][:200]}"
            ) from error
        self._parameters: dict[str, Tensor] = {
            name: p for name, p in self._module.named_parameters() if p.is_floating_point()
        }
        self._module.to(self._device, self._dtype)
        rewrite(self._module.forward.graph, widen=self._dtype is torch.float64)
        self._parameters = {n: p for n, p in self._module.named_parameters() if n in self._parameters}
        for tensor in self._module.parameters():
            tensor.requires_grad_(False)
        self.layers = tuple(_layers(self._module, self._parameters))
        arguments = self._module.forward.schema.arguments[1:]
        self.inputs = tuple(Port(a.name, None, "float") for a in arguments if not a.has_default_value())
        returns = self._module.forward.schema.returns
        self.outputs = tuple(Port(r.name or str(i), None, str(r.type)) for i, r in enumerate(returns))

    @property
    def why_no_layers(self) -> str:
        """What to tell who asks for layers of a model without any."""
        return (
            f"{self.path}: no parameters: a frozen TorchScript keeps its weights as constants.\n"
            "Save the module before torch.jit.freeze or optimize_for_inference."
        )

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
        return TorchObjective(
            self._module,
            self._parameters,
            [p.name for p in self.inputs],
            samples,
            loss,
            output=output,
            batch_size=batch_size,
            target_column=target_column,
            device=self._device,
            dtype=self._dtype,
            where=str(self.path),
        )


def refuse_other_files(path: Path) -> None:
    """Say what a file is when it is not a TorchScript archive; nothing in it is executed.

    Raises:
        ModelError: with one line per kind of file, and what to do.
    """
    if not zipfile.is_zipfile(path):
        raise ModelError(
            f"{path}: not a TorchScript file, or a truncated one (a TorchScript file is a zip archive).\n"
            "Save it with torch.jit.save(torch.jit.script(model), PATH)."
        )
    with zipfile.ZipFile(path) as archive:
        members = archive.namelist()
        if any(m.endswith("constants.pkl") for m in members):
            return
        if any("/models/" in m or m.endswith("archive_format") for m in members):
            raise ModelError(f"{path}: a torch.export archive; curvcli reads TorchScript files (torch.jit.save).")
        pickled = next((m for m in members if m.endswith("data.pkl")), None)
        if pickled is None:
            raise ModelError(f"{path}: a zip archive, but not a TorchScript one.")
        classes = list(_pickled_classes(archive.read(pickled)))
    if any(c.startswith(("torch.nn", "__main__")) or not c.startswith(("torch", "collections")) for c in classes):
        raise ModelError(
            f"{path}: a pickled nn.Module (torch.save(model)); opening it would run its code, so curvcli never does.\n"
            "Save it with torch.jit.save(torch.jit.script(model), PATH)."
        )
    raise ModelError(
        f"{path}: a state_dict: weights without the model.\n"
        "Load it into the model and save that with torch.jit.save(torch.jit.script(model), PATH)."
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


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0][:160]
        raise UsageError(f"--device {name}: not available here ({reason}).") from error
    return device


def _layers(module: Any, parameters: dict[str, Tensor]) -> Iterator[Layer]:
    """Parameters grouped by the module that owns them; those of the root are layers of their own."""
    kinds = {name: str(getattr(child, "original_name", "Module")) for name, child in module.named_modules()}
    groups: dict[str, list[str]] = {}
    for name in parameters:
        owner, _, _ = name.rpartition(".")
        groups.setdefault(owner or name, []).append(name)
    for owner, names in groups.items():
        kind = kinds.get(owner, "Parameter")
        found = []
        for name in names:
            label = name.rpartition(".")[2]
            shape = tuple(parameters[name].shape)
            found.append(Parameter(name, label, shape, _axes(kind, label, len(shape))))
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
