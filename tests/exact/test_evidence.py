"""The Laplace evidence against closed forms and dense float64 matrices of eager networks, in both frameworks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from covering import slow
from scipy.optimize import minimize, minimize_scalar
from scipy.special import gammaln
from scipy.stats import multivariate_normal, norm
from torch import Tensor, nn
from torch.nn import functional as F

import curvcli
from curvcli.cli.main import run
from curvcli.curvature.operator import ProductTask
from curvcli.report.hdf5.read import read_report

from .conftest import SAMPLES, write_spec
from .dense import Dense
from .test_coupling import LOGITS, Net, X, Y, scripted
from .tf_modules import save

Compute = Callable[..., tuple[int, Path]]
RNG = np.random.default_rng(8)
MSE = 'name = "mse"'
TARGETS = X @ RNG.standard_normal((3, 2)) + 0.3 * RNG.standard_normal((SAMPLES, 2))
# ½ log det of the flattened regression y = Φ w: each output has its own weights and its own bias.
FEATURES = np.kron(np.c_[X, np.ones(SAMPLES)], np.eye(2))
FLAT = TARGETS.ravel()


def closed_form(alpha: float, sigma: float) -> float:
    """log N(y; 0, σ²I + ΦΦᵀ/α), of all outputs together."""
    covariance = sigma**2 * np.eye(len(FLAT)) + FEATURES @ FEATURES.T / alpha
    return float(multivariate_normal(np.zeros(len(FLAT)), covariance).logpdf(FLAT))


def posterior_mean(alpha: float, sigma: float) -> np.ndarray:
    """Weights and biases, (4, 2): the last row is the biases'."""
    precision = FEATURES.T @ FEATURES / sigma**2 + alpha * np.eye(8)
    return np.linalg.solve(precision, FEATURES.T @ FLAT / sigma**2).reshape(4, 2)


def linear(weights: np.ndarray, path: Path) -> Path:
    layer = nn.Linear(3, 2).double()
    layer.weight.data, layer.bias.data = torch.tensor(weights[:3].T.copy()), torch.tensor(weights[3].copy())
    return scripted(layer, path)


def tf_linear(tf: Any, weights: Any, inputs: Any) -> Any:
    return tf.matmul(inputs["input"], weights["kernel"]) + weights["bias"]


def saved(framework: str, weights: np.ndarray, folder: Path) -> Path:
    if framework == "torch":
        return linear(weights, folder / "m.pt")
    save(tf_linear, {"kernel": weights[:3], "bias": weights[3]}, {"input": X}, folder / "m")
    return folder / "m"


def rows_of(path: Path, table: str = "evidence") -> dict[str, Any]:
    return {row.name: row for row in read_report(path).study("evidence").tables[table]}


# -- Bayesian linear regression ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("framework", "reduction"), [("torch", "sum"), ("tensorflow", "mean")])
def test_linear_regression_at_its_posterior_mean_has_the_evidence_of_the_closed_form(
    framework: str, reduction: str, compute: Compute, tmp_path: Path
) -> None:
    """log N(y; 0, σ²I + ΦΦᵀ/α), for several α in one run; off the mean, the Newton gain makes up for it."""
    alpha, sigma = 0.7, 0.4
    path = saved(framework, posterior_mean(alpha, sigma), tmp_path)
    code, report = compute(
        "evidence", path, {"input": X}, TARGETS, f'{MSE}\nreduction = "{reduction}"', "--whole-model", "--prior",
        "0.7,2,0.1", "--noise", "0.4",
    )  # fmt: skip
    curve = rows_of(report, "evidence_curve")
    (row,) = rows_of(report).values()
    assert code == 0
    assert (row.exact, row.status, row.entries, row.noise) == (True, "done", 8, pytest.approx(0.4))
    assert {row.curve_prior for row in curve.values()} == {0.1, 0.7, 2.0}
    at_mean = next(one for one in curve.values() if one.curve_prior == 0.7)
    assert at_mean.curve_evidence == pytest.approx(closed_form(alpha, sigma), rel=1e-9)
    # The best of the three is another, of which θ is not the posterior mean.
    assert row.log_evidence == max(one.curve_evidence for one in curve.values())
    assert row.log_evidence + row.newton_gain == pytest.approx(closed_form(row.prior_precision, sigma), rel=1e-9)


