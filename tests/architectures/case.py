"""What an architecture is: how it is built, with which inputs, under which loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]
Inputs = Callable[[np.random.Generator], Arrays]
SAMPLES = 5
# Loss lines of the dataset spec by the names used here; `torch_rows` and `tensorflow_rows` have the same as functions.
LOSSES = {
    "classes": 'name = "cross_entropy"\nfrom_logits = true',
    "probabilities": 'name = "cross_entropy"\nfrom_logits = false',
    "places": 'name = "cross_entropy"\nfrom_logits = true\nclass_axis = 1',
    "tokens": 'name = "cross_entropy"\nfrom_logits = true\nclass_axis = -1',
    "squares": 'name = "mse"',
    "bits": 'name = "bce"\nfrom_logits = true',
    "own": 'name = "output"',
}
EXPORT, SCRIPTED, TRACED = "`.pt2`", "TorchScript, scripted", "TorchScript, traced"
SAVED, KERAS = "SavedModel", "`.keras`"


@dataclass(frozen=True)
class Architecture:
    """One architecture.

    Attributes:
        name: as the table has it.
        family: the part of the table it stands in.
        build: makes the network; of Keras for a dtype.
        inputs: from a generator, arrays of ``SAMPLES`` rows by the name of the network's inputs, and the target, if the
            loss has one, as ``target``.
        loss: a key of `LOSSES`.
        formats: it can be saved in.
        output: which output the loss is of.
        absent: formats that can't hold it, with the reason.
        needs: a package that is no dependency of the tests.
        smooth: whether the reference's own second derivative is right (false: Keras's moments).
    """

    name: str
    family: str
    build: Callable[..., Any]
    inputs: Inputs
    loss: str = "classes"
    formats: tuple[str, ...] = (EXPORT, TRACED)
    output: str | None = None
    absent: Mapping[str, str] = field(default_factory=dict)
    needs: str | None = None

    def data(self) -> tuple[Arrays, np.ndarray | None]:
        """Inputs and target, float64 or int64."""
        arrays = self.inputs(np.random.default_rng(3))
        target = arrays.pop("target", None)
        return arrays, target

    def spec(self, stem: str, names: Mapping[str, str] | None = None) -> str:
        """The dataset spec, for data in ``STEM.npz``; ``names`` where a format calls inputs otherwise."""
        arrays, target = self.data()
        lines = ["version = 1", "[source]", 'format = "npz"', f'path = "{stem}.npz"']
        for name in arrays:
            lines += [f"[inputs.{(names or {}).get(name, name)}]", f'column = "{name}"']
        if target is not None:
            lines += ["[target]", 'column = "target"']
        lines += ["[loss]", LOSSES[self.loss]]
        if self.output is not None:
            lines.append(f'output = "{self.output}"')
        return "\n".join([*lines, "[sampling]", f"batch_size = {3 if self.formats[0] == EXPORT else SAMPLES}"])


def images(*, channels: int = 3, size: int = 16, classes: int = 4) -> Inputs:
    """Pictures, channels first, and their classes."""

    def make(rng: np.random.Generator) -> Arrays:
        return {
            "image": rng.standard_normal((SAMPLES, channels, size, size)),
            "target": rng.integers(0, classes, SAMPLES),
        }

    return make


def features(*shape: int, classes: int = 4) -> Inputs:
    """Real numbers and classes."""

    def make(rng: np.random.Generator) -> Arrays:
        return {"x": rng.standard_normal((SAMPLES, *shape)), "target": rng.integers(0, classes, SAMPLES)}

    return make


def tokens(length: int = 6, vocabulary: int = 11, *, per_token: bool = False, classes: int = 4) -> Inputs:
    """Whole numbers, and a class per sample or the next token at every place."""

    def make(rng: np.random.Generator) -> Arrays:
        shape = (SAMPLES, length)
        target = rng.integers(0, vocabulary, shape) if per_token else rng.integers(0, classes, SAMPLES)
        return {"tokens": rng.integers(0, vocabulary, shape), "target": target}

    return make
