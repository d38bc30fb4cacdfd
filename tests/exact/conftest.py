"""Runs the command line on small saved models and reads the reports back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from curvcli.cli.main import run

SAMPLES, BATCH = 37, 16  # a short last batch
ROOT = Path(__file__).parents[2]
Arrays = dict[str, np.ndarray]


class Outcome:
    """An exit code and, from the report, arrays by ``layer/label``."""

    def __init__(self, code: int, report: Path) -> None:
        self.code, self.report = code, report
        self.diagonal: Arrays = {}
        self.gradient: Arrays = {}
        self.method: dict[str, str] = {}
        self.loss = float("nan")
        if report.exists():
            with h5py.File(report) as file:
                self.loss = float(file["provenance"].attrs["loss_value"])
                for group in file["layers"].values():
                    for label in group.get("gradient", ()):
                        name = f"{group.attrs['name']}/{label}"
                        self.gradient[name] = group[f"gradient/{label}"][()]
                        if f"diagonal/{label}" in group:
                            self.diagonal[name] = group[f"diagonal/{label}"][()]
                rows = file["parameters"]
                owners = [n.decode() for n in rows["name"][()]] if "name" in rows else []
                for name, method in zip(owners, rows["method"][()] if owners else (), strict=True):
                    self.method[name] = method.decode()


@pytest.fixture
def diag(tmp_path: Path) -> Callable[..., Outcome]:
    """``diag(model, inputs, target, loss_lines, *options)``: write data and spec, run ``curvcli diag``."""
    count = 0

    def call(model: Path, inputs: Arrays, target: np.ndarray | None, loss: str, *options: str) -> Outcome:
        nonlocal count
        count += 1
        data, spec, report = (tmp_path / f"{count}{end}" for end in (".npz", ".toml", ".h5"))
        arrays = {f"in_{k}": v for k, v in inputs.items()} | ({} if target is None else {"target": target})
        np.savez(data, **arrays)
        lines = ["version = 1", "[source]", 'format = "npz"', f'path = "{data.name}"']
        for name in inputs:
            lines += [f"[inputs.{name}]", f'column = "in_{name}"']
        if target is not None:
            lines += ["[target]", 'column = "target"']
        lines += ["[loss]", loss, "[sampling]", f"batch_size = {BATCH}"]
        spec.write_text("\n".join(lines))
        dtype = () if "--dtype" in options else ("--dtype", "float64")
        code = run(["diag", str(model), "--data", str(spec), "-o", str(report), "-q", *dtype, *options])
        return Outcome(code, report)

    return call


def assert_close(found: Arrays, expected: Arrays, tolerance: float) -> None:
    """Every array equals the expected one, relative to that one's largest entry."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        scale = np.abs(value).max()
        error = np.abs(found[name] - value).max()
        assert found[name].shape == value.shape, name
        assert error <= tolerance * scale + 1e-15, f"{name}: {error:.3g} against {scale:.3g}"