def test_at_the_posterior_mean_there_is_nothing_left_to_go(compute: Compute, tmp_path: Path) -> None:
    path = linear(posterior_mean(0.7, 0.4), tmp_path / "m.pt")
    _, report = compute(
        "evidence", path, {"input": X}, TARGETS, MSE, "--prior", "0.7", "--noise", "0.4", "--whole-model"
    )
    (row,) = rows_of(report).values()
    assert row.newton_decrement < 1e-9
    assert row.posterior_gradient < 1e-9
    assert rows_of(report, "evidence_curve") == {}


def test_searched_precisions_are_those_of_an_optimiser_and_meet_mackays_conditions(
    compute: Compute, tmp_path: Path
) -> None:
    """At fixed weights: α alone, σ alone, and both; then the closed form's own maximum is a fixed point."""
    weights = RNG.standard_normal((4, 2))
    theta, residual = weights.ravel(), FLAT - FEATURES @ weights.ravel()
    eigenvalues = np.linalg.eigvalsh(FEATURES.T @ FEATURES)

    def laplace(log_alpha: float, log_sigma: float) -> float:
        alpha, sigma = np.exp(log_alpha), np.exp(log_sigma)
        fit = norm(scale=sigma).logpdf(residual).sum()
        return float(
            fit + norm(scale=alpha**-0.5).logpdf(theta).sum() + 4 * np.log(2 * np.pi)
            - 0.5 * np.log(eigenvalues / sigma**2 + alpha).sum()
        )  # fmt: skip

    path = linear(weights, tmp_path / "m.pt")
    both = minimize(lambda t: -laplace(*t), [0.0, 0.0], tol=1e-12)
    cases = {
        (): (both.x[0], both.x[1]),
        ("--noise", "0.4"): (minimize_scalar(lambda t: -laplace(t, np.log(0.4)), tol=1e-14).x, np.log(0.4)),
        ("--prior", "0.7"): (np.log(0.7), minimize_scalar(lambda t: -laplace(np.log(0.7), t), tol=1e-14).x),
    }
    for options, (log_alpha, log_sigma) in cases.items():
        _, report = compute("evidence", path, {"input": X}, TARGETS, MSE, "--whole-model", *options)
        (row,) = rows_of(report).values()
        assert row.log_evidence == pytest.approx(laplace(log_alpha, log_sigma), rel=1e-9)
        assert (row.prior_precision, row.noise) == pytest.approx((np.exp(log_alpha), np.exp(log_sigma)), rel=1e-5)
        assert row.fixed_point < 1e-9
        ratio = row.prior_precision * row.noise**2
        gamma = (eigenvalues / (eigenvalues + ratio)).sum()
        assert row.effective_parameters == pytest.approx(gamma, rel=1e-9)
        if "--prior" not in options:
            assert row.prior_precision * theta @ theta == pytest.approx(gamma, rel=1e-9)
        if "--noise" not in options:
            assert residual @ residual / row.noise**2 == pytest.approx(FLAT.size - gamma, rel=1e-9)
    best = minimize(lambda t: -closed_form(np.exp(t[0]), np.exp(t[1])), [0.0, -1.0], tol=1e-12)
    alpha, sigma = np.exp(best.x)
    path = linear(posterior_mean(alpha, sigma), tmp_path / "best.pt")
    _, report = compute("evidence", path, {"input": X}, TARGETS, MSE, "--whole-model")
    (row,) = rows_of(report).values()
    assert (row.prior_precision, row.noise) == pytest.approx((alpha, sigma), rel=1e-4)
    assert row.log_evidence == pytest.approx(-best.fun, rel=1e-8)
    assert row.newton_decrement < 1e-3


