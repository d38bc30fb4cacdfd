"""What comes back from a device while algorithms run: a few numbers for each product, and final arrays once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from curvcli.analysis.options.shared import DataOptions, ModelOptions
from curvcli.analysis.session import Session, open_session
from curvcli.analysis.targets import targets
from curvcli.cli.console import Voice
from curvcli.curvature.algorithm import Algorithm
from curvcli.curvature.density import LanczosQuadrature
from curvcli.curvature.diagonal.gauss_newton import GaussNewton
from curvcli.curvature.eigen import IterativeEigenpairs
from curvcli.curvature.kept import KeptObjective
from curvcli.curvature.matrices.hessian import HESSIAN
from curvcli.curvature.operator import Block
from curvcli.curvature.trace.estimate import Rule
from curvcli.curvature.trace.hutchinson import Hutchinson
from curvcli.curvature.trace.xtrace import XTrace
from curvcli.engine.serial import SerialEngine
from curvcli.engine.work import computed

from .figures import MODELS
from .simulated import Bus, second_device

BATCHES, ITEM = 3, 4


class Crossed:
    """Bytes each way in each step after the first pass over the batches, in which their graphs are made and kept."""

    def __init__(self, bus: Bus) -> None:
        self.back: list[list[int]] = []
        self.there: list[list[int]] = []
        self._bus, self._steps = bus, 0

    def __call__(self, passes: int) -> None:
        self._steps += 1
        if self._steps > BATCHES:
            self.back.append(list(self._bus.back))
            self.there.append(list(self._bus.there))
        self._bus.clear()


@pytest.fixture
def bus(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bus]:
    with second_device(monkeypatch) as bus:
        yield bus


@pytest.fixture
def session(bus: Bus) -> Session:
    model, data = ModelOptions(MODELS / "mlp_tanh.pt", "meta", dtype="float32"), DataOptions(None, 12, 5, None)
    return open_session(model, data, Voice(-1))


def run(algorithm: Algorithm[Any], session: Session, names: list[str], bus: Bus) -> Crossed:
    """On batches whose graphs are kept."""
    crossed = Crossed(bus)
    computed(algorithm, SerialEngine(KeptObjective(session.objective, names, 1 << 50)), crossed)
    return crossed


def whole(session: Session) -> Block:
    (target,) = targets(session.model.layers, [], whole_model=True)
    return target.block


def test_a_step_of_lanczos_takes_numbers_back_alone(session: Session, bus: Bus) -> None:
    """Less than 100 bytes for each vector of the basis, but the eigenvectors at the end.

    The start is moved there once, and once for each further look for what was missed.
    """
    block, basis = whole(session), 40
    options: dict[str, Any] = {"k": 2, "which": "largest", "tolerance": 1e-5, "seed": 0, "matrix": HESSIAN}
    algorithm = IterativeEigenpairs(block, **options, weight_decay=0.0, basis=basis, max_products=100, solver="lanczos")
    crossed = run(algorithm, session, list(block.names), bus)
    assert len(crossed.back) > 50
    results = [step for step in crossed.back if ITEM * block.size * 2 in step]
    assert len(results) == 1
    assert all(sum(step) < 100 * basis for step in crossed.back if step not in results)
    starts = [step for step in crossed.there if max(step, default=0) >= ITEM * block.size]
    assert len(starts) <= 3
    assert all(sum(step) < 100 * basis for step in crossed.there if step not in starts)


def test_a_step_of_a_density_takes_numbers_back_alone(session: Session, bus: Bus) -> None:
    block = whole(session)
    crossed = run(LanczosQuadrature(block, 2, 8, 0, HESSIAN, 0.0, vectors=30), session, list(block.names), bus)
    assert max(sum(step) for step in crossed.back) < 100 * 30
    assert sum(max(step, default=0) >= ITEM * block.size for step in crossed.there) <= 2


def rule(session: Session, probes: int) -> Rule:
    return Rule(probes, None, 0, session.objective.denominator, session.objective.batch_weights, 0.0)


def test_signs_go_there_as_bits_and_forms_come_back(session: Session, bus: Bus) -> None:
    """One bit of each entry per probe and batch; eight bytes for each parameter and probe come back."""
    block, probes = whole(session), 8
    algorithm = Hutchinson(block, (block,), rule(session, 2 * probes))
    crossed = run(algorithm, session, list(block.names), bus)
    assert crossed.back == [[8 * len(block.parameters) * probes]] * BATCHES
    for step in crossed.there:
        assert sum(step) <= probes * (block.size // 8 + len(block.parameters))


def test_xtrace_takes_no_vector_back(session: Session, bus: Bus) -> None:
    """Inner products of its test vectors alone."""
    block = whole(session)
    crossed = run(XTrace(block, rule(session, 16)), session, list(block.names), bus)
    assert max(max(step, default=0) for step in crossed.back) <= 8 * 16 * 16
    assert crossed.back


def test_squares_of_columns_come_back_once_for_each_batch(session: Session, bus: Bus) -> None:
    """However many columns there are: what is summed stays on the device."""
    layer = session.model.layers[-1]
    names = [p.name for p in layer.parameters]
    largest = 8 * max(p.size for p in layer.parameters)
    list(session.objective.batches(names))  # the graph's structure is read
    bus.clear()
    counts: list[int] = []

    def on_step(passes: int) -> None:
        counts.append(sum(one == largest for one in bus.back))
        assert max(bus.back) == largest
        bus.clear()

    classes = 10
    computed(GaussNewton(tuple(names), classes), SerialEngine(session.objective), on_step)
    assert counts == [1] * BATCHES


def test_what_crosses_is_seen(bus: Bus) -> None:
    """The simulated device counts copies and numbers, and refuses what a real one refuses."""
    import torch

    from curvcli.models.torch import bus as crossing

    away = crossing.to_device(np.arange(6.0), torch.device("meta"))
    assert bus.there == [48]
    assert crossing.number(away.sum()) == 15
    assert not crossing.holds((away > 2).all())
    np.testing.assert_array_equal(crossing.to_host(2 * away[1:3]), [2, 4])
    assert bus.back == [8, 1, 16]
    with pytest.raises(RuntimeError, match="same device"):
        _ = away + torch.ones(6)
    assert away.device.type == (away + 1).device.type == torch.zeros(2, device="meta").device.type == "meta"
