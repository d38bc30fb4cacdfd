"""Guesses a whole dataset spec from an opened model and its data."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from curvcli.analysis.guessing.fits import Fit
from curvcli.analysis.guessing.inputs import Matched, Matcher
from curvcli.analysis.guessing.outputs import Outputs
from curvcli.analysis.guessing.said import Guess, Guesses
from curvcli.analysis.guessing.spec_text import spec_text
from curvcli.analysis.guessing.stored import Stored
from curvcli.data.catalogue import Catalogue, catalogue
from curvcli.data.interface import Samples
from curvcli.data.recognise import recognised
from curvcli.data.registry import TABLES
from curvcli.data.samples import open_samples
from curvcli.errors import CurvcliError, DataError, ModelError, SpecError, UsageError
from curvcli.models.model import Model
from curvcli.models.returned import Returned
from curvcli.spec.dataset import LoadedSpec, parse_dataset_spec, with_overrides
from curvcli.spec.loss import LOSSES
from curvcli.spec.mistakes import listed
from curvcli.text import cut, did_you_mean, nearest, quoted
from curvcli.wording import option

# Samples that a model is tried on: a number that no axis is likely to have.
_TRIED_ON: Final = 5
_MORE: Final = 13


@dataclass(frozen=True)
class Wishes:
    """What a person said already.

    Attributes:
        inputs: columns by input; several with commas between.
        target: column, or several with commas between.
        loss: its name.
        output: its name.
    """

    inputs: Mapping[str, str] = field(default_factory=dict)
    target: str | None = None
    loss: str | None = None
    output: str | None = None


@dataclass(frozen=True)
class GuessedSpec:
    """A spec that nobody wrote yet.

    Attributes:
        text: TOML, with the guesses as comments.
        guesses: in the order in which they were made.
    """

    text: str
    guesses: tuple[Guess, ...]

    @property
    def undecided(self) -> tuple[Guess, ...]:
        """Those that a person should look at."""
        return tuple(guess for guess in self.guesses if not guess.decided)


class Trial:
    """Runs a model on a few samples of a spec that is not finished."""

    def __init__(self, model: Model, spec: Path) -> None:
        """``spec`` is where the spec is going to lie: relative paths start from its folder."""
        self._model, self._spec = model, spec
        self.samples = 0

    def __call__(self, source: Mapping[str, Any], inputs: Mapping[str, Mapping[str, Any]]) -> tuple[Returned, ...]:
        """What the model returns.

        Raises:
            CurvcliError: data and model do not fit.
        """
        return self._run(source, inputs, 0)

    def widened(
        self, outputs: Sequence[Returned], source: Mapping[str, Any], inputs: Mapping[str, Mapping[str, Any]]
    ) -> tuple[Returned, ...]:
        """The outputs with more samples, where the values of a few may look like probabilities by chance."""
        made, total = tuple(outputs), self.samples
        for seed in range(1, _MORE):
            if not any(_like_probabilities(one) for one in made):
                break
            others = self._run(source, inputs, seed)
            total += self.samples
            made = tuple(
                replace(one, values=np.concatenate([one.values, other.values])) if one.values.ndim else one
                for one, other in zip(made, others, strict=True)
            )
        self.samples = total
        return made

    def _run(
        self, source: Mapping[str, Any], inputs: Mapping[str, Mapping[str, Any]], seed: int
    ) -> tuple[Returned, ...]:
        tree = {"source": source, "inputs": inputs, "loss": {"name": "output"}}
        fixed = next((port.shape[0] for port in self._model.inputs if port.shape and port.shape[0]), None)
        loaded = with_overrides(loaded_of(tree, self._spec), limit=fixed or _TRIED_ON, seed=seed)
        samples: Samples = open_samples(loaded)
        self.samples = min(len(samples), fixed or _TRIED_ON)
        return self._model.returned(samples, self.samples)


def _like_probabilities(output: Returned) -> bool:
    values = output.values
    return not output.finals and values.ndim > 0 and bool((values >= 0).all() and (values <= 1).all())


def loaded_of(tree: Mapping[str, Any], path: Path) -> LoadedSpec:
    """A tree as a spec that was read."""
    return parse_dataset_spec(spec_text(tree, "", ()), TABLES, path=path)


def guess_spec(
    model: Model, data: str, spec: Path, wishes: Wishes, guesses: Guesses, *, absolute: bool = False
) -> GuessedSpec:
    """Guess.

    Args:
        model: opened.
        data: a file, a folder, or a pattern for many files, from the working directory.
        spec: where the spec will lie.
        wishes: what is known already.
        guesses: are told, and ask.
        absolute: whether the spec names the data by their absolute path.

    Raises:
        UsageError: something can't be guessed; all that can't at once.
    """
    source, columns = _source(model, data, spec, guesses, absolute=absolute)
    stored = Stored(columns)
    check_wishes(wishes, model, guesses)
    named = {
        name: chosen
        for name, text in wishes.inputs.items()
        if (chosen := _columns(text, stored, option("input", f"{name}={text}"), columns, guesses))
    }
    target = _columns(wishes.target, stored, option("target", wishes.target or ""), columns, guesses)
    matcher = Matcher(model.inputs, stored, guesses, target)
    matched = matcher.match(named)
    if guesses.mistakes:
        _unusable(columns, guesses)
        raise_all(guesses)
    trial = Trial(model, spec)
    ways, outputs = _first_that_runs(model, trial, source, matched, guesses)
    _say_inputs(ways, matched, guesses)
    outputs = trial.widened(outputs, source, {name: way.table for name, way in ways.items()})
    tree: dict[str, Any] = {"source": source, "inputs": {name: way.table for name, way in ways.items()}}
    rows = {stored.columns[name].rows for way in ways.values() for name in way.columns}
    used = {name for way in ways.values() for name in way.columns}
    free = [name for name, column in stored.columns.items() if name not in used and column.rows in rows]
    tree |= Outputs(outputs, trial.samples, stored, guesses, last_axis=model.backend == "tensorflow").choose(
        free, matcher.target_kept, wishes.loss, wishes.output, target_known=bool(matcher.target_kept)
    )
    if guesses.mistakes:
        _unusable(columns, guesses)
    raise_all(guesses)
    return finished(tree, f"Guessed by curvcli init from {model.path} and {data}.", spec, guesses)


def finished(tree: Mapping[str, Any], title: str, spec: Path, guesses: Guesses) -> GuessedSpec:
    """The text, once it is certain that it is read back as it was meant.

    Raises:
        UsageError: it is not: a name holds what no TOML file can.
    """
    text = spec_text(tree, title, guesses.made)
    try:
        read, meant = parse_dataset_spec(text, TABLES, path=spec), loaded_of(tree, spec)
        text.encode("utf-8")
    except (SpecError, UnicodeError) as error:
        raise UsageError(f"no spec can be written of these names: {cut(str(error), 300)}") from None
    if read.spec != meant.spec:
        raise UsageError("no spec can be written of these names; rename columns, inputs or files.")
    return GuessedSpec(text, tuple(guesses.made))


def check_wishes(wishes: Wishes, model: Model, guesses: Guesses) -> None:
    """Hold names of inputs and losses against what there is."""
    names = [port.name for port in model.inputs]
    for name in wishes.inputs:
        if name not in names:
            advice = did_you_mean(name, names, f"it takes {listed(names, last='and')}")
            guesses.mistake(
                f"{option('input', f'{name}={wishes.inputs[name]}')}: the model has no input {quoted(name)}; {advice}"
            )
    if wishes.loss is not None and wishes.loss not in LOSSES:
        advice = did_you_mean(wishes.loss, LOSSES, f"choose {listed(tuple(LOSSES), most=len(LOSSES))}")
        guesses.mistake(f"{option('loss', wishes.loss)}: there is no such loss; {advice}")


def raise_all(guesses: Guesses) -> None:
    """Tell everything that can't be guessed.

    Raises:
        UsageError: if there is anything.
    """
    if guesses.mistakes:
        raise UsageError("\n".join(guesses.mistakes))


def _source(
    model: Model, data: str, spec: Path, guesses: Guesses, *, absolute: bool
) -> tuple[dict[str, Any], Catalogue]:
    path = Path(data).expanduser().absolute()
    written = str(path) if absolute else Path(os.path.relpath(path, spec.absolute().parent)).as_posix()
    recognition = recognised(data, path)
    source: dict[str, Any] = {"format": recognition["format"], "path": written, **recognition}
    opened = _openable(source, spec)
    columns = catalogue(opened.spec.source, opened.resolve)
    if recognition["format"] == "imagefolder":
        source |= (changes := _resized(model, columns))
        for key, value in changes.items():
            guesses.doubt(f"source.{key}", str(value), "what the model takes", ["images brought to it in another way"])
        opened = _openable(source, spec)
        columns = catalogue(opened.spec.source, opened.resolve)
    guesses.add("source", recognition["format"], "by its name and contents")
    if "delimiter" in recognition or "header" in recognition:
        guesses.add(
            "source", ", ".join(f"{k} = {recognition[k]!r}" for k in recognition if k != "format"), "by its first line"
        )
    if "split" in recognition:
        guesses.doubt(
            "source.split", recognition["split"], "what models are trained on", ["another split of the folder"]
        )
    return source, columns


def _openable(source: Mapping[str, Any], spec: Path) -> LoadedSpec:
    """A spec of the source alone, whose paths can be resolved; an input is made up."""
    tree = {"source": source, "inputs": {"x": {"column": "x"}}, "loss": {"name": "output"}}
    return loaded_of(tree, spec)


def _resized(model: Model, columns: Catalogue) -> dict[str, Any]:
    """The size that images have to be brought to, where the model takes one size only."""
    image = columns.columns.get("image")
    for port in model.inputs:
        if image is None or port.shape is None or len(port.shape) != 4:
            continue
        sizes = [tuple(port.shape[1:3])] if port.shape[3] in (1, 3, 4) else [tuple(port.shape[2:4])]
        channels = port.shape[3] if port.shape[3] in (1, 3, 4) else port.shape[1]
        entries: dict[str, Any] = {}
        if None not in sizes[0] and sizes[0] != image.shape[:2]:
            entries["resize"] = list(sizes[0])
        if channels in (1, 3) and channels != image.shape[2]:
            entries["mode"] = "L" if channels == 1 else "RGB"
        return entries
    return {}


def _columns(text: str | None, stored: Stored, where: str, columns: Catalogue, guesses: Guesses) -> tuple[str, ...]:
    """Columns as a person named them: one of this very name, or several with commas between."""
    if text is None:
        return ()
    if text in stored.columns:
        return (text,)
    names = tuple(name.strip() for name in text.split(","))
    for name in names:
        if name in stored.columns:
            continue
        if name in columns.unusable:
            guesses.mistake(f"{where}: {columns.unusable[name]}")
            continue
        near = nearest(name, stored.columns, most=1)
        hint = f"did you mean {quoted(near[0])}?" if near else f"there are {listed([*stored.columns], last='and')}."
        guesses.mistake(f"{where}: there is no column {quoted(name)}; {hint}")
    return names if all(name in stored.columns for name in names) else ()


def _unusable(columns: Catalogue, guesses: Guesses) -> None:
    for name, why in list(columns.unusable.items())[:5]:
        guesses.mistake(f"column {quoted(name)} can't be used: {why}")


def _first_that_runs(
    model: Model, trial: Trial, source: Mapping[str, Any], matched: Matched, guesses: Guesses
) -> tuple[dict[str, Fit], tuple[Returned, ...]]:
    """The way for each input with the fewest changes that the model takes.

    Raises:
        UsageError: it takes none.
    """
    first: CurvcliError | None = None
    running: dict[tuple[str, ...], tuple[dict[str, Fit], tuple[Returned, ...]]] = {}
    for ways in matched.combinations():
        try:
            outputs = trial(source, {name: way.table for name, way in ways.items()})
        except (DataError, SpecError, ModelError) as error:
            first = first or error
            continue
        if not matched.tried:
            return ways, outputs
        running.setdefault(next(iter(ways.values())).columns, (ways, outputs))
    if running:
        return running[_chosen(next(iter(matched.tried)), list(running), guesses)]
    reason = "\n".join(str(first).splitlines()[:2])
    raise UsageError(
        f"the model does not run on the data in any way that was tried; at first: {reason}\n"
        f"Name columns with {option('input', 'NAME=COLUMN')}, or write the spec by hand."
    )


def _chosen(name: str, columns: Sequence[tuple[str, ...]], guesses: Guesses) -> tuple[str, ...]:
    """Of the columns that the model runs on."""
    why = "the only column that the model runs on" if len(columns) == 1 else "the first that the model runs on"
    advice = f"Name it with {option('input', f'{name}=COLUMN')}."
    return columns[guesses.choose(f"inputs.{name}", [f"column {quoted(one[0])}" for one in columns], why, advice)]


def _say_inputs(ways: Mapping[str, Fit], matched: Matched, guesses: Guesses) -> None:
    for name, way in ways.items():
        if matched.whys[name]:
            some = f"column {quoted(way.columns[0])}" if len(way.columns) == 1 else f"{len(way.columns)} columns"
            guesses.add(f"inputs.{name}", some, matched.whys[name])
        for key, value in way.entries.items():
            shown = f"1/{1 / value:.6g}" if key == "scale" else str(value)
            others = way.doubtful.get(key, ())
            if others:
                guesses.doubt(f"inputs.{name}.{key}", shown, way.why[key], others)
            else:
                guesses.add(f"inputs.{name}.{key}", shown, way.why[key])