def test_weight_decay_is_a_prior(compute: Compute, tmp_path: Path) -> None:
    """(λ/2)‖θ‖² beside a mean over samples and outputs: α = λ n/(2σ²)·2/…, so that the trained weights are its mode."""
    decay, sigma = 0.05, 0.4
    alpha = decay * FLAT.size / (2 * sigma**2)
    path = linear(posterior_mean(alpha, sigma), tmp_path / "m.pt")
    spec = f"{MSE}\nweight_decay = {decay}"
    _, report = compute(
        "evidence", path, {"input": X}, TARGETS, spec, "--whole-model", "--prior", "decay", "--noise", "0.4"
    )
    (row,) = rows_of(report).values()
    assert row.prior_precision == pytest.approx(alpha, rel=1e-12)
    assert row.newton_decrement < 1e-9
    assert row.log_evidence == pytest.approx(closed_form(alpha, sigma), rel=1e-9)
    # The curvature is the data's alone, however the prior is chosen; σ searched, the ratio of both stays.
    _, report = compute("evidence", path, {"input": X}, TARGETS, spec, "--whole-model", "--prior", "decay")
    (row,) = rows_of(report).values()
    assert row.prior_precision == pytest.approx(decay * FLAT.size / (2 * row.noise**2), rel=1e-12)
    _, report = compute(
        "evidence",
        path,
        {"input": X},
        TARGETS,
        spec,
        "--prior",
        "2",
        "--noise",
        "1",
        "--method",
        "gram",
        "--whole-model",
    )
    (row,) = rows_of(report).values()
    assert row.log_evidence + row.newton_gain == pytest.approx(closed_form(2, 1), rel=1e-9)


# -- networks ---------------------------------------------------------------------------------------------------------


def dense_evidence(curvature: np.ndarray, theta: np.ndarray, likelihood: float, alpha: float) -> float:
    """The formula as it stands in the literature."""
    _, log_det = np.linalg.slogdet(curvature + alpha * np.eye(len(theta)))
    return float(likelihood - alpha / 2 * theta @ theta + len(theta) / 2 * np.log(alpha) - log_det / 2)


def parameters_of(module: nn.Module) -> np.ndarray:
    return np.concatenate([p.detach().double().numpy().ravel() for p in module.parameters()])


def gradient_of(module: nn.Module) -> np.ndarray:
    """Of the sum of cross-entropies, (n,)."""
    module = module.double()
    loss = F.cross_entropy(module(torch.from_numpy(X)), torch.from_numpy(Y), reduction="sum")
    return torch.cat([g.ravel() for g in torch.autograd.grad(loss, list(module.parameters()))]).numpy()


def best_alpha(eigenvalues: np.ndarray, theta: np.ndarray) -> float:
    """By bisection of MacKay's condition."""
    low, high = -60.0, 60.0
    for _ in range(200):
        middle = (low + high) / 2
        gamma = (eigenvalues / (eigenvalues + np.exp(middle))).sum()
        low, high = (middle, high) if gamma > np.exp(middle) * theta @ theta else (low, middle)
    return float(np.exp(low))


