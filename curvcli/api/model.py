"""A model, opened once for many calls."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from curvcli.analysis.options.record import filled
from curvcli.analysis.options.shared import ModelOptions
from curvcli.api.arguments import Name, StrPath, name_of, path_of
from curvcli.errors import UsageError
from curvcli.files import lasting
from curvcli.models import open as files
from curvcli.models.base import Array, Layer, Port
from curvcli.models.choice import Choice
from curvcli.models.model import Model as OpenedModel
from curvcli.spec.mistakes import listed
from curvcli.text import did_you_mean

# What a model is opened with, by the names of options.
OPENED_WITH: Final = ("device", "dtype", "signature", "tag_set", "threads")
# What may be another in each call.
_FREE: Final = "threads"


class Model:
    """A model, opened; see `open_model`.

    Attributes:
        path: the file or directory, as it was passed; absolute once the working directory is another one. Of a model
            from memory, the temporary file or directory in which it was saved, which lives as long as this object.
        data: the dataset spec that it was opened with; None if that is looked for by each call.
        device: e.g. ``cpu``.
        dtype: ``float32`` or ``float64``.
        threads: as it was passed.
        signature: as it was passed.
        tag_set: as it was passed.
        layers: in model order; each has a ``name``, a ``kind``, a ``size`` and ``parameters`` with ``name``, ``label``,
            ``shape``, ``axes`` and ``size``.
        inputs: each with ``name``, ``shape`` and ``dtype``; None in a shape is any length.
        outputs: likewise.
    """

    def __init__(
        self,
        opened: OpenedModel,
        *,
        device: str,
        dtype: str,
        choice: Choice,
        threads: int | None = None,
        data: Path | None = None,
    ) -> None:
        self.opened = opened
        self.data = None if data is None else data.absolute()
        self._as_written: Path = opened.path
        self._absolute = self._as_written.absolute()
        self.device, self.dtype, self.threads = device, dtype, threads
        self.signature, self.tag_set = choice.signature, choice.tag_set
        self.layers: tuple[Layer, ...] = opened.layers
        self.inputs: tuple[Port, ...] = opened.inputs
        self.outputs: tuple[Port, ...] = opened.outputs

    @property
    def path(self) -> Path:
        """The file or directory."""
        return self._as_written if self._as_written.absolute() == self._absolute else self._absolute

    def values(self, parameter: Name) -> Array:
        """A parameter's values, float64, in its own shape.

        Args:
            parameter: its full name, e.g. ``fc1.weight``, or what has it, one of a layer's ``parameters``.

        Raises:
            UsageError: there is no such parameter; the message has the nearest names.
        """
        names = [p.name for layer in self.layers for p in layer.parameters]
        name = name_of("parameter", parameter)
        if name not in names:
            advice = did_you_mean(name, names, f"there are {listed(names, last='and')}.", most=3)
            raise UsageError(f"{self.path}: no parameter {name!r}: {advice}")
        return self.opened.values(name)

    def __repr__(self) -> str:
        size = sum(layer.size for layer in self.layers)
        has = f"{len(self.layers)} layers, {size:,} entries"
        return f"<curvcli.Model {lasting(self.path)}: {has}, {self.dtype} on {self.device}>"


def opened(path: Path, how: Mapping[str, Any], *, data: Path | None = None) -> Model:
    """Open a path.

    Args:
        path: of a saved model.
        how: the values of `OPENED_WITH`; None for a default.
        data: the dataset spec to go with it.

    Raises:
        UsageError: a wrong path or device, or the framework is not installed.
        ModelError: the file can't be opened.
    """
    values = {"model": path} | {name: value for name, value in how.items() if value is not None}
    options = filled(ModelOptions, values)
    device, dtype, choice, threads = options.device, options.dtype, options.choice, options.threads
    model = files.open_model(options.model, device=device, dtype=dtype, choice=choice, threads=threads)
    return Model(model, device=device, dtype=dtype, choice=choice, threads=threads, data=data)


def settled(model: Model | StrPath, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """A call's path, and how it is opened: as an opened model was, or by the arguments of these names.

    Also the dataset spec that goes with an opened model, unless the call has another.

    Raises:
        UsageError: the model was opened otherwise.
    """
    if not isinstance(model, Model):
        return {"model": path_of("model", model)}
    for name in OPENED_WITH:
        value, opened = arguments[name], getattr(model, name)
        if value is not None and name != _FREE and str(value) != opened:
            raise UsageError(
                f"{name}={value!r}: {model.path} was opened with {opened!r}.\n"
                f"Open it anew: curvcli.open_model(path, {name}={value!r})."
            )
    override = {} if arguments[_FREE] is None else {_FREE: arguments[_FREE]}
    return how_opened(model) | override | ({} if arguments["data"] is not None else {"data": model.data})


def how_opened(model: Model) -> dict[str, Any]:
    """An opened model's path, and what it was opened with, by the names of options."""
    return {"model": model.path} | {name: getattr(model, name) for name in OPENED_WITH}
