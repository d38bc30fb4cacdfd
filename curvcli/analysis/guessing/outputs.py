"""Which output is compared with which column, and by which loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from curvcli.analysis.guessing.losses import Choice, fitting, of_name, own_loss, per_batch
from curvcli.analysis.guessing.said import Guesses
from curvcli.analysis.guessing.stored import Stored, Values, like_a_target, plain
from curvcli.models.returned import Returned
from curvcli.spec.mistakes import listed
from curvcli.text import quoted
from curvcli.wording import option

_USUAL_OUTPUTS = ("logits", "output", "outputs", "predictions", "prediction", "probabilities", "probs")
_LOSSES = ("loss", "nll", "cost", "objective", "energy")


@dataclass(frozen=True)
class Pair:
    """An output, the columns that it is compared with, and the losses that fit."""

    output: Returned
    names: tuple[str, ...]
    target: Values | None
    choices: Sequence[Choice]


class Outputs:
    """Chooses output, target and loss together: each says what the others can be."""

    def __init__(
        self, outputs: Sequence[Returned], samples: int, stored: Stored, guesses: Guesses, *, last_axis: bool
    ) -> None:
        """Say what there is.

        Args:
            outputs: of the model, for some samples.
            samples: how many.
            stored: the data's columns.
            guesses: are told.
            last_axis: whether the framework's convention has the classes last.
        """
        self._outputs, self._samples, self._stored, self._guesses = outputs, samples, stored, guesses
        self._last_axis = last_axis

    def choose(
        self, free: Sequence[str], target: Sequence[str], loss: str | None, output: str | None, *, target_known: bool
    ) -> dict[str, Any]:
        """The tables ``target`` and ``loss``; empty where there are none to be had.

        Args:
            free: columns that are no inputs.
            target: columns named as the target, or the only ones it can be.
            loss: that a person named.
            output: that a person named.
            target_known: whether `target` was said or guessed before, and needs no word more.
        """
        outputs = [one for one in self._outputs if output in (None, one.name) or len(self._outputs) == 1]
        if not outputs or (
            output is not None and len(self._outputs) == 1 and output not in ("output", self._outputs[0].name)
        ):
            names = listed([one.name for one in self._outputs], last="and")
            self._guesses.mistake(
                f"{option('output_name', output or '')}: the model has no such output; it has {names}."
            )
            return {}
        if loss == "output" or (loss is None and not target and not free):
            return self._own(outputs, output)
        pairs = self._pairs(outputs, [tuple(target)] if target else self._likely(free), loss)
        if not pairs:
            return self._nothing(outputs, target, free, output)
        pair = self._taken(pairs, output, target_known=target_known)
        return self._tables(pair)

    # -- the model's own loss ------------------------------------------------------------------------------------------

    def _own(self, outputs: Sequence[Returned], output: str | None) -> dict[str, Any]:
        own = [(one, choice) for one in outputs if (choice := own_loss(one, self._samples))]
        own.sort(key=lambda pair: plain(pair[0].name) not in _LOSSES)
        if not own:
            shapes = listed([f"{one.name} {_shape(one)}" for one in outputs], last="and")
            self._guesses.mistake(
                f"target: no column is left for it, and the model returns no loss of its own: {shapes}.\n"
                f"Name it with {option('target', 'COLUMN')}."
            )
            return {}
        named = [pair for pair in own if plain(pair[0].name) in _LOSSES]
        likely = named or own
        place = 0
        if len(likely) > 1 and output is None:
            place = self._say_output([one for one, _ in likely], "the first that is a number per sample")
        elif len(self._outputs) > 1:
            self._guesses.add("loss.output", likely[0][0].name, "as requested" if output else "the model's own loss")
        one, choice = likely[place]
        self._guesses.add("loss", "output", choice.why)
        return {"loss": {**choice.table, **self._named(one)}}

    # -- outputs and targets -------------------------------------------------------------------------------------------

    def _likely(self, free: Sequence[str]) -> list[tuple[str, ...]]:
        """Columns that may be the target: those called so, else all; several numbers together last."""
        called = [name for name in free if like_a_target(name)]
        alike = [name for name in free if any(plain(name) == plain(one.name) for one in self._outputs)]
        some = list(dict.fromkeys([*called, *alike])) or list(free)
        numbers = tuple(
            name for name in free if not self._stored.columns[name].shape and not self._stored.columns[name].text
        )
        return [*((name,) for name in some), *([numbers] if len(numbers) > 1 else [])]

    def _pairs(self, outputs: Sequence[Returned], targets: Sequence[tuple[str, ...]], loss: str | None) -> list[Pair]:
        pairs = []
        for names in targets:
            target = self._stored.values(names)
            for one in outputs:
                if per_batch(one, self._samples):
                    continue
                choices = fitting(one, target, self._last_axis)
                if loss is not None:
                    choices = [of_name(loss, one, target, choices)]
                if choices:
                    pairs.append(Pair(one, names, target, choices))
        if any(len(pair.names) == 1 for pair in pairs) and not any(len(names) > 1 for names in targets[:1]):
            pairs = [pair for pair in pairs if len(pair.names) == 1]  # several together only where none will do alone
        return pairs

    def _taken(self, pairs: Sequence[Pair], output: str | None, *, target_known: bool) -> Pair:
        targets = list(dict.fromkeys(pair.names for pair in pairs))
        place = 0
        if target_known:
            pass
        else:
            why = "a usual name for it" if all(map(like_a_target, targets[0])) else "it fits the output"
            why += " and is not an input" if len(targets) == 1 else "; others do too"
            place = self._guesses.choose(
                "target", [_columns(names) for names in targets], why, f"Name it with {option('target', 'COLUMN')}."
            )
        pairs = [pair for pair in pairs if pair.names == targets[place]]
        if len(self._outputs) == 1:
            return pairs[0]
        if output is not None:
            self._guesses.add("loss.output", pairs[0].output.name, "as requested")
            return pairs[0]
        name = plain(targets[place][0])
        same = [pair for pair in pairs if plain(pair.output.name) == name]
        usual = [pair for one in _USUAL_OUTPUTS for pair in pairs if plain(pair.output.name) == one]
        if len(pairs) == 1 or same:
            chosen = (same or pairs)[0]
            why = "it is called like the target" if same else "the only output that the target fits"
            self._guesses.add("loss.output", chosen.output.name, why)
            return chosen
        ordered = [*usual, *(pair for pair in pairs if pair not in usual)]
        return ordered[self._say_output([pair.output for pair in ordered], "the target fits several outputs")]

    def _say_output(self, outputs: Sequence[Returned], why: str) -> int:
        names = [one.name for one in outputs]
        return self._guesses.choose("loss.output", names, why, f"Name it with {option('output_name', 'NAME')}.")

    def _nothing(
        self, outputs: Sequence[Returned], target: Sequence[str], free: Sequence[str], output: str | None
    ) -> dict[str, Any]:
        own = [one for one in outputs if per_batch(one, self._samples)]
        if own and not target:
            return self._own(own, output)
        shapes = listed([f"{one.name} {_shape(one)}" for one in outputs], last="and")
        held = listed([self._described(name) for name in (target or free)], last="and", most=6)
        self._guesses.mistake(
            f"target: no loss compares the model's output ({shapes} per sample) with {held or 'no column'}.\n"
            f"Name another column with {option('target', 'COLUMN')}, or the loss with {option('loss', 'NAME')}."
        )
        return {}

    def _described(self, name: str) -> str:
        values = self._stored.values([name])
        shape = "×".join(map(str, values.shape)) or "one number"
        kind = f"{len(values.names)} names" if values.names else f"{values.numbers.dtype} from {values.range}"
        return f"{quoted(name)} ({kind}, {shape} per sample)"

    # -- the tables ----------------------------------------------------------------------------------------------------

    def _tables(self, pair: Pair) -> dict[str, Any]:
        target: dict[str, Any] = {"column": pair.names[0]} if len(pair.names) == 1 else {"columns": list(pair.names)}
        if pair.target is not None and pair.target.names:
            target["classes"] = list(pair.target.names)
            self._say_classes(pair)
        choice = pair.choices[0]
        others = list(dict.fromkeys([*choice.others, *(one.name for one in pair.choices[1:])]))
        place = self._guesses.choose(
            "loss", [choice.name, *others], choice.why, f"Name it with {option('loss', 'NAME')}."
        )
        if place:
            choice = of_name(others[place - 1], pair.output, pair.target, pair.choices)
        for key, (why, instead) in choice.doubtful.items():
            shown = str(choice.table[key]).lower() if isinstance(choice.table[key], bool) else str(choice.table[key])
            self._guesses.doubt(f"loss.{key}", shown, why, instead)
        if (final := set(pair.output.finals.values())) and choice.table.get("from_logits") == "auto":
            self._guesses.add("loss.from_logits", '"auto"', f"read from the graph, which ends in {min(final)}")
        elif choice.table.get("from_logits") == "auto":
            self._guesses.add("loss.from_logits", '"auto"', "the graph ends in no softmax or sigmoid: logits")
        return {"target": target, "loss": {**choice.table, **self._named(pair.output)}}

    def _say_classes(self, pair: Pair) -> None:
        names = pair.target.names if pair.target else ()
        complete = pair.target is None or pair.target.complete
        why = "names in alphabetical order, which is scikit-learn's and image folders'"
        why += "" if complete else "; only a part of the rows was read, and there may be more names"
        self._guesses.doubt("target.classes", listed([*names], last="and", most=6), why, ["another order"])

    def _named(self, output: Returned) -> dict[str, Any]:
        return {"output": output.name} if len(self._outputs) > 1 else {}


def usual_output(outputs: Sequence[Returned], name: str | None, guesses: Guesses) -> Returned:
    """The output of a name, or the one that a loss is usually taken of; the first, where there is none of that name."""
    if len(outputs) == 1:
        return outputs[0]
    if name is not None:
        named = [one for one in outputs if one.name == name]
        if not named:
            names = listed([one.name for one in outputs], last="and")
            guesses.mistake(f"{option('output_name', name)}: the model has no such output; it has {names}.")
        return (named or list(outputs))[0]
    usual = [one for word in ("loss", *_USUAL_OUTPUTS) for one in outputs if plain(one.name) == word]
    ordered = [*usual, *(one for one in outputs if one not in usual)]
    place = guesses.choose(
        "loss.output",
        [one.name for one in ordered],
        "the model has several",
        f"Name it with {option('output_name', 'NAME')}.",
    )
    return ordered[place]


def _columns(names: Sequence[str]) -> str:
    return f"column {quoted(names[0])}" if len(names) == 1 else f"columns {listed([*map(quoted, names)], last='and')}"


def _shape(output: Returned) -> str:
    return "×".join(map(str, output.shape)) or "one number"
