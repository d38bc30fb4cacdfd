"""Quantisers against loops written by hand, entry by entry."""

from __future__ import annotations

import numpy as np
import pytest

from curvcli.curvature.quantiser import Channels, Granularity, Quantiser
from curvcli.models.base import Array, Parameter

GRANULARITIES = [Granularity("channel"), Granularity("tensor"), Granularity("group", 4), Granularity("group", 1000)]
LAYOUTS = [
    ((3, 5), ("out", "in")),
    ((5, 3), ("in", "out")),
    ((4, 3, 2, 2), ("out", "in", "kernel_h", "kernel_w")),
    ((2, 2, 3, 4), ("kernel_h", "kernel_w", "in", "out")),
    ((3, 4, 2), ("in", "out", "kernel")),
    ((2, 2, 3, 2), ("kernel_h", "kernel_w", "in", "multiplier")),
    ((7, 3), ("token", "feature")),
    ((3, 8), ("in", "gates")),
]


def by_hand(values: list[float], scheme: str, bits: int) -> list[float]:
    """Of entries that share a scale."""
    if scheme == "symmetric":
        scale = max(abs(w) for w in values) / (2 ** (bits - 1) - 1)
        return [scale * round(w / scale) if scale else 0.0 for w in values]
    low, high = min(*values, 0.0), max(*values, 0.0)
    scale = (high - low) / (2**bits - 1)
    if not scale:
        return [0.0 for _ in values]
    zero = round(-low / scale)
    return [scale * (min(max(round(w / scale) + zero, 0), 2**bits - 1) - zero) for w in values]


def slices(axes: tuple[str, ...], shape: tuple[int, ...]) -> list[list[tuple[int, ...]]]:
    """The places of each output channel's entries: inputs first, then the taps."""
    outer = [a for a in ("out", "gates", "token") if a in axes] or ["in", "multiplier"]
    first = [axes.index(name) for name in outer]
    others = [a for a in range(len(axes)) if a not in first]
    others.sort(key=lambda a: (axes[a] != "in", a))
    order = first + others
    places = sorted(np.ndindex(*shape), key=lambda place: [place[a] for a in order])
    count = int(np.prod([shape[a] for a in first]))
    return [list(part) for part in np.array(places, dtype="i,i,i,i"[: 2 * len(shape) - 1]).reshape(count, -1).tolist()]


@pytest.mark.parametrize("scheme", ["symmetric", "asymmetric"])
@pytest.mark.parametrize("granularity", GRANULARITIES, ids=str)
@pytest.mark.parametrize(("shape", "axes"), LAYOUTS)
def test_every_entry(shape: tuple[int, ...], axes: tuple[str, ...], granularity: Granularity, scheme: str) -> None:
    rng = np.random.default_rng(0)
    for bits in (2, 3, 8):
        values = rng.standard_normal(shape) + (0.7 if bits == 3 else 0.0)
        channels = Channels.of(Parameter("p", "p", shape, axes), last=False)
        quantised = Quantiser(scheme, granularity).rounded(values, channels, bits)  # type: ignore[arg-type]
        assert quantised.shape == shape
        rows = slices(axes, shape)
        assert channels.count == len(rows)
        if granularity.kind == "tensor":
            rows = [[place for row in rows for place in row]]
        size = granularity.size or max(map(len, rows))
        for row in rows:
            for start in range(0, len(row), size):
                group = row[start : start + size]
                expected = by_hand([float(values[place]) for place in group], scheme, bits)
                np.testing.assert_allclose([quantised[place] for place in group], expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("last", [False, True])
def test_nameless_axes_have_their_channels_first_or_last(last: bool) -> None:
    channels = Channels.of(Parameter("p", "p", (2, 3, 4), ("axis_0", "axis_1", "axis_2")), last=last)
    values = np.arange(24.0).reshape(2, 3, 4)
    np.testing.assert_array_equal(channels.rows(values)[1], (values[:, :, 1] if last else values[1]).ravel())
    np.testing.assert_array_equal(channels.original(channels.rows(values)), values)


@pytest.mark.parametrize("scheme", ["symmetric", "asymmetric"])
def test_zero_and_what_is_on_the_grid_stay(scheme: str) -> None:
    """Rounding twice is rounding once; entries are off by half a step at most."""
    rng = np.random.default_rng(1)
    channels = Channels.of(Parameter("p", "p", (6, 9), ("out", "in")), last=False)
    quantiser = Quantiser(scheme, Granularity("channel"))  # type: ignore[arg-type]
    values: Array = rng.standard_normal((6, 9))
    values[4] = np.abs(values[4]) + 1
    values[2], values[:, 3] = 0.0, 0.0
    once = quantiser.rounded(values, channels, 4)
    np.testing.assert_allclose(quantiser.rounded(once, channels, 4), once, atol=1e-15)
    assert not once[2].any()
    assert not once[:, 3].any()
    steps = np.ptp(np.c_[values, np.zeros(6)], axis=1) / 15 if scheme == "asymmetric" else np.abs(values).max(1) / 7
    off = np.abs(once - values).max(axis=1)
    # Where zero lies between two points of the grid, its shift may cost the far end another half step.
    assert (off <= steps * (0.5 if scheme == "symmetric" else 1.0) + 1e-15).all()
    assert all(len(np.unique(np.round(row / step))) <= 16 for row, step in zip(once, steps, strict=True) if step)
