"""Which losses are negative log-likelihoods, and what their formulas leave out of them.

Weights count observations: an element of weight 2 is one that was observed twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import log, pi
from typing import Final

import numpy as np
from scipy.special import gammaln

from curvcli.losses.interface import Array, Loss, Targets


@dataclass(frozen=True)
class Likelihood:
    """How a loss's sum of elements becomes −log p of the targets.

    Attributes:
        about: what is modelled, in a phrase.
        left_out: what is added for each element, like the targets' truth.
        outcome: whether a truth is one that the distribution has; fractions of outcomes are not.
        not_outcomes: what truths are called that are none.
        noise: whether the loss is a squared error, whose noise is to be told.
    """

    about: str
    left_out: Callable[[Array], Array]
    outcome: Callable[[Array], Array]
    not_outcomes: str = ""
    noise: bool = False


def _nothing(truth: Array) -> Array:
    return np.zeros_like(truth)


def _any(truth: Array) -> Array:
    return np.ones(truth.shape, dtype=bool)


def _flag(truth: Array) -> Array:
    flags: Array = (truth == 0) | (truth == 1)
    return flags


def _gaussian(truth: Array) -> Array:
    return np.full(truth.shape, log(2 * pi) / 2)


def _factorials(truth: Array) -> Array:
    """Log y! of counts; of what is none, by the gamma function."""
    logs: Array = gammaln(truth + 1)
    return logs


def _counts(truth: Array) -> Array:
    whole: Array = truth == np.round(truth)
    return whole


_SOFT: Final = "soft or smoothed labels"
LIKELIHOODS: Final[Mapping[str, Likelihood]] = {
    "cross_entropy": Likelihood("categorical, one observation per place", _nothing, _flag, _SOFT),
    "bce": Likelihood("Bernoulli, one observation per output", _nothing, _flag, _SOFT),
    # Its constants go with σ, which is no part of the loss.
    "mse": Likelihood("normal, one observation per output", _nothing, _any, noise=True),
    "poisson": Likelihood("Poisson, one observation per output", _factorials, _counts, "targets that are no counts"),
    "gaussian_nll": Likelihood("normal of the model's mean and variance", _gaussian, _any),
}


def obstacle(loss: Loss) -> str:
    """Why a loss is no negative log-likelihood, as a person reads it; empty if it is one."""
    if loss.name in LIKELIHOODS:
        return ""
    if loss.name == "output":
        return "what the model returns is taken as the loss, and nothing says of which distribution"
    return f"the loss {loss.name} is not the negative logarithm of a probability of the targets"


def left_out(loss: Loss, targets: Targets) -> float:
    """Σ weight · what the formula leaves out, over a batch."""
    truth = targets.truth
    weight = np.broadcast_to(targets.weight, np.broadcast_shapes(targets.weight.shape, truth.shape))
    return float((weight * LIKELIHOODS[loss.name].left_out(truth)).sum())


def odd_targets(loss: Loss, targets: Targets) -> tuple[int, int]:
    """How many elements of a batch have a weight that is neither 0 nor 1, and how many a truth that is no outcome."""
    truth, weight = targets.truth, targets.weight
    used = np.broadcast_to(weight > 0, np.broadcast_shapes(weight.shape, truth.shape))
    weighted = int(((weight != 0) & (weight != 1)).sum())
    return weighted, int((used & ~LIKELIHOODS[loss.name].outcome(truth)).sum())
