"""``curvcli check`` as a function."""

from __future__ import annotations

from curvcli.analysis.check_job import CheckJob
from curvcli.analysis.options.quantities import CheckOptions
from curvcli.analysis.options.request import command_line
from curvcli.api.arguments import Patterns, StrPath, flag_of, request_from
from curvcli.api.computed import finished, refuse_to_overwrite
from curvcli.api.live import AnyData, AnyModel, Loss, in_files
from curvcli.api.model import OPENED_WITH, Model, how_opened
from curvcli.api.report import Report
from curvcli.api.turn import IN_PYTHON, TURN
from curvcli.api.voice import QuietVoice


def check(
    model: AnyModel,
    *,
    layer: Patterns = (),
    exclude: Patterns = (),
    data: AnyData | None = None,
    loss: Loss | None = None,
    limit: int | None = None,
    batch_size: int | None = None,
    seed: int | None = None,
    stratify: bool = False,
    shuffle: bool = False,
    device: str | None = None,
    dtype: str | None = None,
    threads: int | None = None,
    signature: str | None = None,
    tag_set: str | None = None,
    budget: int | None = None,
    against: StrPath | None = None,
    against_data: StrPath | None = None,
    output: StrPath | None = None,
    force: bool = False,
    verbose: bool = False,
) -> Report:
    """Check a model and its dataset spec, as ``curvcli check`` does; a failed check is no exception.

    Errors and the arguments that all take are `diagonal`'s. An opened model is opened once more, in float64. Its own:

    - ``dtype``: ``float32``, to hold the diagonals of such a run against float64's; nothing but float64 otherwise.
    - ``limit``: samples for the numerical checks. Default: 32.
    - ``budget``: passes that a layer's exact diagonal may cost; more expensive diagonals are not checked. Default:
      2000, and of a slow model only as much as takes about two minutes.
    - ``against``: compare loss, gradients and diagonals with this model's; ``against_data`` is its spec.

    Returns:
        The report. Its ``checks`` each have a ``name``, a ``subject``, an ``outcome`` (``passed``, ``failed`` or
        ``skipped``), a ``figure`` with its ``limit``, and ``detail``, one sentence.

    Example:
        >>> import curvcli
        >>> report = curvcli.check("sample_models/mlp_tanh.pt", layer="fc3", limit=8)
        >>> [(one.name, one.outcome) for one in report.checks if one.subject == "fc3"]
        [('gradient', 'passed'), ('Hessian', 'passed'), ('symmetry', 'passed'), ('float32', 'passed')]
    """
    with IN_PYTHON, TURN, in_files(dict(locals())) as values:
        if isinstance(opened := values["model"], Model):
            requested = {name: values[name] for name in ("data", *OPENED_WITH) if values[name] is not None}
            values.update({"data": opened.data} | how_opened(opened) | requested)
        request = request_from("check", CheckOptions, values)
        refuse_to_overwrite(request)
        voice = QuietVoice(flag_of("verbose", verbose))
        return finished(CheckJob(request, voice, command_line(request)), voice, request, stacklevel=0)
