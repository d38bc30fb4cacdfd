"""The same data twice: in this process, and in several workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sessions import session_of

from curvcli.analysis.engines import DataOpener
from curvcli.analysis.options.shared import DataOptions, ModelOptions
from curvcli.curvature.diagonal.coordinate import Coordinate
from curvcli.curvature.diagonal.gauss_newton import GaussNewton
from curvcli.curvature.first_order import FirstOrder
from curvcli.curvature.losses_at import Decay, LossesAlong
from curvcli.curvature.operator import Block, MatrixProducts
from curvcli.curvature.tasks import Data
from curvcli.engine.workers.crew import Crew
from curvcli.engine.workers.engine import Workers

MODEL = Path(__file__).parents[2] / "sample_models" / "mlp_tanh.pt"


def opener(batch_size: int, model: Path = MODEL) -> DataOpener:
    return DataOpener(ModelOptions(model, threads=1), DataOptions(limit=24, batch_size=batch_size), Path.cwd())


def same(left: Any, right: Any) -> bool:
    """Whether two results are equal to the bit, whatever they are made of."""
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, np.ndarray):
        return np.array_equal(left, right, equal_nan=left.dtype.kind == "f")
    if hasattr(left, "__dataclass_fields__"):
        return all(same(getattr(left, name), getattr(right, name)) for name in left.__dataclass_fields__)
    return bool(left == right)


@dataclass(frozen=True)
class Opened:
    """The same data twice: here, and in workers."""

    objective: Data
    workers: Workers
    crew: Any
    block: Block
    values: dict[str, Any]

    def algorithms(self) -> dict[str, Any]:
        """Of each sort of task."""
        names, block = self.block.names, self.block
        vectors = np.random.default_rng(0).standard_normal((3, block.size))
        weight, bias = block.parameters
        origin = {weight.name: self.values[weight.name]}
        step = {weight.name: vectors[0, : weight.size].reshape(weight.shape)}
        points = np.array([[0.0], [0.25], [1e300]])
        return {
            "first order": FirstOrder(names),
            "products": MatrixProducts(block, vectors),
            "columns": GaussNewton(names, 10),
            "entries": Coordinate(bias.name, bias.shape),
            "losses": LossesAlong(origin, [step], points, Decay(0.0, frozenset(), 0.0, {})),
        }


@contextmanager
def at_work(crew: Crew, count: int, batch_size: int) -> Iterator[Opened]:
    """A crew over the 24 samples of a small network."""
    session = session_of(MODEL, limit=24, batch_size=batch_size, dtype="float32")
    layer = session.model.layers[-1]
    block = Block(layer.name, layer.parameters)
    values = {p.name: session.model.values(p.name) for p in layer.parameters}
    with Workers(
        session.objective, opener(batch_size), crew, count=count, parameters=block.names, room=1 << 28
    ) as workers:
        yield Opened(session.objective, workers, crew, block, values)


def calling(at: Callable[[int], bool], do: Callable[[int], None]) -> Callable[[int], None]:
    """What is called at every step, and does something at some of them."""
    step = iter(range(1 << 30))

    def on_step(passes: int) -> None:
        number = next(step)
        if at(number):
            do(number)

    return on_step