@pytest.mark.parametrize(
    ("seed", "reduction"), [(0, "mean"), (1, "sum"), *slow(range(2, 12), ["mean"]), *slow(range(12, 16), ["sum"])]
)
def test_networks_have_the_evidence_of_their_dense_matrices(
    seed: int, reduction: str, compute: Compute, tmp_path: Path
) -> None:
    """Per layer and whole, over uneven batches; by the whole block, by the Gram matrix and by all Lanczos steps."""
    module = Net(seed)
    path = scripted(module, tmp_path / "m.pt")
    dense, theta = Dense(module, X, Y), parameters_of(module)
    matrix, gradient = SAMPLES * dense.gauss_newton(), gradient_of(module)
    logits = module.double()(torch.from_numpy(X)).detach()
    likelihood = -float(F.cross_entropy(logits, torch.from_numpy(Y), reduction="sum"))
    blocks = {**dense.layers(), "(whole model)": np.arange(len(theta))}
    spec = f'{LOGITS}\nreduction = "{reduction}"\nweight_decay = 0.01'
    for method in ("dense", "gram"):
        code, report = compute(
            "evidence", path, {"x": X}, Y, spec, "--layer", "re:.", "--whole-model", "--method", method
        )
        rows = rows_of(report)
        assert (code, list(rows)) == (0, list(blocks))
        for name, places in blocks.items():
            block, own, row = matrix[np.ix_(places, places)], theta[places], rows[name]
            alpha = best_alpha(np.maximum(np.linalg.eigvalsh(block), 0), own)
            assert row.prior_precision == pytest.approx(alpha, rel=1e-8)
            assert row.log_likelihood == pytest.approx(likelihood, rel=1e-9)
            assert row.log_evidence == pytest.approx(dense_evidence(block, own, likelihood, alpha), rel=1e-9)
            assert row.fixed_point < 1e-9
            assert row.exact
            slope = gradient[places] + alpha * own
            newton = np.linalg.solve(block + alpha * np.eye(len(own)), slope)
            assert row.posterior_gradient == pytest.approx(np.linalg.norm(slope), rel=1e-8)
            assert row.newton_decrement == pytest.approx(np.sqrt(slope @ newton), rel=1e-7)
            assert row.newton_length == pytest.approx(np.linalg.norm(newton), rel=1e-7)


def test_the_hessian_has_its_own_evidence_and_where_it_is_indefinite_no_best_prior(
    compute: Compute, tmp_path: Path
) -> None:
    """For an α above the magnitude of the lowest eigenvalue there is a number, below there is none."""
    module = Net(0)
    path = scripted(module, tmp_path / "m.pt")
    dense, theta = Dense(module, X, Y), parameters_of(module)
    matrix = SAMPLES * dense.hessian()
    lowest = np.linalg.eigvalsh(matrix)[0]
    assert lowest < -0.5
    logits = module.double()(torch.from_numpy(X)).detach()
    likelihood = -float(F.cross_entropy(logits, torch.from_numpy(Y), reduction="sum"))
    options = ("--whole-model", "--matrix", "hessian")
    code, report = compute("evidence", path, {"x": X}, Y, LOGITS, *options)
    (row,) = rows_of(report).values()
    assert (code, row.status, row.exact) == (4, "nonfinite", False)
    assert np.isnan(row.log_evidence)
    assert np.isnan(row.prior_precision)
    assert row.negative_eigenvalues == (np.linalg.eigvalsh(matrix) < -1e-10).sum()
    assert row.lowest_eigenvalue == pytest.approx(lowest, rel=1e-9)
    assert "no normal approximation for α up to" in row.reason
    above, below = -2 * lowest, -lowest / 2
    code, report = compute("evidence", path, {"x": X}, Y, LOGITS, *options, "--prior", f"{above},{below}")
    (row,), curve = rows_of(report).values(), rows_of(report, "evidence_curve")
    assert (code, row.status, row.prior_precision) == (0, "done", pytest.approx(above))
    assert row.log_evidence == pytest.approx(dense_evidence(matrix, theta, likelihood, above), rel=1e-9)
    assert np.isnan([one.curve_evidence for one in curve.values()]).sum() == 1
    # The last layer's block is semidefinite, and the same by both matrices.
    rows = []
    for name in ("hessian", "gauss_newton"):
        code, report = compute("evidence", path, {"x": X}, Y, LOGITS, "--layer", "three", "--matrix", name)
        assert code == 0
        rows.append(rows_of(report)["three"])
    assert rows[0].log_evidence == pytest.approx(rows[1].log_evidence, rel=1e-9)
    assert np.isnan(rows[0].negative_eigenvalues)


def tf_net(tf: Any, weights: Any, inputs: Any) -> Any:
    return tf.matmul(tf.tanh(tf.matmul(inputs["x"], weights["one"])), weights["two"])


