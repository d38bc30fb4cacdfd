"""``curvcli init`` as a function."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from curvcli.analysis.guessing.place import write_spec
from curvcli.analysis.guessing.said import Guess
from curvcli.analysis.init_job import InitJob, InitOptions
from curvcli.analysis.options.record import filled
from curvcli.analysis.options.shared import ModelOptions
from curvcli.api.arguments import StrPath, flag_of, path_of, read_arguments
from curvcli.api.model import Model, how_opened
from curvcli.api.turn import IN_PYTHON, TURN
from curvcli.api.voice import QuietVoice
from curvcli.errors import UsageError
from curvcli.files import lasting
from curvcli.report.records.checks import CheckRecord


@dataclass(frozen=True)
class GuessedSpec:
    """A dataset spec that `init` has written.

    Attributes:
        path: of the file.
        text: in it, TOML.
        guesses: each with its ``place`` in the spec, ``value``, ``why``, and ``others``, what it might have as well.
        undecided: those with others: look at them.
        checks: what `check` found on 32 samples; empty with ``check=False``.
    """

    path: Path
    text: str
    guesses: tuple[Guess, ...]
    undecided: tuple[Guess, ...]
    checks: tuple[CheckRecord, ...]


def init(
    model: Model | StrPath,
    data: StrPath | None = None,
    *,
    input: Mapping[str, str] | None = None,
    target: str | None = None,
    loss: str | None = None,
    output_name: str | None = None,
    random_data: int | None = None,
    output: StrPath | None = None,
    force: bool = False,
    check: bool = True,
    device: str | None = None,
    dtype: str | None = None,
    threads: int | None = None,
    signature: str | None = None,
    tag_set: str | None = None,
    verbose: bool = False,
) -> GuessedSpec:
    """Write the dataset spec of a model, guessed from it and its data, as ``curvcli init`` does; nothing is asked.

    Args:
        model: an opened model, or the path of one.
        data: a file, a folder, or a pattern for many files; None to draw samples at random.
        input: columns by the model's inputs, ``{"x": "images"}``, several with commas between; without data, shapes of
            one sample: ``{"x": "3,32,32"}``.
        target: the target's column.
        loss: its name.
        output_name: which of the model's outputs.
        random_data: how many samples to draw, in place of data.
        output: the spec's path. Default: beside the model, where every command finds it.
        force: whether a file there is replaced.
        check: whether the spec is checked; a failed check is no exception.
        device: as for `diagonal`.
        dtype: as for `diagonal`.
        threads: as for `diagonal`.
        signature: as for `diagonal`.
        tag_set: as for `diagonal`.
        verbose: show guesses and progress on standard error.

    Raises:
        UsageError: something can't be guessed, or a file is in the way.
        DataError: the data can't be read.
        ModelError: the model can't be opened.

    Example:
        >>> import curvcli, tempfile
        >>> spec = tempfile.mkdtemp() + "/digits.toml"
        >>> written = curvcli.init("sample_models/mlp_tanh.pt", "sample_models/digits.npz", output=spec, check=False)
        >>> [guess.value for guess in written.guesses if guess.place == "loss"]
        ['cross_entropy']
    """
    with IN_PYTHON, TURN:
        if isinstance(model, Model) and output is None and str(lasting(model.path)) != str(model.path):
            raise UsageError("a model from memory has no place for a spec: name one with output=, or save the model.")
        opened = how_opened(model) if isinstance(model, Model) else {"model": path_of("model", model)}
        requested = {
            "device": device,
            "dtype": dtype,
            "threads": threads,
            "signature": signature,
            "tag_set": tag_set,
        }
        opened |= {name: value for name, value in requested.items() if value is not None}
        if input is not None and not isinstance(input, Mapping):
            raise UsageError('input: must be columns by input, such as {"x": "images"}.')
        arguments = {
            "input": tuple(f"{name}={column}" for name, column in (input or {}).items()),
            "target": target,
            "loss": loss,
            "output_name": output_name,
            "random_data": random_data,
            "output": output,
            "force": force,
            "check": check,
            "yes": True,
        }
        values = read_arguments((ModelOptions, InitOptions), {**arguments, **opened})
        voice = QuietVoice(flag_of("verbose", verbose))
        source = None if data is None else str(path_of("data", data, "the path of the data, or a pattern for files"))
        job = InitJob(filled(ModelOptions, values), source, filled(InitOptions, values), voice)
        place = job.place()
        guessed = job.guess(place)
        write_spec(guessed.text, place)
        if job.options.check:
            job.checked(place)
        voice.issue(None, stacklevel=2)
    return GuessedSpec(place, guessed.text, guessed.guesses, guessed.undecided, job.checks)
