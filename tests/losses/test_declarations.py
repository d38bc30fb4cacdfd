"""What a spec says of a model's output, held against what the model returns."""

from __future__ import annotations

import numpy as np
import pytest

from curvcli.errors import SpecError
from curvcli.losses.interface import End
from curvcli.losses.registry import settle
from curvcli.spec.loss import LossSpec

END = End(None, 1, "y", "model.pt")
ROWS = np.array([[0.2, 0.8], [0.5, 0.5], [1.0, 0.0]])


@pytest.mark.parametrize("from_logits", [True, "auto"])
def test_probabilities_that_no_graph_shows_are_not_taken_for_logits(from_logits: bool | str) -> None:
    """Positive rows that sum to 1, from operations that can't be recognised: refused, whether declared or left open."""
    loss = settle(LossSpec(name="cross_entropy", from_logits=from_logits), END)
    with pytest.raises(SpecError, match="from_logits = false"):
        loss.check(ROWS)
    loss.check(ROWS - 0.5)


def test_numbers_between_0_and_1_have_to_be_declared() -> None:
    """For binary cross-entropy they may be either; "auto" is no answer then, a declaration is."""
    with pytest.raises(SpecError, match="without a sigmoid"):
        settle(LossSpec(name="bce", from_logits="auto"), END).check(ROWS)
    settle(LossSpec(name="bce", from_logits=True), END).check(ROWS)
    settle(LossSpec(name="bce", from_logits="auto"), END).check(ROWS - 0.5)