def test_both_frameworks_have_the_same_evidence_and_quadrature_that_holds(compute: Compute, tmp_path: Path) -> None:
    """With as many Lanczos steps as entries nothing is left open but the random vectors; fewer leave a bracket."""
    shapes = {"one": (3, 6), "two": (6, 3)}
    weights = {name: RNG.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}

    class Chain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(3, 6, bias=False).double(), nn.Linear(6, 3, bias=False).double()
            self.one.weight.data, self.two.weight.data = (torch.tensor(w.T.astype(float)) for w in weights.values())

        def forward(self, x: Tensor) -> Tensor:
            return self.two(torch.tanh(self.one(x)))

    save(tf_net, weights, {"x": X}, tmp_path / "m")
    scripted(Chain(), tmp_path / "m.pt")
    exact, lanczos = [], []
    for path in (tmp_path / "m", tmp_path / "m.pt"):
        _, report = compute("evidence", path, {"x": X}, Y, LOGITS, "--whole-model")
        exact.append(next(iter(rows_of(report).values())))
        code, report = compute(
            "evidence", path, {"x": X}, Y, LOGITS, "--whole-model", "--method", "lanczos", "--probes", "12"
        )
        assert code == 0
        lanczos.append(next(iter(rows_of(report).values())))
    assert exact[0].log_evidence == pytest.approx(exact[1].log_evidence, rel=1e-9)
    assert exact[0].newton_gain == pytest.approx(exact[1].newton_gain, rel=1e-8)
    for row in lanczos:
        assert (row.exact, row.evidence_probes, row.method) == (False, 12, "lanczos_quadrature")
        assert row.evidence_truncation < 1e-9
        assert abs(row.log_evidence - exact[0].log_evidence) < 3 * row.evidence_stderr
        assert abs(row.prior_precision - exact[0].prior_precision) < 3 * row.prior_stderr
        assert abs(row.effective_parameters - exact[0].effective_parameters) < 3 * row.effective_stderr
        assert row.fixed_point < 1e-9
    given = ("--whole-model", "--prior", "0.05", "--method")
    _, report = compute("evidence", tmp_path / "m.pt", {"x": X}, Y, LOGITS, *given, "dense")
    truth = next(iter(rows_of(report).values()))
    code, report = compute(
        "evidence", tmp_path / "m.pt", {"x": X}, Y, LOGITS, *given, "lanczos", "--probes", "400", "--steps", "5"
    )
    (row,) = rows_of(report).values()
    assert (code, row.status) == (4, "not_converged")
    assert row.evidence_truncation > 0.7 * row.evidence_stderr
    assert abs(row.log_evidence - truth.log_evidence) < 2 * row.evidence_stderr
    assert "a larger --steps helps" in row.reason
    _, report = compute("evidence", tmp_path / "m.pt", {"x": X}, Y, LOGITS, *given, "lanczos", "--probes", "2")
    (row,) = rows_of(report).values()
    assert row.newton_decrement == pytest.approx(truth.newton_decrement, rel=1e-9)
    assert row.newton_length == pytest.approx(truth.newton_length, rel=1e-9)


# -- likelihoods ------------------------------------------------------------------------------------------------------

COUNTS = RNG.poisson(2.0, (SAMPLES, 2)).astype(float)
FLAGS = RNG.integers(0, 2, (SAMPLES, 2)).astype(float)
OUTPUTS = np.c_[X, np.ones(SAMPLES)] @ posterior_mean(1, 1)
MISSING = np.where(RNG.random(TARGETS.shape) < 0.2, np.nan, TARGETS)
LABELS = FLAGS[:, 0].astype(int)
P = torch.softmax(torch.from_numpy(OUTPUTS), 1).numpy()
SMOOTH = np.where(np.eye(2)[LABELS] > 0, 0.95, 0.05)
BCE = 'name = "bce"\nfrom_logits = true'
SOFTMAX = 'name = "cross_entropy"\nfrom_logits = true'


def each(diagonals: np.ndarray) -> np.ndarray:
    """A diagonal matrix per sample."""
    return diagonals[:, :, None] * np.eye(2)


