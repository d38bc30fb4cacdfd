"""What a computing command is about: the chosen layers, the whole model, or both."""

from __future__ import annotations

from dataclasses import dataclass

from curvcli.curvature.operator import Block
from curvcli.models.base import Layer, Parameter

WHOLE_MODEL = "(whole model)"


@dataclass(frozen=True)
class Target:
    """A layer, or the whole model.

    Attributes:
        index: place in the model; the whole model comes after all layers.
        layer: None for the whole model.
        block: its parameters.
    """

    index: int
    layer: Layer | None
    block: Block

    @property
    def name(self) -> str:
        """The name in the report."""
        return self.block.name

    @property
    def kind(self) -> str:
        """The kind in the report."""
        return "model" if self.layer is None else self.layer.kind


def targets(layers: tuple[Layer, ...], places: list[int], *, whole_model: bool) -> tuple[Target, ...]:
    """The layers at these places, and the whole model if ``whole_model``."""
    chosen = [Target(i, layers[i], Block(layers[i].name, layers[i].parameters)) for i in places]
    if whole_model:
        every = tuple(p for layer in layers for p in layer.parameters)
        chosen.append(Target(len(layers), None, Block(WHOLE_MODEL, every)))
    return tuple(chosen)


def parameters_of(chosen: tuple[Target, ...]) -> list[Parameter]:
    """All their parameters, each once."""
    return list({p.name: p for target in chosen for p in target.block.parameters}.values())
