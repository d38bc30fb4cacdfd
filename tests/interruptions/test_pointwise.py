"""Derivatives by the inputs, and gradients in two parts, stopped after any step end in the same bits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from sessions import session_of

from curvcli.analysis.session import Session
from curvcli.curvature.algorithm import Algorithm
from curvcli.curvature.pointwise.chain import Factor, Halves, LayerOutput, SplitGradient, SplitTask
from curvcli.curvature.pointwise.inputs import InputDerivatives, InputPlan
from curvcli.engine.serial import SerialEngine
from curvcli.engine.work import Work
from curvcli.models.pointwise import SampleFunction

pytestmark = pytest.mark.filterwarnings("ignore")
MODELS = Path(__file__).parents[2] / "sample_models"
OPTIONS: dict[str, Any] = {"limit": 24, "batch_size": 16, "seed": 0}
Result = TypeVar("Result")


def stopped_anywhere(
    algorithm: Algorithm[Result], objective: Any, arrays: Callable[[Result], dict[str, Any]]
) -> list[int]:
    """Compare every interrupted and resumed run with the whole one; returns the passes of its steps."""
    whole, made = Work(algorithm), list[int]()
    whole.run(SerialEngine(objective), made.append)
    for last in range(len(made)):
        left = iter(range(last + 1))

        def stop(passes: int, left: Iterator[int] = left, last: int = last) -> None:
            if next(left) == last:
                raise KeyboardInterrupt

        begun, rest = Work(algorithm), Work(algorithm)
        with pytest.raises(KeyboardInterrupt):
            begun.run(SerialEngine(objective), stop)
        rest.restore({name: np.array(values) for name, values in begun.state().items()})
        rest.run(SerialEngine(objective))
        expected, found = arrays(whole.result), arrays(rest.result)
        assert found.keys() == expected.keys()
        assert all(np.array_equal(found[name], values) for name, values in expected.items())
    return made


@pytest.mark.parametrize(
    ("second", "full"), [("products", False), ("products", True), ("taylor", False), ("probes", False)]
)
@pytest.mark.parametrize("model", ["poisson_tanh.pt", "poisson_tanh"])
def test_derivatives_by_inputs(model: str, second: Any, full: bool) -> None:
    """In the middle of a batch too: a step is a product, or a chunk of coordinates."""
    objective = session_of(MODELS / model, **OPTIONS).objective
    plan = InputPlan(second, full=full, coordinates=(1, 0), order=3, probes=4, orders=second == "taylor")
    algorithm = InputDerivatives(SampleFunction("u", "u"), ("point",), plan, 2, objective.batch_size)
    made = stopped_anywhere(algorithm, objective, lambda found: found)
    assert max(made) <= 3


@pytest.mark.parametrize("model", ["mlp_tanh.pt", "mlp_tanh"])
def test_gradients_in_two_parts(model: str) -> None:
    """With a Jacobian that is kept whole and one that is not."""
    session: Session = session_of(MODELS / model, **OPTIONS)
    layer = next(one for one in session.model.layers if one.name.endswith("fc3"))
    names, factors = (
        tuple(p.name for p in layer.parameters),
        tuple(Factor(p.name, False, p.shape) for p in layer.parameters),
    )
    room = 8 * 24 * 10 * min(p.size for p in layer.parameters)
    output = LayerOutput.of(session.objective, names, factors)
    whole = output.whole(factors, len(session.samples), room)
    assert len(whole) == 1

    def arrays(found: Halves) -> dict[str, Any]:
        return {
            "delta": found.output_gradient,
            **found.products,
            **{f"jacobian {n}": j for n, j in found.jacobians.items()},
        }

    made = stopped_anywhere(SplitGradient(SplitTask(names, factors, whole), output), session.objective, arrays)
    assert len(made) > 2 * 2
