"""What cross-entropies of probabilities share: telling probabilities from logits, and the slope 1/p."""

from __future__ import annotations

from typing import Literal, NoReturn

import numpy as np

from curvcli.errors import SpecError
from curvcli.losses.interface import Array, End
from curvcli.losses.operations import Operations, Tensor
from curvcli.spec.loss import LossSpec

# How far a row may be from summing to one and still pass for probabilities: float32 softmax over 10⁵ classes.
_TOLERANCE = 1e-3

# What the output in use holds: logits, logits before the final normaliser, or probabilities.
Held = Literal["logits", "cut", "probabilities"]


def held_by(spec: LossSpec, end: End, normalisers: tuple[str, ...]) -> Held:
    """What the output that the loss is taken of holds, from the declaration and the graph's end.

    Args:
        spec: the declaration.
        end: of the model.
        normalisers: the final operations that the loss can be taken before.

    Raises:
        SpecError: the declaration contradicts the graph.
    """
    ends_in_probabilities = end.final in ("softmax", "sigmoid")
    if end.final == "log_softmax" and end.final in normalisers:
        # Softmax ignores the shift that log-softmax made, so logits and log-probabilities give the same loss.
        return "cut"
    if spec.from_logits is True and ends_in_probabilities:
        raise SpecError(
            f"loss.from_logits = true, but {end.where} ends in {end.final}: it returns probabilities.\n"
            'Set from_logits = false (or "auto").'
        )
    if spec.from_logits is True or (spec.from_logits == "auto" and not ends_in_probabilities):
        return "logits"
    if end.final in normalisers:
        return "cut"
    if ends_in_probabilities:
        raise SpecError(
            f"loss.name = {spec.name!r} does not go with {end.where}, which ends in {end.final}.\n"
            f"Use {'bce' if end.final == 'sigmoid' else 'cross_entropy'}."
        )
    return "probabilities"


def between_0_and_1(values: Array) -> bool:
    """Whether every number is."""
    return bool((values >= 0).all() and (values <= 1).all())


def sum_to_1(values: Array, axis: int) -> bool:
    """Whether the numbers along an axis do, up to what rounding leaves."""
    return bool(np.abs(np.asarray(values.sum(axis=axis)) - 1).max() < _TOLERANCE)


def refuse_values(values: Array, end: End) -> NoReturn:
    """Say that declared probabilities are none.

    Raises:
        SpecError: always.
    """
    raise SpecError(
        f"loss.from_logits is not true, but {end.where} returns values that are not probabilities "
        f"(from {values.min():.4g} to {values.max():.4g}).\nSet from_logits = true."
    )


def share(ops: Operations, truth: Tensor, probability: Tensor, used: Tensor) -> Tensor:
    """Truth / probability; 0 where it is not used, however small the probability: it has no part in the loss then."""
    # Chosen before the division as well, or its derivative would be infinite times zero.
    return ops.where(used, truth, 0.0) / ops.where(used, probability, 1.0)
