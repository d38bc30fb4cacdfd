"""``--matrix`` on every command that has it, through saved models in both frameworks, against dense matrices."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from covering import covering, slow
from losses.saved import BATCH, Dense, like_torch

from curvcli.cli.main import run
from curvcli.curvature.diagonal.monte_carlo import MonteCarlo
from curvcli.curvature.matrices.fisher import FISHER
from curvcli.data.registry import TABLES
from curvcli.data.samples import open_samples
from curvcli.engine.serial import SerialEngine
from curvcli.engine.work import Work
from curvcli.models.open import open_model
from curvcli.report.hdf5.read import Report, read_report
from curvcli.report.records.quantities import BlockRecord, DensityRecord, EigenRecord, TraceRecord
from curvcli.spec.dataset import load_dataset_spec

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
OTHERS = ("gauss_newton", "fisher", "empirical_fisher")
Command = Callable[..., tuple[int, Report | None]]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], tuple[Dense, Path, Path]]:
    """``written(scenario, framework)``: its dense matrices, and the files, once."""
    known: dict[tuple[str, str], tuple[Dense, Path, Path]] = {}

    def call(name: str, framework: str) -> tuple[Dense, Path, Path]:
        if (name, framework) not in known:
            dense = Dense(name)
            known[name, framework] = dense, *dense.write(tmp_path_factory.mktemp(name), framework)
        return known[name, framework]

    return call


@pytest.fixture
def command(written: Callable[[str, str], tuple[Dense, Path, Path]], tmp_path: Path) -> Command:
    """``command(scenario, framework, words…)``: exit code and report, in float64."""

    def call(name: str, framework: str, verb: str, *words: str) -> tuple[int, Report | None]:
        _, model, spec = written(name, framework)
        out = tmp_path / f"{verb}.h5"
        code = run([verb, str(model), "--data", str(spec), "--dtype", "float64", "-q", "-o", str(out), *words])
        return code, read_report(out) if out.exists() else None

    return call


def block(dense: Dense, layer: str, matrix: str) -> np.ndarray:
    place = dense.place(layer.rpartition("/")[2])
    return dense.matrix(matrix)[np.ix_(place, place)]


FRAMEWORKS = ("torch", "tensorflow")
LOSSES = ("gaussian_nll", "cross_entropy", "poisson_of_rate", "mae", "mse")


# What a framework makes of each matrix is in test_products.py; here it is the commands that differ.
@pytest.mark.parametrize(("name", "framework", "matrix"), covering(LOSSES, FRAMEWORKS, OTHERS))
def test_diagonals_are_the_dense_matrices(
    name: str, framework: str, matrix: str, command: Command, written: Callable[[str, str], tuple[Dense, Path, Path]]
) -> None:
    """Exact, verified by products of that matrix, and called by its name; zeros where the loss does not bend."""
    dense = written(name, framework)[0]
    code, report = command(name, framework, "diag", "--matrix", matrix)
    assert code == 0
    assert report is not None
    for row in report.layers:
        expected = np.diagonal(block(dense, row.name, matrix))
        parameters = report.layer(row.name).parameters
        joined = np.concatenate(
            [(like_torch(p.diagonal) if framework != "torch" else p.diagonal).ravel() for p in parameters]
        )
        np.testing.assert_allclose(joined, expected, rtol=1e-9, atol=1e-11 * np.abs(expected).max())
        assert {p.matrix for p in parameters} == {matrix}
        assert all(p.exact and p.verification for p in parameters)
        assert row.matrix == matrix
        if name == "mae" and matrix == "gauss_newton":
            assert not joined.any()


@pytest.mark.parametrize(("name", "framework", "matrix"), covering(LOSSES[:2], FRAMEWORKS, OTHERS))
def test_traces_and_spectra_are_the_dense_matrices(
    name: str, framework: str, matrix: str, command: Command, written: Callable[[str, str], tuple[Dense, Path, Path]]
) -> None:
    """Trace, eigenvalues, density and whole block, a layer's and the whole model's."""
    dense = written(name, framework)[0]
    whole = dense.matrix(matrix)
    reports = {
        verb: command(name, framework, verb, "--matrix", matrix, "--whole-model", *words)[1]
        for verb, words in (("trace", ()), ("eigs", ("-k", "3")), ("density", ()), ("hessian", ()))
    }
    values = np.linalg.eigvalsh(whole)[::-1]
    scale = np.abs(values).max()
    (row,) = reports["trace"].layers
    trace = reports["trace"].record(row.name, TraceRecord)
    assert trace.value == pytest.approx(np.trace(whole), rel=1e-9)
    np.testing.assert_allclose(
        reports["eigs"].record(row.name, EigenRecord).values, values[:3], rtol=1e-8, atol=1e-10 * scale
    )
    density = reports["density"].record(row.name, DensityRecord)
    assert density.support == pytest.approx((values[-1], values[0]), rel=1e-7, abs=1e-9 * scale)
    found = reports["hessian"].record(row.name, BlockRecord)
    np.testing.assert_allclose(found.eigenvalues, values, rtol=1e-8, atol=1e-10 * scale)
    if framework == "torch":
        np.testing.assert_allclose(found.entries, whole, rtol=1e-9, atol=1e-11 * scale)
    assert {report.layers[0].matrix for report in reports.values()} == {matrix}


@pytest.mark.parametrize(("matrix", "method"), covering(OTHERS, ["gram", "lanczos"]))
def test_iterations_and_gram_matrices_agree(
    matrix: str, method: str, command: Command, written: Callable[[str, str], tuple[Dense, Path, Path]]
) -> None:
    dense = written("cross_entropy", "torch")[0]
    code, report = command(
        "cross_entropy", "torch", "eigs", "--matrix", matrix, "--method", method, "-k", "2", "--layer", "fc1"
    )
    assert code == 0
    (row,) = report.layers
    values = np.linalg.eigvalsh(block(dense, "fc1", matrix))[::-1]
    np.testing.assert_allclose(report.record(row.name, EigenRecord).values, values[:2], rtol=1e-6)


@pytest.mark.parametrize(("matrix", "method"), covering(OTHERS, ["coordinate", "gauss_newton"]))
def test_entries_by_products_are_those_by_columns(
    matrix: str, method: str, command: Command, written: Callable[[str, str], tuple[Dense, Path, Path]]
) -> None:
    dense = written("gaussian_nll", "torch")[0]
    _, report = command("gaussian_nll", "torch", "diag", "--matrix", matrix, "--method", method)
    for row in report.layers:
        joined = np.concatenate([p.diagonal.ravel() for p in report.layer(row.name).parameters])
        expected = np.diagonal(block(dense, row.name, matrix))
        np.testing.assert_allclose(joined, expected, rtol=1e-9, atol=1e-11 * np.abs(expected).max())


# What each loss draws is held to its own distribution in losses/test_closed_forms.py.
@pytest.mark.parametrize("name", ["cross_entropy", "gaussian_nll", *slow(["poisson", "mae", "mse", "bce_plain"])])
def test_monte_carlo_fisher_diagonals_are_within_their_errors(
    name: str, written: Callable[[str, str], tuple[Dense, Path, Path]]
) -> None:
    """Of 40 seeds' estimates nine in ten entries are within two standard errors, and their mean is the diagonal."""
    dense, model, spec = written(name, "torch")
    loaded, opened = load_dataset_spec(spec, TABLES), open_model(model, device="cpu", dtype="float64")
    objective = opened.objective(open_samples(loaded), loaded.spec.loss, BATCH)
    parameters = tuple(p for layer in opened.layers for p in layer.parameters if layer.name == "fc2")
    expected = np.diagonal(block(dense, "fc2", "fisher"))
    values, inside = [], 0
    for seed in range(40):
        work = Work(
            MonteCarlo(parameters, 32, None, seed, FISHER),
            key="",
            title="",
            targets=(),
            batches=objective.batch_count(),
        )
        work.run(SerialEngine(objective))
        value, error = (
            np.concatenate([getattr(work.result[p.name], kind).ravel() for p in parameters])
            for kind in ("value", "stderr")
        )
        values.append(value)
        inside += int((np.abs(value - expected) <= 2 * error + 1e-12 * expected.max()).sum())
    assert inside / (40 * len(expected)) > 0.9
    spread = np.std(values, axis=0, ddof=1) / np.sqrt(40)
    assert (np.abs(np.mean(values, axis=0) - expected) <= 5 * spread + 1e-12 * expected.max()).all()


