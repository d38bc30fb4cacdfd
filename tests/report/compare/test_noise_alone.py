"""The promise to whoever runs ``compare`` in CI: noise of an estimator alone never fails it, and a change does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest

from curvcli.curvature.density import LanczosQuadrature
from curvcli.curvature.diagonal.weight_probes import HutchinsonDiagonal, XDiag
from curvcli.curvature.matrices.hessian import HESSIAN
from curvcli.curvature.operator import Block
from curvcli.curvature.trace.estimate import Rule
from curvcli.curvature.trace.registry import REGISTRY, estimators, traces
from curvcli.engine.serial import SerialEngine
from curvcli.engine.work import computed
from curvcli.losses.interface import OutputState, Targets
from curvcli.losses.output import Output
from curvcli.models.arrays import NumPySpace, Rows, rows_of
from curvcli.models.base import Array, Parameter
from curvcli.models.bundle import Vectors
from curvcli.models.memory import ProcessMemory
from curvcli.models.vectors import VectorSpace
from curvcli.report.compare.change import Tolerances
from curvcli.report.compare.comparison import compare
from curvcli.report.hdf5.read import Report
from curvcli.report.records.layers import LayerRecord, ParameterRecord
from curvcli.report.records.quantities import BlockRecord, DensityRecord, TraceRecord

SIZE, PROBES = 80, 24
# No tolerance: what is left is the error bars' work alone.
ANY_CHANGE = Tolerances(rtol=0.0)
SPECTRA = {
    "flat": np.linspace(1, 3, SIZE),
    "steep": 10 * 0.7 ** np.arange(SIZE),
    "indefinite": np.r_[10 * 0.8 ** np.arange(20), -3 * 0.9 ** np.arange(20), np.zeros(SIZE - 40)],
}


class Quadratic:
    """½ xᵀ A x as an objective, and as its only batch."""

    denominator = 1.0
    memory = ProcessMemory()

    def __init__(self, matrix: Array) -> None:
        self._matrix = matrix
        empty = np.zeros((1, 1))
        self.output = OutputState(Output(), empty, Targets(empty, empty, 1.0, 1.0, np.ones(1)))

    def batches(self, parameters: Sequence[str], *, start: int = 0) -> Iterator[Quadratic]:
        yield self

    def batch_count(self) -> int:
        return 1

    def hessian_products(self, block: Sequence[str], vectors: Vectors) -> Vectors:
        return Rows(rows_of(vectors) @ self._matrix)

    def space(self, parameters: Sequence[Parameter]) -> VectorSpace:
        return NumPySpace(tuple(parameters))


def matrix(values: Array) -> Array:
    basis, _ = np.linalg.qr(np.random.default_rng(1).standard_normal((len(values), len(values))))
    return (basis * values) @ basis.T


MATRICES = {name: matrix(values) for name, values in SPECTRA.items()}
PARAMETER = Parameter("p", "p", (SIZE,), ("entry",))


def layers(seed: int, scale: float = 1.0) -> Iterator[LayerRecord]:
    """Every estimator on every matrix; a diagonal, a density and a Frobenius norm beside them."""
    for index, (name, one) in enumerate(MATRICES.items()):
        engine, block = SerialEngine(Quadratic(scale * one)), Block(name, (PARAMETER,))  # type: ignore[arg-type]
        methods = [m for m, entry in REGISTRY.items() if not entry.semidefinite or SPECTRA[name].min() >= 0]
        for number, method in enumerate(methods):
            rule = Rule(PROBES, None, seed, 1.0, np.ones(1), 0.0)
            (of_blocks,) = computed(traces(estimators([block], None, method, rule, 1 << 30)), engine)
            found = of_blocks[name]
            record = TraceRecord(
                value=found.value,
                stderr=found.stderr,
                data_stderr=found.data_stderr,
                method=found.method,
                exact=found.exact,
                reason="",
                matrix="hessian",
                probes=found.probes,
                products=0,
                converged=True,
                samples=found.samples,
                batches=found.batches,
                estimates=len(found.samples),
                degrees=found.degrees,
                widening=found.widening,
                independent=found.independent,
            )
            layer = LayerRecord(name=f"{name}/{method}", kind="", index=9 * index + number, parameters=(), entries=SIZE)
            yield replace(layer, trace=record)
        if name != "indefinite":
            continue
        for number, kind in enumerate((HutchinsonDiagonal, XDiag), start=3):
            diagonal = kind(replace(PARAMETER, name=name), PROBES, None, seed)
            (result,) = computed(diagonal, engine).values()
            parameter = ParameterRecord(
                label="p", name=name, shape=(SIZE,), axes=("entry",), diagonal=result.value, method=diagonal.method
            )
            certainty = {name: getattr(result, name) for name in ("estimates", "degrees", "widening", "independent")}
            parameter = replace(parameter, diagonal_stderr=result.stderr, **certainty)
            yield LayerRecord(
                name=f"{name}/diag {diagonal.method}", kind="", index=9 * index + number, parameters=(parameter,)
            )
        yield replace(spectrum(name, engine, seed), index=9 * index + 5)


def spectrum(name: str, engine: SerialEngine, seed: int) -> LayerRecord:
    quadrature = computed(LanczosQuadrature(Block(name, (PARAMETER,)), 16, 20, seed, HESSIAN, 0.0, 1000), engine)
    found, squares = quadrature.density(1e-10), quadrature.squares
    origin = {"reason": "", "exact": False, "matrix": "hessian", "products": 0}
    origin |= {"estimates": 16, "degrees": 15.0, "independent": True}
    names = "nodes weights grid density density_stderr bandwidth weight_at_zero weight_at_zero_stderr support".split()
    density = DensityRecord(**{n: getattr(found, n) for n in names}, **origin, method="lanczos_quadrature")  # type: ignore[arg-type]
    norm = float(np.sqrt(squares.mean()))
    error = float(squares.std(ddof=1) / 4 / (2 * norm))
    nothing = dict.fromkeys(("entries", "eigenvalues", "inertia"))
    numbers = {"condition": 1.0, "condition_is_bound": True, "frobenius": norm, "frobenius_stderr": error}
    block = BlockRecord(**nothing, **numbers, **origin, asymmetry=float("nan"), method="probes")  # type: ignore[arg-type]
    return LayerRecord(
        name=f"{name}/spectrum", kind="", index=0, parameters=(), entries=SIZE, density=density, block=block
    )


@pytest.fixture
def estimated(written):
    """The reports of one seed: ``estimated("old", 3)``."""

    def make(name: str, seed: int, scale: float = 1.0) -> Report:
        return written(f"{name}.h5", list(layers(seed, scale)), seed=seed)

    return make


@pytest.mark.parametrize("seeds", [30, pytest.param(200, marks=pytest.mark.slow)])
def test_noise_of_an_estimator_alone_never_fails(seeds: int, estimated) -> None:
    """Many seeds, each against the one before, every estimator, no tolerance at all: nothing has changed."""
    old, beyond_two, judged = estimated("0", 0), [], 0
    for seed in range(1, seeds + 1):
        new = estimated(str(seed), seed)
        found = compare(old, new, ANY_CHANGE)
        assert not found.failed, [change for change in found.changes if change.outcome == "changed"]
        judged += found.count("within error")
        beyond_two += [
            abs(change.change) > 2 * np.hypot(change.old_stderr, change.new_stderr)
            for change in found.changes
            if change.layer is not None and "diag" not in change.layer and change.quantity == "trace"
        ]
        old = new
    assert judged >= 15 * seeds
    # Not because the errors are too large: two of them are exceeded as often as they should be.
    assert 0.02 <= np.mean(beyond_two) <= 0.08


def test_a_change_is_found_beneath_the_noise(estimated) -> None:
    """Curvature that is twice as large everywhere: estimates good enough to tell do tell."""
    found = compare(estimated("old", 1), estimated("new", 2, scale=2.0), Tolerances())
    changed = {(change.layer, change.quantity) for change in found.changes if change.outcome == "changed"}
    assert {(f"flat/{method}", "trace") for method in REGISTRY} <= changed
    assert {("steep/xtrace", "trace"), ("steep/hutch++", "trace")} <= changed
    assert ("indefinite/spectrum", "frobenius_norm") in changed


def test_with_the_same_probes_a_small_change_is_found(estimated) -> None:
    """One per cent more, far below the standard error: the same seed draws the same probes, whose noise drops out."""
    old = estimated("old", 1)
    for seed, outcome in ((1, "changed"), (2, "within error")):
        found = compare(old, estimated("new", seed, scale=1.01), Tolerances(rtol=0.005))
        (trace,) = (c for c in found.changes if (c.layer, c.quantity) == ("flat/hutchinson", "trace"))
        assert trace.outcome == outcome
        assert 0.01 * trace.old < 2 * np.hypot(trace.old_stderr, trace.new_stderr)


def test_what_cannot_be_judged_is_said_and_passes_as_nothing(estimated) -> None:
    """Signs of noisy entries, and how far Lanczos reached, have no error bar."""
    found = compare(estimated("old", 1), estimated("new", 2), ANY_CHANGE)
    undecided = {change.quantity for change in found.changes if change.outcome == "undecided"}
    assert undecided <= {"negative_share", "support_min", "support_max"}
    assert found.count("undecided") >= 3


def test_the_errors_of_a_diagonal_from_an_unknown_number_of_probes_are_not_trusted(written) -> None:
    """Without the count there is no Student quantile."""

    def silent(layer: LayerRecord) -> LayerRecord:
        forgotten = [replace(p, estimates=0, degrees=float("nan")) for p in layer.parameters]
        return replace(layer, parameters=tuple(forgotten))

    old, new = (written(f"{seed}.h5", [silent(layer) for layer in layers(seed)]) for seed in (1, 2))
    found = compare(old, new, ANY_CHANGE)
    doubted = [change for change in found.changes if change.quantity == "diagonal_max"]
    assert [change.outcome for change in doubted] == ["undecided", "undecided"]
    assert "how many probes" in doubted[0].note
