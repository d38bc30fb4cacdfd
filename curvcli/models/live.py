"""Models in memory: which kind an object is, and the saved model that is made of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Protocol

from curvcli.errors import UsageError
from curvcli.models.base import Array
from curvcli.spec.mistakes import listed
from curvcli.text import cut, printable

# Inputs of a few samples, as they are passed: by position, or by name.
Example = tuple[Array, ...] | Mapping[str, Array]
_LONGEST: Final = 60  # of a file's name; some file systems end at 143 bytes


class Saver(Protocol):
    """What the module of a kind has as ``saved``."""

    def __call__(self, model: Any, example: Example | None, folder: Path) -> Path:
        """Save a model as it is in inference mode, and leave the object as it was.

        Args:
            model: the object.
            example: inputs of two samples or more; None if there are none.
            folder: to save into; it exists.

        Returns:
            The file or directory, which `models.open` opens.

        Raises:
            UsageError: an example is needed, or does not go with the model.
            ModelError: it can't be saved.
        """
        ...


@dataclass(frozen=True)
class Kind:
    """A kind of models in memory.

    Attributes:
        name: with an article, for messages.
        base: the class that all of the kind are derived from, with its module.
        module: that saves them, below ``curvcli.models``; it is imported when one is met.
    """

    name: str
    base: str
    module: str


# The first that fits: a Keras model may be a tf.Module too, a scripted module is a torch.nn.Module.
KINDS: Final = (
    Kind("a torch.export program", "torch.export.exported_program.ExportedProgram", "torch.live_program"),
    Kind("a scripted torch module", "torch.jit._script.ScriptModule", "torch.live_script"),
    Kind("a torch.nn.Module", "torch.nn.modules.module.Module", "torch.live_module"),
    Kind("a Keras model", "keras.src.models.model.Model", "tensorflow.live_keras"),
    Kind("a tf.Module", "tensorflow.python.module.module.Module", "tensorflow.live_module"),
)


def kind_of(model: Any) -> Kind | None:
    """The kind of an object; None if it is no model. Its classes are told by their names: nothing is imported."""
    classes = set(_classes(model))
    return next((kind for kind in KINDS if kind.base in classes), None)


def saved(model: Any, example: Example | None, folder: Path) -> Path:
    """Save a model in memory; see `Saver`.

    Raises:
        UsageError: it is no model, an example is needed, or does not go with it.
        ModelError: it can't be saved.
    """
    kind = kind_of(model)
    if kind is None:
        names = listed([kind.name for kind in KINDS], last="or")
        raise UsageError(f"model: an object of type {type(model).__name__} is no model; pass a path, or {names}.")
    saver: Saver = import_module(f"curvcli.models.{kind.module}").saved
    return saver(model, example, folder)


def input_ranks(model: Any) -> tuple[int, ...] | None:
    """Of every input, how many axes it has, that of the samples included; None if the object does not tell.

    Keras models do that are built.
    """
    ports = getattr(model, "inputs", None) if (kind := kind_of(model)) is not None and "Keras" in kind.name else None
    shapes = [getattr(port, "shape", None) for port in ports] if isinstance(ports, list | tuple) else []
    return tuple(len(shape) for shape in shapes if shape is not None) if shapes and None not in shapes else None


def file_name(name: str) -> str:
    """A class's name as that of a file in the folder: a class may be called anything, ``../x`` or a screenful too."""
    return cut(printable(name).replace("/", "-").replace("\\", "-").lstrip(".") or "model", _LONGEST)


def _classes(model: Any) -> Iterator[str]:
    return (f"{kind.__module__}.{kind.__qualname__}" for kind in type(model).__mro__)
