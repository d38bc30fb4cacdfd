"""The guessed spec gives the loss of the right one, or says that it may not."""

from __future__ import annotations

import warnings
from collections import Counter
from pathlib import Path

import pytest
from sessions import session_of

from curvcli.analysis.guessing.guess import GuessedSpec, Wishes, guess_spec
from curvcli.analysis.guessing.said import Guesses
from curvcli.errors import UsageError
from curvcli.models.open import open_model

from .cases import KINDS, drawn

# Where nothing in model and data tells the right spec.
NEVER_DECIDED = {"floats", "brier", "counts", "variances"}


def loss_of(model: Path, spec: Path) -> float:
    """L(θ) of a spec."""
    session = session_of(model, spec)
    return sum(batch.loss() for batch in session.objective.batches([])) / session.objective.denominator


def guessed(model: Path, data: Path) -> GuessedSpec | None:
    """What init makes; None where it says that it can't."""
    guesses = Guesses(lambda _: None)
    try:
        made = guess_spec(open_model(model), str(data), model.with_name("guessed.toml"), Wishes(), guesses)
    except UsageError as error:
        assert guesses.mistakes or "--input" in str(error)
        return None
    model.with_name("guessed.toml").write_text(made.text)
    return made


def outcome(seed: int, folder: Path) -> str:
    """How a case comes out; a spec that is silently wrong fails."""
    case = drawn(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model, data, right = case.write(folder)
        made = guessed(model, data)
        if made is None:
            return "refused"
        if made.undecided:
            return "undecided"
        same = loss_of(model, folder / "guessed.toml") == pytest.approx(loss_of(model, right), rel=1e-6)
    assert same, (seed, case.kind, made.text, right.read_text())
    assert case.kind not in NEVER_DECIDED, (seed, case.kind, made.text)
    return "right"


@pytest.mark.parametrize("seed", range(len(KINDS)), ids=lambda seed: KINDS[seed])
def test_a_guess_is_right_or_marked(seed: int, tmp_path: Path) -> None:
    """One case of each kind."""
    came_out = outcome(seed, tmp_path)
    assert came_out == "undecided" if KINDS[seed] in NEVER_DECIDED else came_out in ("right", "undecided")


@pytest.mark.slow
def test_most_guesses_are_decided_and_none_is_silently_wrong(tmp_path: Path) -> None:
    """Over four hundred cases; what is decidable is decided in most of them."""
    came_out: Counter[str] = Counter()
    decidable = 0
    for seed in range(len(KINDS), 20 * len(KINDS)):
        folder = tmp_path / str(seed)
        folder.mkdir()
        found = outcome(seed, folder)
        if KINDS[seed % len(KINDS)] not in NEVER_DECIDED:
            decidable += 1
            came_out[found] += 1
    assert came_out["right"] > 0.75 * decidable, came_out
    assert came_out["refused"] < 0.02 * decidable, came_out