OF_SOFTMAX = each(P) - P[:, :, None] * P[:, None]
OF_FLAGS = each(1 / (2 + 2 * np.cosh(OUTPUTS)))
NEGATIVE = np.where(FLAGS > 0, -OUTPUTS, OUTPUTS)
SPREAD = np.exp(OUTPUTS[:, 1:])


@pytest.mark.parametrize(
    ("loss", "targets", "likelihood", "curvature", "remark"),
    [
        (BCE, FLAGS, -np.logaddexp(0, NEGATIVE).sum(), OF_FLAGS, ""),
        (SOFTMAX, LABELS, np.log(P[np.arange(SAMPLES), LABELS]).sum(), OF_SOFTMAX, ""),
        (
            'name = "poisson"', COUNTS, (COUNTS * OUTPUTS - np.exp(OUTPUTS) - gammaln(COUNTS + 1)).sum(),
            each(np.exp(OUTPUTS)), "",
        ),
        ('name = "mse"', TARGETS, norm(OUTPUTS, 0.5).logpdf(TARGETS).sum(), each(np.full((SAMPLES, 2), 4.0)), ""),
        (
            'name = "mse"\nignore_nan = true', MISSING, np.nansum(norm(OUTPUTS, 0.5).logpdf(MISSING)),
            each(np.where(np.isnan(MISSING), 0, 4.0)), "",
        ),
        (
            'name = "gaussian_nll"\nlog_variance = true', TARGETS[:, :1],
            norm(OUTPUTS[:, :1], np.sqrt(SPREAD)).logpdf(TARGETS[:, :1]).sum(),
            each(np.c_[1 / SPREAD, np.full(SAMPLES, 0.5)]), "",
        ),
        (
            f"{BCE}\npos_weight = 3.0", FLAGS, -(np.where(FLAGS, 3, 1) * np.logaddexp(0, NEGATIVE)).sum(),
            OF_FLAGS * np.where(FLAGS, 3, 1)[:, :, None], "observations are weighted",
        ),
        (
            f"{SOFTMAX}\nclass_weights = [1.0, 2.0]", LABELS,
            ((1 + LABELS) * np.log(P[np.arange(SAMPLES), LABELS])).sum(), OF_SOFTMAX * (1 + LABELS)[:, None, None],
            "observations are weighted",
        ),
        (f"{SOFTMAX}\nlabel_smoothing = 0.1", LABELS, (SMOOTH * np.log(P)).sum(), OF_SOFTMAX, "smoothed labels"),
        (
            'name = "poisson"', COUNTS + 0.5,
            ((COUNTS + 0.5) * OUTPUTS - np.exp(OUTPUTS) - gammaln(COUNTS + 1.5)).sum(), each(np.exp(OUTPUTS)),
            "targets that are no counts",
        ),
    ],
)  # fmt: skip
def test_regressions_of_every_likelihood_have_the_evidence_of_their_closed_forms(  # noqa: PLR0917 - a case's
    loss: str,
    targets: np.ndarray,
    likelihood: float,
    curvature: np.ndarray,
    remark: str,
    compute: Compute,
    tmp_path: Path,
) -> None:
    """log p with all its constants, of every observation, however the loss averages them, and Σ φφᵀ ⊗ M.

    What is no probability of the data is told.
    """
    weights = posterior_mean(1, 1)
    noise = ("--noise", "0.5") if "mse" in loss else ()
    matrix = ("--matrix", "fisher") if "gaussian" in loss else ()
    path = linear(weights, tmp_path / "m.pt")
    code, report = compute(
        "evidence", path, {"input": X}, targets, loss, "--whole-model", "--prior", "2", *noise, *matrix
    )
    study = read_report(report).study("evidence")
    (row,) = study.tables["evidence"]
    features = np.c_[X, np.ones(SAMPLES)]
    whole = np.einsum("ni,nj,ncd->icjd", features, features, curvature).reshape(8, 8)
    assert code == 0
    assert row.log_likelihood == pytest.approx(likelihood, rel=1e-9)
    assert row.log_evidence == pytest.approx(dense_evidence(whole, weights.ravel(), likelihood, 2.0), rel=1e-9)
    assert remark in study.reason
    assert remark or "no probability" not in study.reason


