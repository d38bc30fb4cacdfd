"""Derivatives by the inputs, and gradients in two parts, stopped after any step end in the same bits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sessions import session_of

from curvcli.analysis.session import Session
from curvcli.curvature.pointwise.chain import ChainWork, Factor
from curvcli.curvature.pointwise.inputs import InputPlan, InputWork
from curvcli.models.pointwise import SampleFunction

pytestmark = pytest.mark.filterwarnings("ignore")
MODELS = Path(__file__).parents[2] / "sample_models"
OPTIONS: dict[str, Any] = {"limit": 24, "batch_size": 16, "seed": 0}
Run = Callable[[Any, Callable[[int], None]], None]


def stopped_anywhere(make: Callable[[], Any], run: Run, results: Callable[[Any], dict[str, Any]]) -> list[int]:
    """Compare every interrupted and resumed run with the whole one; returns the passes of its steps."""
    whole, made = make(), list[int]()
    run(whole, made.append)
    for last in range(len(made)):
        left = iter(range(last + 1))

        def stop(passes: int, left: Iterator[int] = left, last: int = last) -> None:
            if next(left) == last:
                raise KeyboardInterrupt

        begun, rest = make(), make()
        with pytest.raises(KeyboardInterrupt):
            run(begun, stop)
        rest.restore({name: np.array(values) for name, values in begun.state().items()})
        run(rest, lambda passes: None)
        assert results(rest).keys() == results(whole).keys()
        assert all(np.array_equal(results(rest)[name], values) for name, values in results(whole).items())
    return made


@pytest.mark.parametrize(("second", "full"), [("products", False), ("products", True), ("probes", False)])
@pytest.mark.parametrize("model", ["poisson_tanh.pt", "poisson_tanh"])
def test_derivatives_by_inputs(model: str, second: Any, full: bool) -> None:
    """In the middle of a batch too: a step is a product."""
    objective = session_of(MODELS / model, **OPTIONS).objective
    plan = InputPlan(second, full=full, coordinates=(1, 0), order=3, probes=4)
    made = stopped_anywhere(
        lambda: InputWork(SampleFunction("u", "u"), ["point"], plan),
        lambda work, on_step: work.run(objective, on_step),
        lambda work: work.found,
    )
    assert max(made) <= 3


@pytest.mark.parametrize("model", ["mlp_tanh.pt", "mlp_tanh"])
def test_gradients_in_two_parts(model: str) -> None:
    """With a Jacobian that is kept whole and one that is not."""
    session: Session = session_of(MODELS / model, **OPTIONS)
    layer = next(one for one in session.model.layers if one.name.endswith("fc3"))
    factors = [Factor(p.name, False, p.shape) for p in layer.parameters]
    room = 8 * 24 * 10 * min(p.size for p in layer.parameters)

    def results(work: ChainWork) -> dict[str, Any]:
        found = {f"product {f.name}": work.product(f, 1.0) for f in factors}
        found |= {f"jacobian {f.name}": work.jacobian(f) for f in factors if work.jacobian(f) is not None}
        return found | {"delta": work.output_gradient(1.0), "passes": list(work.passes.values())}

    made = stopped_anywhere(
        lambda: ChainWork([p.name for p in layer.parameters], factors, room),
        lambda work, on_step: work.run(session.objective, len(session.samples), on_step),
        results,
    )
    assert len(made) > 2 * 2
