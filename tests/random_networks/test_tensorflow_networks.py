"""Random SavedModels through the command line, against differences of the same network's float64 gradient."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from curvcli.cli.main import run

from .tensorflow_networks import BATCH, Arrays, Case, diagonal, network

# What the differences themselves are good for.
TOLERANCE = 1e-7
ALL = 150
# Images, signals, volumes and tokens, of graphs that are quickly traced: loops take a minute.
GATE = [2, 13, 15, 22]


def report(case: Case, folder: Path) -> tuple[Arrays, Arrays]:
    """Gradient and diagonal, by ``layer/label``."""
    case.save(folder / "m")
    arrays = {f"in_{name}": value for name, value in case.inputs.items()}
    if case.target is not None:
        arrays["target"] = case.target
    np.savez(folder / "data.npz", **arrays)
    lines = ["version = 1", "[source]", 'format = "npz"', 'path = "data.npz"']
    for name in case.inputs:
        lines += [f"[inputs.{name}]", f'column = "in_{name}"']
    if case.target is not None:
        lines += ["[target]", 'column = "target"']
    (folder / "data.toml").write_text("\n".join([*lines, "[loss]", case.spec, "[sampling]", f"batch_size = {BATCH}"]))
    words = ["diag", str(folder / "m"), "--data", str(folder / "data.toml"), "-o", str(folder / "r.h5"), "-q"]
    assert run([*words, "--dtype", "float64"]) == 0
    found: tuple[Arrays, Arrays] = ({}, {})
    with h5py.File(folder / "r.h5") as file:
        for group in file["layers"].values():
            for arrays, kind in zip(found, ("gradient", "diagonal"), strict=True):
                for label in group.get(kind, ()):
                    arrays[f"{group.attrs['name']}/{label}"] = group[f"{kind}/{label}"][()]
    return found


def assert_close(found: Arrays, expected: Arrays, floor: float) -> None:
    """To the tolerance, relative to the parameter's largest entry; entries below ``floor`` count as zero."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        error, scale = np.abs(found[name] - value).max(initial=0), np.abs(value).max(initial=0)
        assert error <= TOLERANCE * scale + floor, f"{name}: {error:.3g} against {scale:.3g}"


def check(seed: int, folder: Path) -> None:
    case = network(seed)
    gradient, found = report(case, folder)
    slope = case.gradient(case.weights)
    largest = max(np.abs(value).max(initial=0) for value in slope.values())
    assert_close(gradient, slope, 1e-11 * largest)
    # Rounding of the differences: of the gradient's, over the step.
    assert_close(found, diagonal(case), 1e-9 * max(largest, 1e-3))


@pytest.mark.parametrize("seed", GATE)
def test_random_networks(seed: int, tmp_path: Path) -> None:
    """Gradient and diagonal of every parameter are those of the network in float64."""
    check(seed, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", sorted(set(range(ALL)) - set(GATE)))
def test_more_random_networks(seed: int, tmp_path: Path) -> None:
    """The same of many more."""
    check(seed, tmp_path)
