"""Commands run on the processor and on another device, and what their reports hold compared."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from curvcli.cli.main import run

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "sample_models"
FEW = ("--limit", "12", "--batch-size", "5")  # a short last batch
Arrays = dict[str, np.ndarray]


def report_of(words: Sequence[str], model: str, device: str, folder: Path, dtype: str = "float64") -> Arrays:
    """All floating-point arrays of a command's report."""
    command, *options = words
    path = folder / f"{device.replace(':', '')}.h5"
    # Not the same numbers from one run to the next.
    places = ["-o", str(path), "-q", "--dtype", dtype, "--device", device]
    assert run([command, str(MODELS / model), *options, *places]) == 0
    arrays: Arrays = {}

    def take(name: str, held: object) -> None:
        if isinstance(held, h5py.Dataset) and held.dtype.kind == "f" and "seconds" not in name:
            arrays[name] = held[()]

    with h5py.File(path) as file:
        file.visititems(take)
    return arrays


def assert_same(found: Arrays, expected: Arrays, rounding: float) -> None:
    """Relative to the largest entry; eigenvectors up to their signs, and residuals of rounding by their size alone."""
    assert found.keys() == expected.keys()
    assert expected
    for name, value in expected.items():
        one, two = (np.abs(array) if "vectors" in name else array for array in (found[name], value))
        largest = np.nanmax(np.abs(two), initial=0.0)
        allowed = 1e-6 * largest + 1e-10 if "residual" in name else rounding * largest + 1e-15
        np.testing.assert_allclose(one, two, rtol=0, atol=allowed, err_msg=name)
