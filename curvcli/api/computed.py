"""What every computing function does: turn its arguments into a request, open what it is about, run the job."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from curvcli.analysis.division import divided
from curvcli.analysis.options.record import Options
from curvcli.analysis.options.request import Request, command_line
from curvcli.analysis.options.shared import DataOptions
from curvcli.analysis.outputs import report_path
from curvcli.analysis.plan import Runnable, plan_run
from curvcli.analysis.sampling import Enough, enough_samples
from curvcli.analysis.session import Opened, open_files, session_of, with_data
from curvcli.api.arguments import flag_of, request_from
from curvcli.api.live import in_files
from curvcli.api.model import Model, settled
from curvcli.api.report import Report, read_report, read_temporary
from curvcli.api.turn import IN_PYTHON, TURN
from curvcli.api.voice import QuietVoice


def computed(command: str, record: type[Options], arguments: Mapping[str, Any]) -> Report:
    """Do what a command does, without a word; the report is temporary unless there is an output.

    Args:
        command: its name.
        record: of its own options.
        arguments: of the function, by name.

    Raises:
        CurvcliError: whatever is wrong with the arguments, path, spec, data or model, or with one against the other.
    """
    with IN_PYTHON, TURN, in_files(arguments) as values:
        model = values["model"]
        request = request_from(command, record, {**values, **settled(model, values)})
        voice = QuietVoice(flag_of("verbose", values["verbose"]))
        return carried_out(request, model, voice, command_line(request), stacklevel=1)


def carried_out(request: Request, model: Any, voice: QuietVoice, line: str, *, stacklevel: int) -> Report:
    """Run a request, in `TURN`.

    Args:
        request: what to do.
        model: opened, or what the request's path was made of.
        voice: for warnings and notes.
        line: the command that does the same.
        stacklevel: how many functions stand between this one and the one that the user called.
    """
    refuse_to_overwrite(request)
    request = divided(request)

    def opener(data: DataOptions) -> Opened:
        if isinstance(model, Model):
            return with_data(model.opened, request.model, data, voice)
        return open_files(request.model, data, voice)

    if request.data.data_rtol is None:
        session = session_of(opener(request.data), needs_layers=request.command != "inputs")
        enough = Enough(request, session)
    else:
        enough = enough_samples(request, opener, voice, request.output.output)
    planned = plan_run(enough.request, enough.session, voice, line=line, work=enough.work)
    if voice.verbose and (outlook := planned.look(False)).long:
        voice.note(outlook.line())
    report = finished(planned.job, voice, request, stacklevel=stacklevel + 1)
    enough.forget()
    return report


def refuse_to_overwrite(request: Request) -> None:
    """Refuse, before any work, an output that holds another command's, model's or spec's report.

    Raises:
        ReportError: it does.
    """
    if request.output.output is not None:
        report_path(request)


def finished(job: Runnable, voice: QuietVoice, request: Request, *, stacklevel: int) -> Report:
    """Run a job, in `TURN`, into its report; warnings are issued to whoever called the user's function.

    Args:
        job: to run.
        voice: that holds the warnings.
        request: that tells where the report goes.
        stacklevel: how many functions stand between this one and the one that the user called.
    """
    path = request.output.output
    if path is None:
        return _in_temporary_folder(job, voice, stacklevel + 4)
    report = None
    try:
        job.run(path, resume=request.output.resume)
        report = read_report(path)
    finally:
        voice.issue(report, stacklevel=stacklevel + 3)
    return report


def _in_temporary_folder(job: Runnable, voice: QuietVoice, stacklevel: int) -> Report:
    path = Path(mkdtemp(prefix="curvcli-")) / "report.h5"
    try:
        job.run(path, resume=False)
        report = read_temporary(path)
    except BaseException:
        shutil.rmtree(path.parent, ignore_errors=True)
        raise
    voice.issue(report, stacklevel=stacklevel)
    return report
