"""Functions with known derivatives, as saved models in both formats, through the command line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from covering import covering, slow

from curvcli.cli.main import run
from curvcli.report.hdf5.read import Report, read_report
from curvcli.report.records.inputs import InputsRecord

MODELS = Path(__file__).parent / "models"
SAMPLE_MODELS = Path(__file__).parents[2] / "sample_models"
# Of the largest expected entry, which is 1 at least.
TOLERANCE = {"float32": 1e-7, "float64": 1e-12}
Run = Callable[..., Report]


@dataclass(frozen=True)
class Way:
    """A format and a precision."""

    framework: str
    dtype: str

    def __str__(self) -> str:
        return f"{self.framework}-{self.dtype}"

    @property
    def suffix(self) -> str:
        return {"torch": ".pt", "tensorflow": ""}[self.framework]


def ways() -> list[Any]:
    """Both formats and both precisions; the other two pairs are slow tests."""
    return [pytest.param(Way(*pair.values), marks=pair.marks) for pair in covering(["torch", "tensorflow"], TOLERANCE)]


@pytest.fixture(params=ways(), ids=str)
def way(request: pytest.FixtureRequest) -> Way:
    return request.param


@pytest.fixture
def report(way: Way, tmp_path: Path) -> Run:
    """``report(command, case, *options)``: run the command on a reference model and open what it wrote."""

    def call(command: str, case: str, *options: str) -> Report:
        path = tmp_path / f"{command}.h5"
        words = [command, str(MODELS / f"{case}{way.suffix}"), "--dtype", way.dtype, "-o", str(path), "-q", *options]
        assert run(words) == 0
        return read_report(path)

    return call


@pytest.fixture
def close(way: Way) -> Callable[[object, object], None]:
    def check(found: object, expected: object) -> None:
        found, expected = np.asarray(found, dtype=np.float64), np.asarray(expected, dtype=np.float64)
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() <= TOLERANCE[way.dtype] * max(1.0, np.abs(expected).max())

    return check


Close = Callable[[object, object], None]
PRODUCT = np.array([[-2, -1, -3], [-1, -2, 3], [-3, 3, 2]])


def loss_of(report: Report) -> InputsRecord:
    return report.inputs_record("loss")


def test_product_by_parameters(report: Run, close: Close) -> None:
    """Π(f² − 3f + 1) at (1, 2, 0): the diagonal is (−2, −2, 2)."""
    found = report("diag", "product_of_parameters").layer("point").parameters[0]
    close(found.diagonal, np.diag(PRODUCT))
    close(found.gradient, [1, -1, -3])


def test_product_by_parameters_full(report: Run, close: Close) -> None:
    """The full Hessian of the same."""
    block = report("hessian", "product_of_parameters").layer("point").block
    assert block is not None
    close(block.entries, PRODUCT)


def test_product_by_inputs(report: Run, close: Close) -> None:
    """The same by the model's input."""
    found = loss_of(report("inputs", "product_of_inputs", "--full"))
    close(found.diagonal["f"], [np.diag(PRODUCT)])
    close(found.hessian, [PRODUCT])
    close(found.laplacian, [-2])


def test_diagonal_is_not_the_row_sums(report: Run) -> None:
    """The naive gradient of the gradient's sum gives (−6, 0, 2), by parameters and by inputs alike."""
    sums = PRODUCT.sum(axis=1)
    by_parameter = report("diag", "product_of_parameters").layer("point").parameters[0].diagonal
    by_input = loss_of(report("inputs", "product_of_inputs")).diagonal["f"][0]
    assert sums.tolist() == [-6, 0, 2]
    assert np.abs(by_parameter - sums).max() > 1
    assert np.abs(by_input - sums).max() > 1


def test_logarithm_of_the_norm(report: Run, close: Close) -> None:
    """ln Σx²: the diagonal is 2/r² − 4x²/r⁴, the Laplacian 2/r²."""
    found = loss_of(report("inputs", "log_norm"))
    x = np.load(MODELS / "log_norm.npz")["x"]
    r2 = (x**2).sum(axis=1, keepdims=True)
    close(found.diagonal["x"], 2 / r2 - 4 * x**2 / r2**2)
    close(found.laplacian, 2 / r2[:, 0])
    close(found.gradient["x"], 2 * x / r2)


