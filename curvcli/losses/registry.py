"""Every loss, by its name in the dataset spec."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from curvcli.losses import bce, cross_entropy, gaussian_nll, hinge, huber, mae, mse, output, poisson
from curvcli.losses.interface import End, Loss
from curvcli.spec.loss import LossSpec

LOSSES: Final[Mapping[str, Callable[[LossSpec, End], Loss]]] = {
    "cross_entropy": cross_entropy.settle,
    "bce": bce.settle,
    "mse": mse.settle,
    "mae": mae.settle,
    "huber": huber.settle,
    "poisson": poisson.settle,
    "gaussian_nll": gaussian_nll.settle,
    "hinge": hinge.settle,
    "output": output.settle,
}


def settle(spec: LossSpec, end: End) -> Loss:
    """The declared loss on a model's output.

    Raises:
        SpecError: the declaration contradicts the graph.
    """
    return LOSSES[spec.name](spec, end)