# -- what can't be, and what is odd -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The words of a command on a network with its spec."""
    folder = tmp_path_factory.mktemp("saved")
    spec = write_spec(folder, "d", {"x": X}, Y, LOGITS)
    return ["evidence", str(scripted(Net(0), folder / "m.pt")), "--data", str(spec), "-q", "--dtype", "float64"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--prior", "0"], "0"),
        (["--prior", "-1"], "-1"),
        (["--prior", "inf"], "inf"),
        (["--prior", "nan"], "nan"),
        (["--prior", "best"], "search or decay"),
        (["--prior", "search,1"], "search stands alone"),
        (["--prior", "decay"], "has no loss.weight_decay"),
        (["--noise", "0.1"], "--noise goes with squared errors"),
        (["--noise", "0"], "0"),
        (["--noise", "1e-300"], "must be between"),
        (["--noise", "1e300"], "must be between"),
        (["--matrix", "empirical_fisher"], "empirical_fisher"),
        (["--probes", "1"], "1"),
        (["--matrix", "hessian", "--method", "gram", "--layer", "one"], "--method gram"),
        (["--layer", "nothing"], "nothing"),
    ],
)
def test_what_can_not_be_done_is_told(
    options: list[str], message: str, words: list[str], capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """In words."""
    assert run([*words, "-o", str(tmp_path / "r.h5"), *options]) == 2
    err = capfd.readouterr().err
    assert message in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("loss", "reason"),
    [
        ('name = "huber"', "the loss huber is not the negative logarithm"),
        ('name = "mae"', "the loss mae is not"),
        ('name = "hinge"', "the loss hinge is not"),
    ],
)
def test_a_loss_without_a_likelihood_is_refused(
    loss: str, reason: str, compute: Compute, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code, _ = compute("evidence", linear(np.ones((4, 2)), tmp_path / "m.pt"), {"input": X}, FLAGS, loss)
    assert code == 2
    assert reason in capfd.readouterr().err


@pytest.mark.parametrize(
    ("alpha", "method"), [("1e-300", "gram"), ("5e-324", "gram"), ("1e300", "gram"), ("1e300", "lanczos")]
)
def test_precisions_at_the_ends_of_floats_have_their_numbers(
    alpha: str, method: str, words: list[str], tmp_path: Path
) -> None:
    assert run([*words, "-o", str(tmp_path / "r.h5"), "--whole-model", "--prior", alpha, "--method", method]) in {0, 4}
    (row,) = rows_of(tmp_path / "r.h5").values()
    assert row.log_evidence < -1e3
    assert np.isfinite(row.log_evidence)
    assert np.isfinite(row.newton_decrement)


def test_precisions_that_are_nearly_the_same_have_rows_of_their_own(words: list[str], tmp_path: Path) -> None:
    assert (
        run([*words, "-o", str(tmp_path / "r.h5"), "--layer", "three", "--prior", "0.1,0.10000000000000002,1e9"]) == 0
    )
    assert list(rows_of(tmp_path / "r.h5", "evidence_curve")) == [
        f"three@{alpha}" for alpha in ("0.1", "0.10000000000000002", "1e+09")
    ]


def test_a_prior_below_the_rounding_of_eigenvalues_is_told(words: list[str], tmp_path: Path) -> None:
    assert run([*words, "-o", str(tmp_path / "r.h5"), "--whole-model", "--prior", "1e-300", "--method", "dense"]) == 4
    (row,) = rows_of(tmp_path / "r.h5").values()
    assert row.status == "imprecise"
    assert "α is no larger than what rounding puts eigenvalues below zero by" in row.reason


def test_blocks_that_are_zero_or_unreached_run_to_their_bounds(compute: Compute, tmp_path: Path) -> None:
    """Zero parameters want α = ∞, parameters of no curvature α = 0; neither costs anything."""

    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.zero, self.unused, self.head = nn.Linear(3, 3), nn.Linear(2, 2), nn.Linear(3, 3)
            for p in self.zero.parameters():
                p.data.zero_()

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.zero(x))

    code, report = compute("evidence", scripted(Odd(), tmp_path / "m.pt"), {"x": X}, Y, LOGITS)
    rows = rows_of(report)
    assert code == 0
    assert (rows["zero"].prior_precision, rows["unused"].prior_precision) == (np.inf, 0)
    for name, reason in (("zero", "α goes to infinity"), ("unused", "α goes to 0")):
        assert rows[name].log_evidence == rows[name].log_likelihood
        assert rows[name].effective_parameters == 0
        assert reason in rows[name].reason
    assert np.isfinite(rows["head"].prior_precision)


