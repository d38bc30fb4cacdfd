"""What is kept of a slice: figures of its points, and the arrays that are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from curvcli.analysis.options.slice import TOWARDS
from curvcli.models.base import Array
from curvcli.report.records.studies import StudyArray
from curvcli.report.units import LOSS, NONE

_ABOUT: Final = {
    "gradient": "the gradient, of norm 1",
    "random": "random, each filter as long as its own",
    TOWARDS: "the straight line to the other model",
}


def is_pair(name: str) -> bool:
    """Whether a direction is an eigenvector."""
    return name.startswith(("top", "bottom"))


def quadratic_model(value: float, slopes: Array, curvature: Array, grid: Sequence[Array]) -> Array:
    """L + sᵀt + ½ tᵀCt at every point t of a grid.

    Args:
        value: L at the saved parameters.
        slopes: s, (directions,).
        curvature: C, (directions, directions).
        grid: the coordinates along each direction, in the grid's shape.
    """
    model = np.full(grid[0].shape, value)
    with np.errstate(over="ignore", invalid="ignore"):
        for i, left in enumerate(grid):
            model = model + slopes[i] * left
            for j, right in enumerate(grid):
                model = model + curvature[i, j] / 2 * left * right
    return model


def arrays_of(names: Sequence[str], grid: Sequence[Array], losses: Array, quadratic: Array) -> tuple[StudyArray, ...]:
    """The coordinates along each direction, the losses, and the quadratic model over them."""
    axes = tuple(f"step_{i + 1}" for i in range(len(names)))
    coordinates = [
        StudyArray(
            name=f"coordinate_{i + 1}",
            values=np.moveaxis(axis, i, 0).reshape(axis.shape[i], -1)[:, 0].copy(),
            axes=(axes[i],),
            long_name=f"coordinate along {name}",
            unit=NONE,
        )
        for i, (axis, name) in enumerate(zip(grid, names, strict=True))
    ]
    measured = StudyArray(name="loss", values=losses, axes=axes, long_name="the loss at these points", unit=LOSS)
    model = StudyArray(
        name="quadratic", values=quadratic, axes=axes, long_name="the quadratic model of the loss there", unit=LOSS
    )
    return (*coordinates, measured, model)


def of_points(name: str, along: Array, losses: Array) -> dict[str, Any]:
    """What the points say of one direction.

    Args:
        name: of the direction.
        along: its coordinate at every point.
        losses: likewise; what is no number is neither the lowest nor the highest.
    """
    numbers = ~np.isnan(losses)
    low, high = (int(choose(losses, numbers)) for choose in (_lowest, _highest))
    return {
        "about": _ABOUT.get(name.partition(":")[0], ""),
        "first": float(along.min()),
        "last": float(along.max()),
        "points": len(np.unique(along)),
        "lowest_loss": float(losses.ravel()[low]),
        "lowest_at": float(along.ravel()[low]),
        "highest_loss": float(losses.ravel()[high]),
        "lost": int((~np.isfinite(losses)).sum()),
    }


def _lowest(losses: Array, numbers: Array) -> Any:
    return np.argmin(np.where(numbers, losses, np.inf))


def _highest(losses: Array, numbers: Array) -> Any:
    return np.argmax(np.where(numbers, losses, -np.inf))


def of_line(along: Array, losses: Array, at_end: tuple[float, float]) -> dict[str, Any]:
    """What the line to another model has besides: the derivatives at its end, and in one dimension the barrier.

    That is the most that the loss lies above the straight line between its values at 0 and 1 (Entezari, Sedghi, Saukh
    and Neyshabur 2022, definition 2.1), at the points that were computed.
    """
    values: dict[str, Any] = {"slope_at_other": at_end[0], "curvature_at_other": at_end[1]}
    if losses.ndim > 1:
        return values
    between = (along >= 0) & (along <= 1)
    t, height = along[between], losses[between]
    with np.errstate(invalid="ignore"):
        rise = height - ((1 - t) * height[0] + t * height[-1])
    place = int(np.argmax(rise))  # the first that is no number, if any
    return values | {"barrier": float(rise[place]), "barrier_at": float(t[place])}
