"""``curvcli plot`` as a function."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curvcli.analysis.following import CourseOptions, followed
from curvcli.analysis.options.record import filled
from curvcli.analysis.plotting import PlotOptions, drawn, drawn_course
from curvcli.api.arguments import Patterns, StrPath, read_arguments
from curvcli.api.course import Reports, opened_reports
from curvcli.api.report import Report
from curvcli.api.results import Results, report_of
from curvcli.api.turn import IN_PYTHON
from curvcli.api.voice import QuietVoice
from curvcli.errors import UsageError
from curvcli.report.course.order import Order
from curvcli.wording import option

if TYPE_CHECKING:
    from curvcli.report.plot.draw import Image, Picture


@dataclass(frozen=True)
class Plots:
    """Figures of a report.

    Attributes:
        pictures: each with ``kind``, ``title``, ``caption`` and ``images``, the bytes of ``png`` and ``svg``.
        paths: of the files that were written.
    """

    pictures: tuple[Picture, ...]
    paths: tuple[Path, ...] = ()

    def __repr__(self) -> str:
        kinds = ", ".join(dict.fromkeys(picture.kind for picture in self.pictures))
        return f"<curvcli.Plots: {len(self.pictures)} pictures ({kinds}), {len(self.paths)} files>"


def plot(
    report: Report | Results[Any] | Reports,
    output: StrPath | None = None,
    *,
    against: Report | Results[Any] | StrPath | None = None,
    kind: Patterns = (),
    layer: Patterns = (),
    exclude: Patterns = (),
    parameter: Patterns = (),
    format: Patterns = (),
    order: Order | None = None,
    allow_mismatch: bool = False,
) -> Plots:
    """Draw a report, as ``curvcli plot`` does.

    Args:
        report: results, a report, or its path; or several, of one training run, or a pattern of their paths: of these
            the ``course`` is drawn, as `course` tells it.
        output: a ``.html``, ``.png`` or ``.svg`` file, or a directory. Default: nothing is written.
        against: draw it over this other report.
        kind: ``bars``, ``histogram``, ``channels``, ``kernel``, ``spectrum`` and so on, as ``curvcli plot`` has them;
            one or several. Default: all that the report holds. Of several reports there is ``course`` alone.
        layer: only these layers, by patterns as elsewhere.
        exclude: leave these out.
        parameter: only parameters with such labels, ``kernel`` or ``weight``.
        format: what is written to a directory. Default: all three.
        order: of several reports: ``"step"``, ``"time"`` or ``"name"``, as in `course`.
        allow_mismatch: draw several reports though loss, data, layers or matrices differ.

    Returns:
        The ``pictures``, and the ``paths`` of what was written.

    Raises:
        UsageError: matplotlib is not installed, or an argument is wrong.
        ReportError: it is no report, there is nothing to draw, or the output can't be written.

    Warns:
        CurvcliWarning: the report has nothing for one of the kinds, or is not like the other one.

    Example:
        >>> import curvcli
        >>> diagonals = curvcli.diagonal("sample_models/mlp_tanh.pt", layer="fc3", limit=64)
        >>> plots = curvcli.plot(diagonals, kind="histogram")
        >>> [(one.kind, sorted(one.images)) for one in plots.pictures]
        [('histogram', ['png', 'svg'])]
    """
    with IN_PYTHON:
        options = filled(PlotOptions, read_arguments((PlotOptions,), locals()))
        voice = QuietVoice()
        # Of a page there are pictures too, as files would have them.
        besides: tuple[Image, ...] = ("svg",) if "html" in options.formats() else ()
        reports = opened_reports("report", report)  # type: ignore[arg-type]  # a single one too
        if not reports:
            raise UsageError("report: an empty list has nothing to draw; name at least one report.")
        if len(reports) > 1:
            if against is not None:
                raise UsageError(f"{option('against')} is for one report: leave it out")
            following = filled(CourseOptions, read_arguments((CourseOptions,), locals()))
            drawing = drawn_course(followed(reports, following), options, voice, besides=besides)
        else:
            base = None if against is None else report_of("against", against)
            drawing = drawn(reports[0], base, options, voice, besides=besides)
        paths = () if options.output is None else tuple(drawing.write(options.output))
        voice.issue(None, stacklevel=2)
        pictures = tuple(replace(one, images=_of_files(one.images)) for one in drawing.pictures)
        return Plots(pictures, paths)


def _of_files(images: Mapping[Image, bytes]) -> dict[Image, bytes]:
    """Without the form that a page holds, which leaves the styles to the page."""
    return {kind: content for kind, content in images.items() if kind != "page"}