def test_a_perfect_fit_has_no_best_noise(compute: Compute, tmp_path: Path) -> None:
    weights = np.r_[np.eye(3, 2), [[0, 0]]]
    code, report = compute("evidence", linear(weights, tmp_path / "m.pt"), {"input": X}, X[:, :2], MSE, "--whole-model")
    (row,) = rows_of(report).values()
    assert (code, row.status) == (4, "nonfinite")
    assert "the residuals are all zero" in row.reason


def test_a_product_that_is_no_number_has_no_evidence(compute: Compute, tmp_path: Path) -> None:
    """The loss is a number, its second derivative is not."""

    class Root(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(3, 2)
            nn.init.zeros_(self.head.weight)
            nn.init.zeros_(self.head.bias)

        def forward(self, x: Tensor) -> Tensor:
            return torch.sqrt(torch.abs(self.head(x)))

    code, report = compute(
        "evidence", scripted(Root(), tmp_path / "m.pt"), {"x": X}, TARGETS, MSE, "--noise", "1", "--prior", "1"
    )
    (row,) = rows_of(report).values()
    assert (code, row.status) == (4, "nonfinite")
    assert "a product is no number" in row.reason


# -- reports ----------------------------------------------------------------------------------------------------------


def test_an_interrupted_run_ends_in_the_same_bytes(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of a quadrature, and of the Newton step that depends on it."""
    import signal

    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    words = [*words, "--method", "lanczos", "--probes", "2", "--steps", "6", "--whole-model"]
    calls, call = 0, ProductTask.__call__
    stops: set[int] = set()

    def counted(self: ProductTask, *arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls in stops:
            stops.discard(calls)
            signal.raise_signal(signal.SIGINT)
        return call(self, *arguments)

    monkeypatch.setattr(ProductTask, "__call__", counted)
    expected = run([*words, "-o", str(tmp_path / "a.h5")])
    assert expected in {0, 4}
    every, calls = calls, 0
    stops = {every // 3, every - 1}
    assert run([*words, "-o", str(tmp_path / "b.h5")]) == 130
    assert run([*words, "-o", str(tmp_path / "b.h5")]) == 130
    assert run([*words, "-o", str(tmp_path / "b.h5")]) == expected
    assert not stops
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_from_python_with_the_curve_of_every_block() -> None:
    """The evidence at the searched α is the largest of its curve."""
    module = Net(3)
    data = (torch.from_numpy(X).float(), torch.from_numpy(Y))
    study = curvcli.evidence(module, data=data, loss="cross_entropy", dtype="float64", prior=[0.5, 2])
    assert set(study.table("evidence_curve")) == {f"{name}@{a}" for name in study.table() for a in ("0.5", "2")}
    study = curvcli.evidence(module, data=data, loss="cross_entropy", dtype="float64")
    for row, alphas, evidences in zip(
        study.table().values(), study.array("prior_precision"), study.array("log_evidence"), strict=True
    ):
        assert evidences.max() == pytest.approx(row.log_evidence, rel=1e-12)
        assert alphas[evidences.argmax()] == pytest.approx(row.prior_precision)
        assert (np.diff(np.sign(np.diff(evidences))) <= 0).all()
    together = curvcli.run(
        module, data=data, loss="cross_entropy", dtype="float64", eigs={"k": 1}, evidence={"prior": 1}
    )
    assert len(together.study("evidence").tables["evidence"]) == len(study.table())
