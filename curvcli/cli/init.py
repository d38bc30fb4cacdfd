"""``curvcli init``: the dataset spec, guessed from the model and its data."""

from __future__ import annotations

import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from curvcli.analysis.guessing.place import write_spec
from curvcli.analysis.init_job import InitJob, InitOptions
from curvcli.analysis.options.record import filled
from curvcli.analysis.options.shared import ModelOptions
from curvcli.cli.command import Command
from curvcli.cli.confinement import confine
from curvcli.cli.console import Voice
from curvcli.cli.options import compute_options, config_option, model_argument, record_option, voice_options
from curvcli.errors import ExitCode
from curvcli.text import printable

_STDOUT = Path("-")


@click.command("init", cls=Command)
@model_argument
@click.argument("data", required=False)
@record_option(
    InitOptions,
    "input",
    metavar="NAME=COLUMN",
    help="The column of one of the model's inputs, or several that are joined: x=a,b,c. Repeatable. Without data, the "
    "shape of one sample: x=3,32,32.",
)
@record_option(InitOptions, "target", metavar="COLUMN", help="The target's column, or several: a,b,c.")
@record_option(InitOptions, "loss", metavar="NAME", help="The loss: cross_entropy, bce, mse …")
@record_option(InitOptions, "output_name", metavar="NAME", help="Which of the model's outputs, if it has several.")
@record_option(
    InitOptions,
    "random_data",
    metavar="N",
    help="Without data: N samples drawn at random. Every report of them says so.",
)
@record_option(
    InitOptions,
    "output",
    "-o",
    help="The dataset spec; - for standard output. Default: MODEL.toml beside the model, where every command finds it.",
)
@record_option(InitOptions, "force", help="Replace a dataset spec that is there.")
@record_option(InitOptions, "check", help="Check model and spec on 32 samples, as curvcli check does.")
@record_option(InitOptions, "yes", "-y", help="Ask nothing; nothing is asked either where no terminal is.")
@compute_options
@config_option
@voice_options
def command(data: str | None, **values: Any) -> int:
    r"""Write the dataset spec of a model: which columns are its inputs and its target, and by which loss.

    DATA is a file, a folder, or a pattern in quotes for many files, of any format that curvcli reads. Without it, draw
    samples with --random-data.

    Every guess is said, with its reason, and stands in the spec as a comment. What nothing decides is marked
    "undecided", with what it may be; on a terminal it is asked. At the end the spec is checked: exit code 1 if a check
    fails.

    \b
      curvcli init model.pt2 data.npz
      curvcli init model/ 'data/part-*.parquet' --target price
      curvcli init model.keras data.csv -o - | less
      curvcli init model.pt2 --random-data 64
    """
    options = filled(InitOptions, values)
    voice = Voice(-1 if values["quiet"] else values["verbose"])
    to_stdout = options.output == _STDOUT
    job = InitJob(filled(ModelOptions, values), data, options, voice, None if _nobody(options, voice) else _ask)
    place = job.place(shown=to_stdout)
    confine([] if to_stdout else [place], device=job.model.device)
    guessed = job.guess(place, absolute=to_stdout)
    if to_stdout:
        click.echo(guessed.text, nl=False)
        with tempfile.TemporaryDirectory(prefix="curvcli-init-") as folder:
            temporary = Path(folder) / "spec.toml"
            write_spec(guessed.text, temporary)
            return job.checked(temporary) if options.check else int(ExitCode.DONE)
    write_spec(guessed.text, place)
    some = f", {len(guessed.undecided)} undecided: look at it" if guessed.undecided else ""
    voice.note(f"written: {place}{some}")
    code = job.checked(place) if options.check else int(ExitCode.DONE)
    if code == ExitCode.DONE:
        voice.note(f"next: {shlex.join(job.next_command(place))}")
    return code


def _nobody(options: InitOptions, voice: Voice) -> bool:
    """Whether nobody can be asked."""
    return options.yes or voice.level < 0 or not (sys.stdin.isatty() and sys.stdout.isatty() and sys.stderr.isatty())


def _ask(question: str, answers: Sequence[str], default: str) -> str:
    click.echo(f"{printable(question)}:", err=True)
    for number, answer in enumerate(answers, 1):
        click.echo(f"  {number}) {printable(answer)}", err=True)
    chosen = click.prompt(
        "Which?", default=list(answers).index(default) + 1, type=click.IntRange(1, len(answers)), err=True
    )
    return answers[int(chosen) - 1]
