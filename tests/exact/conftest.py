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
                rows = [file[f"parameters/{column}"].asstr()[()] for column in ("layer", "label", "method")]
                self.method = {f"{layer}/{label}": method for layer, label, method in zip(*rows, strict=True)}


def write_spec(
    folder: Path, stem: str, inputs: Arrays, target: np.ndarray | None, loss: str, *, batch: int = BATCH
) -> Path:
    """Data and a spec for it."""
    arrays = {f"in_{k}": v for k, v in inputs.items()} | ({} if target is None else {"target": target})
    np.savez(folder / f"{stem}.npz", **arrays)
    lines = ["version = 1", "[source]", 'format = "npz"', f'path = "{stem}.npz"']
    for name in inputs:
        lines += [f"[inputs.{name}]", f'column = "in_{name}"']
    if target is not None:
        lines += ["[target]", 'column = "target"']
    spec = folder / f"{stem}.toml"
    spec.write_text("\n".join([*lines, "[loss]", loss, "[sampling]", f"batch_size = {batch}"]))
    return spec


@pytest.fixture
def compute(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[..., tuple[int, Path]]:
    """``compute(command, model, inputs, target, loss_lines, *options)``: write data and spec, run the command.

    A file of tests that are about operations, whatever the batches, says ``ONE_BATCH``: TensorFlow traces every shape
    of batch anew.
    """
    count = 0
    batch = SAMPLES if getattr(request.module, "ONE_BATCH", False) else BATCH

    def call(
        command: str, model: Path, inputs: Arrays, target: np.ndarray | None, loss: str, *options: str
    ) -> tuple[int, Path]:
        nonlocal count
        count += 1
        spec, report = write_spec(tmp_path, str(count), inputs, target, loss, batch=batch), tmp_path / f"{count}.h5"
        dtype = () if "--dtype" in options else ("--dtype", "float64")
        # Checks trace a TensorFlow graph once more; those of the random networks are made.
        traced = model.is_dir() or model.suffix == ".keras"
        checked = not traced or command in ("inputs", "split", "check") or "--verify" in options
        quick = () if checked else ("--no-verify",)
        return run(
            [command, str(model), "--data", str(spec), "-o", str(report), "-q", *dtype, *quick, *options]
        ), report

    return call


@pytest.fixture
def diag(compute: Callable[..., tuple[int, Path]]) -> Callable[..., Outcome]:
    """The same for ``curvcli diag``, its report read."""
    return lambda *arguments: Outcome(*compute("diag", *arguments))


def assert_close(found: Arrays, expected: Arrays, tolerance: float) -> None:
    """Every array equals the expected one, relative to that one's largest entry."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        scale = np.abs(value).max()
        error = np.abs(found[name] - value).max()
        assert found[name].shape == value.shape, name
        assert error <= tolerance * scale + 1e-15, f"{name}: {error:.3g} against {scale:.3g}"
