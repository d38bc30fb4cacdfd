"""Diagonals estimated by signs in the space of activations: unbiased, honest errors, and far fewer products."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from covering import covering, slow
from sessions import session_of

from curvcli.analysis.session import Session
from curvcli.curvature.diagonal.activation_probes import ActivationProbes
from curvcli.curvature.diagonal.estimate import DiagonalEstimate
from curvcli.curvature.diagonal.estimators import DiagonalEstimator
from curvcli.curvature.diagonal.weight_probes import HutchinsonDiagonal
from curvcli.curvature.kept import KeptObjective
from curvcli.engine.serial import SerialEngine
from curvcli.engine.work import Work, computed
from curvcli.models.base import Array, Parameter, Site

from .conftest import ROOT, write_spec
from .dense import Dense
from .test_torchscript import LOGITS, NETWORKS, data, save

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
SEEDS = 80


def opened(path: Path, spec: Path | None, **changes: object) -> Session:
    return session_of(path, spec, **changes)  # type: ignore[arg-type]


class Subject:
    """A layer of a small network, opened, with its true diagonal."""

    def __init__(self, network: str, layer: str, folder: Path) -> None:
        torch.manual_seed(0)
        build, shape = NETWORKS[network]
        module = build().eval()
        x, y = data(shape)
        spec = write_spec(folder, "data", {"x": x}, y, LOGITS)
        self.session = opened(save(module, x, folder / "m.pt"), spec)
        (one,) = (found for found in self.session.model.layers if found.name == layer)
        self.parameters = one.parameters
        names = [p.name for p in self.parameters]
        self.objective = KeptObjective(self.session.objective, names, 1 << 40)
        self.site = self.objective.sites(names)[names[0]]
        dense = Dense(module, x, y)
        diagonal = np.diag(dense.hessian())[dense.layers()[layer]]
        starts = np.cumsum([0, *(p.size for p in self.parameters)])
        self.truth = {
            p.name: diagonal[a:b].reshape(p.shape) for p, a, b in zip(self.parameters, starts, starts[1:], strict=False)
        }

    def estimate(
        self, seed: int, probes: int, *, control: int = 0, rtol: float | None = None
    ) -> dict[str, DiagonalEstimate]:
        return computed(ActivationProbes(self.parameters, probes, rtol, seed, control), SerialEngine(self.objective))


SUBJECTS = [("smooth", "one"), ("attention", "value"), ("time_major", "dense"), ("convolutions", "first")]


@pytest.mark.parametrize(
    ("subject", "control"), [*covering(SUBJECTS[:3], [3, 0]), *slow(SUBJECTS[3:], [3, 0])], ids=str
)
def test_entries_lie_within_two_standard_errors_in_90_to_99_percent(
    subject: tuple[str, str], control: int, tmp_path: Path
) -> None:
    """Over 80 seeds and all entries, with the exact Gauss–Newton part and without; and no bias."""
    tried = Subject(*subject, tmp_path)
    channels, layers = [np.zeros(0, dtype=bool)], []
    inside, sums = [], {name: np.zeros(value.shape) for name, value in tried.truth.items()}
    squares = {name: np.zeros(value.shape) for name, value in tried.truth.items()}
    for seed in range(SEEDS):
        total, estimates = 0.0, tried.estimate(seed, 16, control=control)
        for name, found in estimates.items():
            off = found.value - tried.truth[name]
            total += off.sum()
            if found.channels is not None and found.channel_stderr is not None:
                axes = tuple(axis for axis in range(off.ndim) if axis != found.channels)
                channels.append(np.abs(off.sum(axis=axes)) <= 2 * found.channel_stderr + 1e-13)
        layers.append(abs(total) <= 2 * next(iter(estimates.values())).layer_stderr + 1e-13)
        for name, found in estimates.items():
            off = found.value - tried.truth[name]
            inside.append((np.abs(off) <= 2 * found.stderr + 1e-13).ravel())
            sums[name] += off
            squares[name] += off**2
    # Entries that the probes happen to get exactly (no remainder, or one channel) carry no information.
    coverage = np.mean(np.concatenate(inside))
    assert 0.90 <= coverage <= 0.99 or (control and tried.site.blocker is None and coverage == 1), coverage
    exact = control and tried.site.blocker is None
    every = np.concatenate(channels)
    assert not len(every) or 0.90 <= every.mean() <= 0.99 or (exact and every.all()), every.mean()
    assert np.mean(layers) >= 0.88, np.mean(layers)
    for name in sums:
        assert (np.abs(sums[name] / SEEDS) <= 6 * np.sqrt(squares[name]) / SEEDS + 1e-12).all()


def test_the_exact_part_leaves_only_the_remainders_noise() -> None:
    """Of a trained network most of ∇²_z ℓ is Gauss–Newton: computed exactly, the same probes err half as much."""
    session = opened(ROOT / "sample_models" / "mlp_tanh.pt", None)
    parameters = session.model.layers[0].parameters
    names = [p.name for p in parameters]
    norms = []
    for control in (0, 10):
        engine = SerialEngine(KeptObjective(session.objective, names, 1 << 40))
        found = computed(ActivationProbes(parameters, 64, None, 0, control), engine)
        norms.append(np.linalg.norm(found[names[0]].stderr))
    assert norms[1] < 0.6 * norms[0]


def test_put_down_and_taken_up_it_ends_in_the_same_bits(tmp_path: Path) -> None:
    """After every step, the exact part included."""
    subject = Subject("smooth", "one", tmp_path)
    straight = subject.estimate(3, 24, control=3)

    class StopError(Exception):
        pass

    def stop(passes: int) -> None:
        raise StopError

    state: dict[str, Array] | None = None
    for _ in range(100):
        work = Work(ActivationProbes(subject.parameters, 24, None, 3, 3))
        if state is not None:
            work.restore(state)
        try:
            work.run(SerialEngine(subject.objective), stop)
            break
        except StopError:
            state = {key: value.copy() for key, value in work.state().items()}
    for name, found in work.result.items():
        assert (found.value == straight[name].value).all()
        assert (found.stderr == straight[name].stderr).all()


def errors(
    parameter: Parameter, truth: Array, objective: KeptObjective, kind: str, site: Site
) -> Iterator[tuple[int, float]]:
    """Root mean square error over eight seeds, relative to the diagonal, for growing numbers of products."""
    for probes in (8, 32, 128):
        squares = []
        for seed in range(8):
            estimator: DiagonalEstimator = HutchinsonDiagonal(parameter, probes, None, seed)
            if kind != "hutchinson":
                estimator = ActivationProbes((parameter,), probes, None, seed, 0)
            off = computed(estimator, SerialEngine(objective))[parameter.name].value - truth
            squares.append((off**2).sum() / (truth**2).sum())
        yield probes, float(np.sqrt(np.mean(squares)))


def test_ten_times_fewer_products_than_signs_in_weight_space() -> None:
    """For mlp_tanh's first dense layer behind tanh, eight activation probes beat eighty of Hutchinson's, even 128."""
    session = opened(ROOT / "sample_models" / "mlp_tanh.pt", None)
    parameter = session.model.layers[0].parameters[0]
    objective = KeptObjective(session.objective, [parameter.name], 1 << 40)
    site = objective.sites([parameter.name])[parameter.name]
    truth = np.zeros(parameter.shape)
    for batch in objective.batches([parameter.name]):
        truth += batch.output_hessian_diagonal([parameter.name], 0, site.units)[parameter.name]
    truth /= objective.denominator
    curves = {k: dict(errors(parameter, truth, objective, k, site)) for k in ("activation_probes", "hutchinson")}
    for kind, curve in curves.items():
        sys.stdout.write(f"{kind}: " + ", ".join(f"{n}: {e:.3g}" for n, e in curve.items()) + "\n")
    # Errors fall with the square root, so ten times fewer products for an error means √10 at equal products.
    for probes, error in curves["activation_probes"].items():
        assert error * np.sqrt(10) <= curves["hutchinson"][probes]
