"""Directions of slices: lengths of filters, signs of eigenvectors, and the points of a line."""

from __future__ import annotations

import numpy as np
import pytest

from curvcli.analysis.studies.towards import coordinates_of_line
from curvcli.curvature.directions import by_parameter, filter_normalised, joined, oriented
from curvcli.errors import UsageError
from curvcli.models.base import Parameter

RNG = np.random.default_rng(0)
AXES = {
    "dense of torch": (("out", "in"), (0,)),
    "dense of TensorFlow": (("in", "out"), (1,)),
    "convolution": (("kernel_h", "kernel_w", "in", "out"), (3,)),
    "transposed": (("in", "out", "kernel_h", "kernel_w"), (1,)),
    "depthwise": (("kernel_h", "kernel_w", "in", "multiplier"), (2, 3)),
    "recurrent": (("in", "gates"), (1,)),
    "table": (("token", "feature"), (0,)),
    "unknown": (("axis_0", "axis_1", "axis_2"), (0,)),
}


@pytest.mark.parametrize("name", AXES)
def test_every_filter_of_a_random_direction_is_as_long_as_its_own(name: str) -> None:
    """Li et al. 2018; a dead filter stays where it is."""
    axes, units = AXES[name]
    shape = tuple(range(2, 2 + len(axes)))
    kernel = RNG.standard_normal(shape)
    dead = tuple(0 if axis in units else np.s_[:] for axis in range(len(axes)))
    kernel[dead] = 0
    parameters = (Parameter("k", "k", shape, axes), Parameter("b", "b", (3,), ("out",)))
    values = {"k": kernel, "b": np.ones(3)}
    flat = filter_normalised(parameters, values, seed=1, number=0)
    drawn = by_parameter(parameters, flat)
    others = tuple(axis for axis in range(len(axes)) if axis not in units)
    np.testing.assert_allclose((drawn["k"] ** 2).sum(others), (kernel**2).sum(others))
    assert not drawn["k"][dead].any()
    assert not drawn["b"].any()
    np.testing.assert_array_equal(joined(parameters, drawn), flat)
    np.testing.assert_array_equal(filter_normalised(parameters, values, seed=1, number=0), flat)
    for seed, number in ((2, 0), (1, 1)):
        assert (filter_normalised(parameters, values, seed=seed, number=number) != flat).any()


def test_an_eigenvector_is_turned_uphill() -> None:
    """Whoever computed it with which sign."""
    vector, slopes = RNG.standard_normal((2, 9))
    for sign in (1, -1):
        turned = oriented(sign * vector, slopes, 1e-9)
        assert turned @ slopes > 0
        np.testing.assert_array_equal(np.abs(turned), np.abs(vector))


@pytest.mark.parametrize("slopes", [np.zeros(3), np.array([0.0, 1.0, 0.0]), np.array([1e-13, 0.0, 0.0])])
def test_where_there_is_no_slope_its_largest_entry_is_positive(slopes: np.ndarray) -> None:
    """The first of those that are equal but for rounding."""
    vector = np.array([-0.7071067, 0.0, 0.7071068])
    for sign in (1, -1):
        assert oriented(sign * vector, slopes, 1e-9)[0] > 0
    assert oriented(np.array([0.1, 0.0, -0.9]), slopes, 1e-9)[2] > 0


@pytest.mark.parametrize("count", [2, 3, 4, 5, 8, 16, 21, 41, 1001])
@pytest.mark.parametrize("beyond", [0.01, 0.25, 1.0, 3.0])
def test_a_line_has_both_models_among_its_points(count: int, beyond: float) -> None:
    """Exactly, evenly, as many as requested, as far beyond the one as beyond the other."""
    if (count - 1) / (1 + 2 * beyond) < 1:
        with pytest.raises(UsageError, match=f"{count} points are too few"):
            coordinates_of_line(count, beyond)
        return
    steps = coordinates_of_line(count, beyond)
    assert len(steps) == count
    assert {0.0, 1.0} <= set(steps.tolist())
    np.testing.assert_allclose(np.diff(steps), steps[1] - steps[0])
    assert -steps[0] == pytest.approx(steps[-1] - 1)
    assert abs(-steps[0] - beyond) <= 2 * (1 + 2 * beyond) * (steps[1] - steps[0])
