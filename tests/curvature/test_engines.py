"""What an engine may do with tasks: run copies that were pickled, anywhere, a batch at a time, and add up in order."""

from __future__ import annotations

import atexit
import pickle
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from curvcli import curvature
from curvcli.analysis.options.shared import DataOptions, ModelOptions
from curvcli.analysis.session import open_session
from curvcli.cli.console import Voice
from curvcli.curvature.algorithm import Algorithm
from curvcli.curvature.diagonal.activation_probes import ActivationProbes
from curvcli.curvature.diagonal.coordinate import Coordinate
from curvcli.curvature.diagonal.gauss_newton import GaussNewton
from curvcli.curvature.diagonal.leading_columns import LeadingColumns
from curvcli.curvature.diagonal.monte_carlo import MonteCarlo
from curvcli.curvature.diagonal.output_hessian import OutputHessian
from curvcli.curvature.diagonal.pairs_of_uses import PairsOfUses
from curvcli.curvature.diagonal.smooth_units import SmoothUnits
from curvcli.curvature.diagonal.verification import Verification
from curvcli.curvature.first_order import FirstOrder
from curvcli.curvature.gram import GramColumns
from curvcli.curvature.likelihood import Observations
from curvcli.curvature.losses_at import AlongAt, Decay, LossesAlong, OwnLoss
from curvcli.curvature.matrices.fisher import FISHER
from curvcli.curvature.matrices.gauss_newton import GAUSS_NEWTON
from curvcli.curvature.minibatches import MinibatchTask
from curvcli.curvature.operator import Block, MatrixProducts
from curvcli.curvature.pointwise.activation_tasks import ActivationTask
from curvcli.curvature.pointwise.activations import ActivationCurvature, ActivationMethod, ActivationPlace
from curvcli.curvature.pointwise.chain import Factor, LayerOutput, SplitGradient, SplitTask
from curvcli.curvature.pointwise.inputs import InputDerivatives, InputPlan, InputTask
from curvcli.curvature.relative_flatness import FromColumns, Kernel
from curvcli.curvature.tasks import BatchTask, Cut, ParameterTask, Part, Sums
from curvcli.curvature.together import JointTask
from curvcli.engine.interface import Flight, OnStep, unheard
from curvcli.engine.serial import SerialEngine
from curvcli.engine.work import computed
from curvcli.models.base import Array, Parameter, passes_of
from curvcli.models.pointwise import SampleFunction
from curvcli.models.vectors import VectorSpace

from .test_stopped_anywhere import ALGORITHMS, arrays_of
from .test_stopped_anywhere import objective as quadratic


class Elsewhere:
    """Runs a pickled copy of each task once for every batch, as another process would, and adds up what comes back."""

    def __init__(self, objective: Any) -> None:
        self._objective = objective
        self.seen: set[type] = set()

    @property
    def denominator(self) -> float:
        return float(self._objective.denominator)

    @property
    def batch_weights(self) -> Array:
        return np.asarray(self._objective.batch_weights)

    def space(self, parameters: Sequence[Parameter]) -> VectorSpace:
        return self._objective.space(parameters)  # type: ignore[no-any-return]

    def sums(self, task: BatchTask[Any], flight: Flight, on_step: OnStep = unheard) -> Sums:
        kinds = {type(one) for one in task.tasks} if isinstance(task, JointTask) else set()
        self.seen |= {type(task), *kinds}
        for number in range(len(self._objective.batch_weights)):
            copy = pickle.loads(pickle.dumps(task))
            for part, cut, sums in one_batch(copy, self._objective, number):
                flight.add(copy, cut, part, pickle.loads(pickle.dumps(sums)))
        return flight.end()


def one_batch(task: BatchTask[Any], objective: Any, number: int) -> list[tuple[Part, Cut, Sums]]:
    """All parts of one batch, cut as finely as the task allows or not at all."""
    alone = Flight()
    alone.batch, answers = number, []
    batch = next(task.batches(objective, number))
    cut, first = task.cut(batch), 0
    for segment in cut.segments:
        size = segment.at_once if segment.entries is None else max(1, segment.count)
        for start in range(first, first + segment.count, size):
            part = alone.part(min(start + size, first + segment.count))
            sums = task(batch, part)
            answers.append((part, cut, sums))
            alone.add(task, cut, part, sums)
        first += segment.count
    if not cut.count:
        part = alone.part(0)
        answers.append((part, cut, task(batch, part)))
    return answers


MODELS = Path(__file__).parents[2] / "sample_models"


@cache
def objective_of(model: str) -> Any:
    """Twelve samples in uneven batches."""
    if model == "twins":
        return twins()
    options = ModelOptions(MODELS / model, dtype="float64"), DataOptions(limit=12, batch_size=5)
    return open_session(*options, Voice(-1))


def activation(session: Any, layer: tuple[str, ...], method: ActivationMethod) -> ActivationCurvature:
    """All figures of what a layer makes."""
    place = ActivationPlace.of(session.objective, layer, "output")
    return ActivationCurvature(layer, "output", place, method, "asymmetric", (8, 3), 11, None, 0)


