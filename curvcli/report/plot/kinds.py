"""The kinds of figures: a line per module that draws one. Nothing here needs matplotlib."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Kind:
    """One kind of figure, drawn by the module of its name.

    Attributes:
        title: of its part of the page.
        needs: what a report has to hold.
        command: that computes it.
        many: whether it is of several reports, and needs them.
    """

    title: str
    needs: str
    command: str
    many: bool = False


KINDS: Final[dict[str, Kind]] = {
    "bars": Kind("Layers", "trace or top eigenvalue", "trace"),
    "histogram": Kind("Diagonals", "diagonal", "diag"),
    "channels": Kind("Output channels", "diagonal by output channel", "diag"),
    "kernel": Kind("Kernels", "diagonal of a kernel", "diag"),
    "spectrum": Kind("Eigenvalues", "eigenvalues", "eigs"),
    "density": Kind("Densities", "density", "density"),
    "scatter": Kind("Gradient and curvature", "gradient and diagonal", "diag"),
    "slice": Kind("Slices of the loss", "slice of the loss", "slice"),
    "coupling": Kind("Coupling of layers", "coupling of layers", "coupling"),
    "sensitivity": Kind("Quantised layers", "rise of the loss with quantised layers", "sensitivity"),
    "pruning": Kind("Removed weights", "rise of the loss without some weights", "sensitivity"),
    "saliency": Kind("Saliencies", "saliency of weights", "sensitivity"),
    "activations": Kind("Quantised activations", "rise of the loss with quantised activations", "activations"),
    "sharpness": Kind("Sharpness", "sharpness of mini-batches or kernels", "sharpness"),
    "evidence": Kind("Evidence", "evidence of blocks of parameters", "evidence"),
    "course": Kind("Course of training", "several reports of one training run", "run", many=True),
}
