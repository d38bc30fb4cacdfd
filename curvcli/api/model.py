"""A saved model, opened once for many calls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from curvcli.api.call import Name, StrPath, call, name_of, path_of
from curvcli.api.turn import TURN
from curvcli.cli import layers
from curvcli.errors import UsageError
from curvcli.models import open as files
from curvcli.models.base import Array, Layer, Port
from curvcli.models.model import Model as OpenedModel

MODEL_WANTED = "what curvcli.open_model returns is wanted, or the path of a saved model"


class Model:
    """A saved model, opened; see `open_model`.

    Attributes:
        path: the file or directory, as it was given; absolute once the working directory is another one.
        device: e.g. ``cpu``.
        dtype: ``float32`` or ``float64``.
        layers: in model order; each has a ``name``, a ``kind``, a ``size`` and ``parameters`` with ``name``, ``label``,
            ``shape``, ``axes`` and ``size``.
        inputs: each with ``name``, ``shape`` and ``dtype``; None in a shape is any length.
        outputs: likewise.
    """

    def __init__(self, opened: OpenedModel, *, device: str, dtype: str) -> None:
        self.opened = opened
        self._given: Path = opened.path
        self._absolute = self._given.absolute()
        self.device, self.dtype = device, dtype
        self.layers: tuple[Layer, ...] = opened.layers
        self.inputs: tuple[Port, ...] = opened.inputs
        self.outputs: tuple[Port, ...] = opened.outputs

    @property
    def path(self) -> Path:
        """The file or directory."""
        return self._given if self._given.absolute() == self._absolute else self._absolute

    def values(self, parameter: Name) -> Array:
        """A parameter's values, float64, in its own shape.

        Args:
            parameter: its full name, e.g. ``fc1.weight``, or what has it, one of a layer's ``parameters``.

        Raises:
            UsageError: there is no such parameter; the message has the nearest names.
        """
        known = [p.name for layer in self.layers for p in layer.parameters]
        name = name_of("parameter", parameter)
        if name not in known:
            raise UsageError(f"{self.path}: no parameter {name!r}: {nearest(name, known)}")
        return self.opened.values(name)

    def __repr__(self) -> str:
        size = sum(layer.size for layer in self.layers)
        return (
            f"<curvcli.Model {self.path}: {len(self.layers)} layers, {size:,} entries, {self.dtype} on {self.device}>"
        )


def open_model(path: StrPath, device: str = "cpu", dtype: str = "float32") -> Model:
    """Open a saved model, as ``curvcli layers`` does; nothing in it is executed but its graph.

    Args:
        path: a TensorFlow SavedModel directory or a TorchScript file.
        device: ``cpu``, ``cuda``, ``cuda:1`` ….
        dtype: ``float32`` or ``float64``: the whole model is converted.

    Raises:
        UsageError: a wrong path or device, or the framework is not installed.
        ModelError: the file can't be opened.

    Example:
        >>> import curvcli
        >>> model = curvcli.open_model("sample_models/mlp_tanh.pt")
        >>> [layer.name for layer in model.layers]
        ['fc1', 'norm', 'fc2', 'fc3']
        >>> model.values("fc1.weight").shape
        (32, 64)
    """
    wanted = path_of("path", path, "the path of a SavedModel directory or a TorchScript file is wanted")
    given = call(layers.command, wanted, {"device": device, "dtype": dtype}).given
    with TURN:
        opened = files.open_model(given["model"], device=given["device"], dtype=given["dtype"])
    return Model(opened, device=given["device"], dtype=given["dtype"])


def settled(model: Model | StrPath, device: str | None, dtype: str | None) -> dict[str, Any]:
    """A call's options for path, device and dtype: those of an opened model, or what was asked for.

    Raises:
        UsageError: the model was opened otherwise.
    """
    asked = {"device": device, "dtype": dtype}
    if not isinstance(model, Model):
        return asked
    for name, value in asked.items():
        opened = getattr(model, name)
        if value is not None and str(value) != opened:
            raise UsageError(
                f"{name}={value!r}: {model.path} was opened with {opened!r}.\n"
                f"Open it anew: curvcli.open_model(path, {name}={value!r})."
            )
    return {"device": model.device, "dtype": model.dtype}


def nearest(name: str, known: list[str]) -> str:
    """What to say of a name that is not known."""
    from difflib import get_close_matches

    near = get_close_matches(name, known, n=3) or known[:10]
    return f"did you mean {', '.join(near)}?" if near else "there is none"
