"""One run of ``curvcli init``: a dataset spec guessed, written, and checked."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from curvcli.analysis.check_job import CheckJob
from curvcli.analysis.guessing.drawn import drawn_spec
from curvcli.analysis.guessing.guess import GuessedSpec, Wishes, guess_spec
from curvcli.analysis.guessing.place import spec_place
from curvcli.analysis.guessing.said import Ask, Guesses
from curvcli.analysis.options.kinds import File, Flag, Names, Text, Whole
from curvcli.analysis.options.quantities import CheckOptions
from curvcli.analysis.options.record import Options
from curvcli.analysis.options.request import Request
from curvcli.analysis.options.shared import DataOptions, ModelOptions
from curvcli.analysis.progress import Voice
from curvcli.errors import UsageError
from curvcli.files import same_file
from curvcli.models.open import format_of, open_model
from curvcli.report.hdf5.read import read_report
from curvcli.report.records.checks import CheckRecord
from curvcli.spec.lookup import SPEC_NAME, find_dataset_spec
from curvcli.wording import option, shell_option


@dataclass(frozen=True)
class InitOptions(Options):
    """What ``curvcli init`` is told.

    Attributes:
        input: ``NAME=COLUMN`` for each input that is not to be guessed.
        target: the target's column.
        loss: its name.
        output_name: which of the model's outputs.
        random_data: how many samples are drawn at random, in place of data.
        output: the spec's path; None for one beside the model.
        force: whether a file there is replaced.
        check: whether the spec is checked.
        yes: whether nobody is asked.
    """

    input: Annotated[tuple[str, ...], Names()] = ()
    target: Annotated[str | None, Text()] = None
    loss: Annotated[str | None, Text()] = None
    output_name: Annotated[str | None, Text()] = None
    random_data: Annotated[int | None, Whole(1)] = None
    output: Annotated[Path | None, File()] = None
    force: Annotated[bool, Flag()] = False
    check: Annotated[bool, Flag()] = True
    yes: Annotated[bool, Flag()] = False

    def wishes(self) -> Wishes:
        """What need not be guessed.

        Raises:
            UsageError: an entry of `input` has no ``=``.
        """
        columns: dict[str, str] = {}
        for text in self.input:
            name, equals, column = text.partition("=")
            if not equals or not name:
                raise UsageError(f"{option('input', text)}: write NAME=COLUMN, NAME being the model's input.")
            columns[name] = column
        return Wishes(columns, self.target, self.loss, self.output_name)


@dataclass
class InitJob:
    """Guesses, writes and checks.

    Attributes:
        model: which model.
        data: a file, a folder or a pattern; None for samples drawn at random.
        options: of the command.
        voice: is told every guess.
        ask: a person, where there is one; None for nobody.
        checks: that were made; once it has run.
    """

    model: ModelOptions
    data: str | None
    options: InitOptions
    voice: Voice
    ask: Ask | None = None
    checks: tuple[CheckRecord, ...] = ()

    def place(self, *, shown: bool = False) -> Path:
        """Where the spec goes; before any work.

        Args:
            shown: whether it is only shown; relative paths in it start from the working directory then.

        Raises:
            UsageError: nothing can be written there, or it is not said what of.
        """
        format_of(self.model.model)
        self.options.wishes()
        if (self.data is None) == (self.options.random_data is None):
            what = "both" if self.data is not None else "neither"
            raise UsageError(
                f"name the data, or draw samples with {option('random_data', 64)}; there is {what}.\n"
                "Samples drawn at random show what a command does, and nothing of a trained minimum."
            )
        if shown:
            return Path.cwd() / SPEC_NAME
        return spec_place(self.model.model, self.options.output, force=self.options.force)

    def guess(self, place: Path, *, absolute: bool = False) -> GuessedSpec:
        """The spec for this place.

        Raises:
            CurvcliError: model or data can't be opened, or something can't be guessed.
        """
        wanted = self.model
        model = open_model(
            wanted.model, device=wanted.device, dtype=wanted.dtype, choice=wanted.choice, threads=wanted.threads
        )
        guesses = Guesses(self.voice.note, self.ask)
        wishes = self.options.wishes()
        if self.data is None:
            return drawn_spec(model, self.options.random_data or 1, place, wishes, guesses)
        return guess_spec(model, self.data, place, wishes, guesses, absolute=absolute)

    def checked(self, place: Path) -> int:
        """Check a spec that was written; the exit code of ``curvcli check``."""
        request = Request("check", {"check": CheckOptions()}, self.model, DataOptions(data=place))
        with tempfile.TemporaryDirectory(prefix="curvcli-init-") as folder:
            report = Path(folder) / "check.h5"
            job = CheckJob(request, self.voice)
            code = job.run(report, resume=False)
            self.checks = read_report(report).checks
        for row in self.checks:
            if row.outcome == "failed":
                self.voice.warn(f"check failed: {' '.join(filter(None, [row.name, row.subject]))}: {row.detail}")
        passed = sum(row.outcome == "passed" for row in self.checks)
        loss = f", loss {job.value:.6g}" if job.value == job.value else ""
        skipped = sum(row.outcome == "skipped" for row in self.checks)
        others = f", {skipped} skipped" if skipped else ""
        self.voice.note(f"check: {passed} of {len(self.checks)} checks passed{others}{loss}")
        return code

    def next_command(self, place: Path) -> list[str]:
        """What to type next."""
        try:
            spec_of_model = find_dataset_spec(self.model.model, None, Path.cwd()).path
        except UsageError:
            spec_of_model = Path()
        named = [] if same_file(spec_of_model, place) else [shell_option("data"), str(place)]
        model = str(self.model.model)
        # What begins with a dash would be read as an option.
        return ["curvcli", "diag", f"./{model}" if model.startswith("-") else model, *named]
