"""Another checkpoint of the network, as one end of a line from the model of a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from curvcli.analysis.provenance import decay_term_of
from curvcli.analysis.quantities.base import RunPlan
from curvcli.analysis.session import Opened, objective_of
from curvcli.analysis.targets import Target
from curvcli.curvature.directions import joined
from curvcli.curvature.losses_at import OwnLoss
from curvcli.engine.serial import SerialEngine
from curvcli.engine.work import computed
from curvcli.errors import ModelError, UsageError
from curvcli.models.base import Array, Parameter
from curvcli.models.choice import Choice
from curvcli.models.open import WHOLE, format_of, open_model
from curvcli.spec.mistakes import listed
from curvcli.wording import option

# Two losses that are further apart than this, relative to the larger, differ by more than rounding.
_ROUNDING = {"float32": 1e-4, "float64": 1e-9}


class OtherModel:
    """Another checkpoint.

    Attributes:
        sha256: of its file.
        values: of the parameters that are moved, in their shapes, float64.
        whole: whether these are all that both models have.
        renamed: what to say where they have other names there; empty where they have not.
    """

    def __init__(self, run: RunPlan, target: Target, path: Path) -> None:
        """Open it.

        Args:
            run: the model that the line begins at, with its data.
            target: what is moved.
            path: of the file.

        Raises:
            UsageError: it has other parameters.
            ModelError: it can't be opened, or an entry is no number.
        """
        self._run, self._path = run, path
        session = run.session
        form = format_of(path)
        if form.backend != session.model.backend:
            raise UsageError(
                f"{self._option}: is {form.name}, and {session.path} is not of that framework: their parameters have "
                "other names.\nGive another checkpoint of the same network, saved in the same way."
            )
        # Of a SavedModel with several models, the one of the same signature.
        choice = Choice(**session.model.part) if form.several else WHOLE
        self._model = open_model(path, device=session.device, dtype=session.dtype, choice=choice)
        self.sha256 = self._model.sha256
        self._parameters = parameters = target.block.parameters
        own, others = (
            [p for layer in model.layers for p in layer.parameters] for model in (session.model, self._model)
        )
        # Where a part of it is moved, no point of the line is the other model.
        self.whole = {p.name for p in own} == {p.name for p in parameters} and len(own) == len(others)
        names = {p.name: p.name for p in parameters}
        self.renamed = ""
        if (
            self.whole
            and {p.name for p in others} != set(names)
            and list(map(_looks, own)) == list(map(_looks, others))
        ):
            # Keras numbers layers without a name anew for every network that a process makes.
            names = {one.name: other.name for one, other in zip(own, others, strict=True)}
            one, other = next(pair for pair in names.items() if pair[0] != pair[1])
            self.renamed = f"parameters are matched by their order: {one} is {other} there"
        self._check(names, {p.name: p.shape for p in others})
        self.values = {p.name: self._model.values(names[p.name]) for p in parameters}
        broken = next((name for name, array in self.values.items() if not np.isfinite(array).all()), None)
        if broken is not None:
            raise ModelError(f"{self._option}: {broken} holds entries that are no finite numbers.")

    def _check(self, names: Mapping[str, str], shapes: Mapping[str, tuple[int, ...]]) -> None:
        missing = [there for there in names.values() if there not in shapes]
        if missing:
            raise UsageError(
                f"{self._option}: it has no {listed(missing, last='and')}.\n"
                "Give another checkpoint of the same network, saved in the same way."
            )
        for p in self._parameters:
            if shapes[names[p.name]] != p.shape:
                raise UsageError(
                    f"{self._option}: {p.name} has shape {shapes[names[p.name]]} there, and {p.shape} here."
                )

    @property
    def _option(self) -> str:
        return option("towards", str(self._path))

    def step(self, values: Mapping[str, Array]) -> Array:
        """What leads there from these values of the parameters, (n,)."""
        return joined(self._parameters, self.values) - joined(self._parameters, values)

    def own_loss(self) -> float | None:
        """Its own loss over the run's samples, computed now, here; None where no point of the line is to have that."""
        if not self.whole:
            return None
        session = self._run.session
        opened = Opened(self._path, self._model, session.loaded, session.samples, session.device, session.dtype)
        objective = objective_of(opened, session.samples, session.objective.batch_size)
        return computed(OwnLoss(decay_term_of(self._model, self._run.decay)), SerialEngine(objective))

    def difference(self, reached: float, own: float) -> str:
        """What to say of the loss that the end of the line has, and the other model's own; empty where they agree."""
        off = abs(reached - own)
        if reached == own or off <= _ROUNDING[self._run.session.dtype] * max(abs(reached), abs(own)):
            return ""
        return (
            f"the loss at 1 is {reached:.6g}, and the other model's own is {own:.6g}: they differ in more than their "
            "parameters, such as the running statistics of batch norms, which stay this model's"
        )


def coordinates_of_line(count: int, beyond: float) -> Array:
    """Evenly spaced coordinates of a line between two models, both of which are points of it: 0 and 1.

    Args:
        count: of them, exactly.
        beyond: how far about to go beyond both, of its length.

    Raises:
        UsageError: there are too few for that.
    """
    within = (count - 1) / (1 + 2 * beyond)
    if within < 1:
        raise UsageError(
            f"{option('reach', f'{beyond:g}')}: {count} points are too few to have both models among them: use more "
            f"{option('points')}, or a shorter reach."
        )
    # As many beyond the one as beyond the other: what is left of the count is even.
    odd = (count - 1) % 2
    steps = min(count - 1, max(2 - odd, 2 * round((within - odd) / 2) + odd))
    outside = (count - 1 - steps) // 2
    return np.arange(-outside, steps + outside + 1) / steps


def _looks(parameter: Parameter) -> tuple[str, tuple[int, ...]]:
    """What a parameter is known by where it has another name."""
    return parameter.label, parameter.shape