def test_a_budget_makes_the_fisher_diagonal_an_estimate(command: Command) -> None:
    """Said with the reason; the empirical Fisher's single column fits, Gauss-Newton goes to products with weights."""
    _, fisher = command("cross_entropy", "torch", "diag", "--matrix", "fisher", "--budget", "4", "--probes", "16")
    parameters = fisher.layers[0].parameters
    assert {p.method for p in parameters} == {"monte_carlo"}
    assert all("exact needs 5 passes per batch" in p.reason for p in parameters)
    _, empirical = command("cross_entropy", "torch", "diag", "--matrix", "empirical_fisher", "--budget", "4", "--force")
    assert {p.exact for p in empirical.layers[0].parameters} == {True}


@pytest.mark.parametrize(
    ("name", "verb"), covering(["hinge", "huber"], ["diag", "trace", "eigs", "density", "hessian"])
)
def test_a_loss_without_a_likelihood_has_no_fisher_matrix(
    name: str, verb: str, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _ = command(name, "torch", verb, "--matrix", "fisher")
    assert code == 2
    error = capsys.readouterr().err
    assert f"--matrix fisher: the loss {name} is not a likelihood, so it has no Fisher matrix." in error
    assert "Use --matrix gauss_newton or hessian." in error


@pytest.mark.parametrize(
    ("matrix", "method", "other"),
    [
        ("fisher", "output_hessian", "hessian"),
        ("fisher", "activation_probes", "hessian"),
        ("hessian", "monte_carlo", "fisher"),
        ("empirical_fisher", "monte_carlo", "fisher"),
    ],
)
def test_a_method_of_another_matrix_is_refused(
    matrix: str, method: str, other: str, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _ = command("cross_entropy", "torch", "diag", "--matrix", matrix, "--method", method)
    assert code == 2
    assert f"--method {method} goes with --matrix {other}" in capsys.readouterr().err


def test_gram_matrices_are_refused_where_a_column_is_negative(
    command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _ = command("gaussian_nll", "torch", "eigs", "--matrix", "gauss_newton", "--method", "gram")
    assert code == 2
    assert "the loss gaussian_nll is not convex in the model's output" in capsys.readouterr().err


def test_reports_of_two_matrices_are_not_compared(
    command: Command, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = []
    for matrix in ("fisher", "empirical_fisher"):
        _, report = command("cross_entropy", "torch", "diag", "--matrix", matrix, "--force")
        paths.append(report.path.rename(tmp_path / f"{matrix}.h5"))
    assert run(["compare", *map(str, paths)]) == 2
    error = capsys.readouterr().err
    assert "is of the empirical Fisher matrix, was of the Fisher matrix" in error


def test_show_does_not_call_a_fisher_diagonal_a_hessians(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    _, report = command("cross_entropy", "torch", "diag", "--matrix", "fisher")
    capsys.readouterr()
    assert run(["show", str(report.path)]) == 0
    assert run(["show", str(report.path), "--layer", "fc1"]) == 0
    shown = capsys.readouterr().out
    assert "fisher" in shown
    assert "likelihood  categorical\n" in shown
    assert "Hessian" not in shown


def test_a_config_takes_a_matrix_for_each_quantity(
    written: Callable[[str, str], tuple[Dense, Path, Path]], tmp_path: Path
) -> None:
    """Work of two matrices is not mixed up, though parameters and methods are the same."""
    dense, model, spec = written("cross_entropy", "torch")
    config = tmp_path / "run.toml"
    config.write_text(
        f'model = "{model}"\ndata = "{spec}"\ndtype = "float64"\noutput = "{tmp_path / "run.h5"}"\nquiet = true\n'
        '[diag]\nmatrix = "empirical_fisher"\n[trace]\nmatrix = "fisher"\n[hessian]\nmatrix = "gauss_newton"\n'
    )
    assert run(["run", str(config)]) == 0
    report = read_report(tmp_path / "run.h5")
    for row in report.layers:
        parameters = report.layer(row.name).parameters
        joined = np.concatenate([p.diagonal.ravel() for p in parameters])
        np.testing.assert_allclose(
            joined, np.diagonal(block(dense, row.name, "empirical_fisher")), rtol=1e-8, atol=1e-14
        )
        trace = report.record(row.name, TraceRecord)
        assert (trace.matrix, trace.value) == ("fisher", pytest.approx(np.trace(block(dense, row.name, "fisher"))))
        whole = report.record(row.name, BlockRecord)
        assert whole.matrix == "gauss_newton"