def diagonals() -> dict[str, Algorithm[Any]]:
    """What is asked of a network, by every task that no other test makes."""
    session = objective_of("mlp_tanh.pt")
    layers = {layer.name: layer.parameters for layer in session.model.layers}
    last, hidden = layers["fc3"], layers["fc2"]
    names, sites = tuple(p.name for p in last), session.objective.sites([p.name for p in hidden])
    site, factors = sites[hidden[0].name], tuple(Factor(p.name, False, p.shape) for p in last)
    output = LayerOutput.of(session.objective, names, factors)
    whole = frozenset([last[1].name])
    block, values = Block("fc3", last), {p.name: session.model.values(p.name) for p in last}
    step = np.ones(block.size)
    return {
        "loss and gradient": FirstOrder(names),
        **{f"activation by {method}": activation(session, names, method) for method in get_args(ActivationMethod)},
        "columns": GaussNewton(names, 10),
        "smooth units": SmoothUnits(tuple(p.name for p in hidden), 10, passes_of(site.bends or ())),
        "outputs": OutputHessian(tuple(p.name for p in hidden), site.units, site.positions),
        "coordinates": Coordinate(last[1].name, last[1].shape),
        "activation probes": ActivationProbes(hidden, 16, None, 0, 10),
        "leading columns": LeadingColumns(last, 6, None, 0, 10),
        "monte carlo": MonteCarlo(last, 16, None, 0, FISHER),
        "verification": Verification(last, (), lambda name: None, 0),
        "gram": GramColumns(Block("fc3", last), names, 10, GAUSS_NEWTON),
        "products": MatrixProducts(Block("fc3", last), np.eye(sum(p.size for p in last))[:3]),
        "gauss-newton products": MatrixProducts(
            Block("fc3", last), np.eye(sum(p.size for p in last))[:3], GAUSS_NEWTON
        ),
        "split": SplitGradient(SplitTask(names, factors, whole), output),
        "losses elsewhere": LossesAlong(values, [values], np.array([[0.5]]), Decay(0.0, frozenset(), 0.0, {})),
        "along elsewhere": AlongAt(block, values, step, 0.0),
        "own loss": OwnLoss(0.0),
        "likelihood": Observations(),
        "relative flatness": FromColumns((Kernel(last[0], values[last[0].name], 0),), 10, 0, check=True),
    }


class Twins(nn.Module):
    """One weight, twice."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(2, 2)

    def forward(self, point: Tensor) -> Tensor:
        return torch.tanh(self.one(torch.tanh(self.one(point))))


@cache
def twins() -> Any:
    """Twelve samples in uneven batches, of a weight that is used twice."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    torch.manual_seed(0)
    torch.jit.save(torch.jit.script(Twins()), str(folder / "twins.pt"))
    np.savez(folder / "data.npz", point=np.random.default_rng(0).normal(size=(12, 2)), target=np.ones((12, 2)))
    (folder / "spec.toml").write_text(
        'version = 1\n[source]\nformat = "npz"\npath = "data.npz"\n[inputs.point]\ncolumn = "point"\n'
        '[target]\ncolumn = "target"\n[loss]\nname = "mse"\n'
    )
    options = ModelOptions(folder / "twins.pt", dtype="float64"), DataOptions(folder / "spec.toml", batch_size=5)
    return open_session(*options, Voice(-1))


def pairs() -> dict[str, Algorithm[Any]]:
    """The diagonals of a weight that is used twice."""
    return {"pairs of uses": PairsOfUses(("one.weight", "one.bias"), 4)}


def inputs() -> dict[str, Algorithm[Any]]:
    """Derivatives by the inputs, exactly and by probes."""
    plans = {
        "inputs exactly": InputPlan("products", full=True, coordinates=(0,), order=2),
        "inputs by probes": InputPlan("probes", probes=3),
    }
    return {name: InputDerivatives(SampleFunction("u", "u"), ("point",), plan, 2, 5) for name, plan in plans.items()}


NETWORK = dict.fromkeys(diagonals(), "mlp_tanh.pt") | dict.fromkeys(inputs(), "poisson_tanh.pt")
NETWORK |= dict.fromkeys(pairs(), "twins")


def same(left: Any, right: Any) -> None:
    """Two results, bit by bit."""
    if isinstance(left, Mapping):
        assert left.keys() == right.keys()
        for name, one in left.items():
            same(one, right[name])
    elif is_dataclass(left):
        mine, other = ({f.name: getattr(one, f.name) for f in fields(one)} for one in (left, right))
        same(mine, other)
    else:
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_algorithms_find_the_same_on_another_engine(name: str) -> None:
    """To the bit: what an algorithm finds does not depend on where its tasks ran."""
    engines = SerialEngine(quadratic()), Elsewhere(quadratic())
    here, there = (computed(ALGORITHMS[name](), engine) for engine in engines)
    for one, other in zip(arrays_of(here), arrays_of(there), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", NETWORK)
def test_a_networks_figures_are_the_same_on_another_engine(name: str) -> None:
    """Diagonals, checks, columns, derivatives by inputs and in two parts, on a model from a file."""
    objective, algorithm = objective_of(NETWORK[name]).objective, (diagonals() | inputs() | pairs())[name]
    same(computed(algorithm, SerialEngine(objective)), computed(algorithm, Elsewhere(objective)))


def test_every_task_is_pickled_by_these_tests() -> None:
    """A task that is added needs an algorithm above."""
    for module in walk_packages(curvature.__path__, "curvcli.curvature."):
        import_module(module.name)
    seen: set[type] = set()
    for make in ALGORITHMS.values():
        engine = Elsewhere(quadratic())
        computed(make(), engine)
        seen |= engine.seen
    for name, algorithm in (diagonals() | inputs() | pairs()).items():
        engine = Elsewhere(objective_of(NETWORK[name]).objective)
        computed(algorithm, engine)
        seen |= engine.seen
    every = (
        {task for task in tasks(ParameterTask) if not tasks(task)}
        | {JointTask, InputTask, SplitTask}
        | tasks(ActivationTask)
    )
    # Batches of its own are made by the first process alone.
    assert every - {MinibatchTask} <= seen


def tasks(kind: type) -> set[type]:
    """All kinds of task that are made of one."""
    own = set(kind.__subclasses__())
    return own | {other for one in own for other in tasks(one)}