def test_shifted_logarithm(report: Run, close: Close) -> None:
    """log(x + 2) at 1, up to the sixth derivative: (−1)^(k+1) (k − 1)! / 3^k."""
    found = loss_of(report("inputs", "log_shift", "--order", "6"))
    close(found.derivatives["x"], [[np.log(3), 1 / 3, -1 / 9, 2 / 27, -2 / 27, 24 / 243, -120 / 729]])


def test_quadratic_by_parameters(report: Run, close: Close) -> None:
    """x² + 2xy + 3y² + 4x + 5y + 6: Hessian, eigenvalues, Frobenius norm and condition number."""
    block = report("hessian", "quadratic_of_parameters").layer("point").block
    assert block is not None
    close(block.entries, [[2, 2], [2, 6]])
    close(block.eigenvalues, [4 + 2 * np.sqrt(2), 4 - 2 * np.sqrt(2)])
    close(block.frobenius, np.sqrt(48))
    close(block.condition, 3 + 2 * np.sqrt(2))


def test_quadratic_trace_and_eigenvalues(report: Run, close: Close) -> None:
    """The same by the commands for the trace and the eigenvalues."""
    trace = report("trace", "quadratic_of_parameters").layer("point").trace
    assert trace is not None
    close(trace.value, 8)
    eigen = report("eigs", "quadratic_of_parameters", "-k", "2").layer("point").eigen
    assert eigen is not None
    close(eigen.values, [4 + 2 * np.sqrt(2), 4 - 2 * np.sqrt(2)])


def test_quadratic_by_inputs(report: Run, close: Close) -> None:
    """The same with x and y as two inputs."""
    found = loss_of(report("inputs", "quadratic_of_inputs", "--full"))
    close(found.hessian, [[[2, 2], [2, 6]]])
    close(found.laplacian, [8])
    close(found.gradient["x"], [2])
    close(found.gradient["y"], [-3])


def test_missing_cross_terms(report: Run, close: Close) -> None:
    """x² + y² in two variables of their own: the cross terms are zeros, for parameters and for inputs."""
    block = report("hessian", "separate_parameters").layer("point").block
    assert block is not None
    close(block.entries, [[2, 0], [0, 2]])
    close(loss_of(report("inputs", "separate_inputs", "--full")).hessian, [[[2, 0], [0, 2]]])


def test_gradient_in_two_parts(report: Run, close: Close) -> None:
    """out = x w, L = mean(out²): ∂L/∂out = 2, ∂out/∂x = wᵀ, and their product ∂L/∂x is 5 everywhere."""
    split = report("split", "linear", "--at", "dense", "--by", "x").layer("dense").split
    assert split is not None
    (part,) = split.parts
    close(split.output_gradient, np.full((1, 5), 2.0))
    close(part.jacobian, np.full((1, 5, 10), 0.5))
    close(part.product, np.full((1, 10), 5.0))
    close(part.gradient, np.full((1, 10), 5.0))


@pytest.mark.parametrize("suffix", [".pt", *slow([""])])  # TensorFlow traces it for six seconds
def test_conv4_3_of_vgg16(suffix: str, tmp_path: Path) -> None:
    """Gradient and diagonal of the kernel's own shape, entries equal to one product each; the narrow sample model.

    The full 3×3×512×512 kernel is a slow test (tests/exact/test_full_vgg16.py).
    """
    model = str(SAMPLE_MODELS / f"vgg16_digits{suffix}")
    kernel = {".pt": (32, 32, 3, 3), "": (3, 3, 32, 32)}[suffix]
    path = tmp_path / "diag.h5"
    assert run(["diag", model, "--layer", "conv4_3", "--limit", "8", "-q", "-o", str(path)]) == 0
    found = read_report(path).layer("conv4_3").parameters[0]
    assert found.gradient is not None
    assert found.diagonal is not None
    assert found.gradient.shape == found.diagonal.shape == kernel
    path = tmp_path / "check.h5"
    assert run(["check", model, "--layer", "conv4_3", "--limit", "8", "-q", "-o", str(path)]) == 0
    entries = [row for row in read_report(path).checks if row.name == "diagonal"]
    assert [row.outcome for row in entries] == ["passed", "passed"]
    assert all(row.figure < 1e-12 for row in entries)
