"""A report drawn: which kinds of figures, of which layers and parameters, over which other report, into which files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from curvcli.analysis.options.kinds import File, Names
from curvcli.analysis.options.record import Options
from curvcli.analysis.progress import Voice
from curvcli.errors import ReportError, UsageError
from curvcli.report.course.course import Course
from curvcli.report.hdf5.atomic import explained, replaced
from curvcli.report.hdf5.read import Report
from curvcli.report.plot.kinds import KINDS
from curvcli.spec.mistakes import listed
from curvcli.spec.patterns import select
from curvcli.text import quoted
from curvcli.wording import either, option

if TYPE_CHECKING:
    from curvcli.report.plot.draw import Image, Picture
    from curvcli.report.plot.view import Side, View

FORMATS: Final = ("png", "svg", "html")
STDOUT: Final = Path("-")
_MANY = 24  # layers from which on a person waits


@dataclass(frozen=True)
class SomeOf:
    """Some of several words."""

    words: Sequence[str]

    def read(self, value: object) -> tuple[str, ...]:
        """A list or a tuple; a single word too."""
        names = Names().read(value)
        for name in names:
            if name not in self.words:
                raise ValueError(f"must be {listed(self.words)}, found {quoted(name)}")
        return names


@dataclass(frozen=True)
class PlotOptions(Options):
    """Of ``curvcli plot``.

    Attributes:
        kind: names of `KINDS`; none for all that the report holds.
        layer: patterns; none for all.
        exclude: patterns of what is left out.
        parameter: patterns of parameters' labels; none for all.
        output: a file of one of `FORMATS`, or a directory; None for no file.
        format: what is written to a directory; none for all of `FORMATS`.
    """

    kind: Annotated[tuple[str, ...], SomeOf(tuple(KINDS))] = ()
    layer: Annotated[tuple[str, ...], Names()] = ()
    exclude: Annotated[tuple[str, ...], Names()] = ()
    parameter: Annotated[tuple[str, ...], Names()] = ()
    output: Annotated[Path | None, File()] = None
    format: Annotated[tuple[str, ...], SomeOf(FORMATS)] = ()

    def formats(self) -> list[str]:
        """What is to be written at ``output``: what its suffix says, or for a directory what ``format`` says.

        Raises:
            UsageError: the suffix is none of the three, or says something else than ``format``.
        """
        target = self.output
        if target is None:
            return [name for name in FORMATS if name in self.format] or ["png", "svg"]
        if target == STDOUT:
            if len(set(self.format)) > 1:
                raise UsageError(f"{option('output', '-')} takes one file: give {option('format')} once")
            return list(self.format[:1] or ("html",))
        suffix = target.suffix.lower().removeprefix(".")
        if os.path.isdir(target) or not suffix:  # noqa: PTH112 - Path.is_dir raises for names that are too long
            return [name for name in FORMATS if name in self.format] or list(FORMATS)
        where = option("output", str(target))
        if suffix not in FORMATS:
            raise UsageError(f"{where}: plots are .png, .svg or .html; for a directory of that name, create it first")
        if self.format and set(self.format) != {suffix}:
            raise UsageError(f"{where} is one {suffix.upper()} file: leave {option('format')} out, or give a directory")
        return [suffix]


@dataclass(frozen=True)
class Drawing:
    """The figures of a report.

    Attributes:
        view: what was drawn.
        pictures: as files.
        formats: of the files.
    """

    view: View
    pictures: tuple[Picture, ...]
    formats: tuple[str, ...]

    def single(self, target: Path) -> bytes:
        """Return the one file for `target`.

        Raises:
            UsageError: one image file for several figures.
        """
        from curvcli.report.plot.page import page

        (form,) = self.formats
        if form != "html" and len(self.pictures) > 1:
            kinds = ", ".join(dict.fromkeys(picture.kind for picture in self.pictures))
            raise UsageError(
                f"{option('output', str(target))} holds one figure, and there are {len(self.pictures)} ({kinds}): "
                f"give a directory or .html, or choose with {option('kind')} and {option('layer')}"
            )
        return page(self.view, self.pictures) if form == "html" else _image(self.pictures[0], form)

    def write(self, target: Path) -> list[Path]:
        """Write the files and return their paths.

        Raises:
            UsageError: one image file for several figures.
            ReportError: the directory can't be written to, or the disk is full.
        """
        from curvcli.report.plot.page import page

        if target == STDOUT:
            raise UsageError(f"{option('output', '-')}: give a file or a directory")
        files: dict[Path, bytes] = {}
        if target.suffix and not os.path.isdir(target):  # noqa: PTH112 - likewise
            files[target] = self.single(target)
        else:
            with explained(target):
                target.mkdir(parents=True, exist_ok=True)
            for form in self.formats:
                if form == "html":
                    files[target / f"{self.view.new.report.path.stem}.html"] = page(self.view, self.pictures)
                else:
                    files |= {target / f"{one.stem}.{form}": _image(one, form) for one in self.pictures}
        for path, data in files.items():
            replaced(path, data)
        return list(files)


def drawn(
    new: Report, base: Report | None, options: PlotOptions, voice: Voice, *, besides: Sequence[Image] = ()
) -> Drawing:
    """Draw a report, over another one if there is one; `besides` are images that no file of the output takes.

    Raises:
        UsageError: matplotlib or Jinja is not installed, a pattern matches nothing, or the output is none.
        ReportError: there is nothing to draw, or a report can't be read any more.
    """
    options.formats()  # before anything is read
    require_plots()
    from curvcli.report.plot.view import View

    sides = _sides(new, base, options)
    view = View(sides[0], sides[1] if len(sides) > 1 else None, all_kernels=bool(options.layer))
    for name in options.kind:
        if KINDS[name].many:
            raise UsageError(f"{option('kind', name)} is of several reports: name them all, or a pattern of them")
    if len(view.new.rows) > _MANY:
        names = either("; -v names each figure", "")
        voice.note(f"{len(view.new.rows)} layers: drawing them takes a while{names}")
    drawing = _drawing(view, options, voice, besides)
    if view.mismatch and base is not None:
        voice.warn(f"{new.path} is not like {base.path}, so a change may come from that: {view.mismatch}")
    if view.only_in_base:
        voice.note(view.only_in_base)
    for note in view.notes:
        voice.note(note)
    return drawing


def drawn_course(course: Course, options: PlotOptions, voice: Voice, *, besides: Sequence[Image] = ()) -> Drawing:
    """Draw the course of several reports; `besides` are images that no file of the output takes.

    Raises:
        UsageError: matplotlib or Jinja is not installed, the output is none, or another kind of figure is requested.
        ReportError: there is nothing to draw.
    """
    options.formats()
    require_plots()
    from curvcli.report.plot.view import Side, View

    for name in options.kind:
        if not KINDS[name].many:
            several = " and ".join(option("kind", kind) for kind, one in KINDS.items() if one.many)
            raise UsageError(f"{option('kind', name)} is of one report; of several there is {several}")
    if options.parameter:
        raise UsageError(f"{option('parameter')} is for one report: leave it out")
    last = course.ordered.reports[-1]
    rows = tuple(row for row in last.layers if course.joined or row.name in course.layers)
    view = View(Side(last, str(last.path), rows), course=course)
    for text in course.mismatches:
        voice.warn(f"mismatch allowed: {text}")
    return _drawing(view, options, voice, besides)


def require_plots() -> None:
    """Check that plots can be drawn.

    Raises:
        UsageError: matplotlib or Jinja is not installed.
    """
    try:
        import jinja2  # noqa: F401
        import matplotlib  # noqa: F401
    except ImportError as error:
        missing = error.name or "matplotlib"
        raise UsageError(f"plots need {missing}, which is not installed: pip install 'curvcli[plot]'") from None


def _drawing(view: View, options: PlotOptions, voice: Voice, besides: Sequence[Image]) -> Drawing:
    from curvcli.report.plot.draw import pictures

    formats = options.formats()
    images: list[Image] = list(besides)
    if "png" in formats:
        images.append("png")
    if "svg" in formats:
        images.append("svg")
    if "html" in formats:
        images.append("page")
    made = []
    for picture in pictures(view, options.kind or KINDS, images):
        voice.detail(f"drawn: {picture.title}")
        made.append(picture)
    _check(view.new.report.path, made, options.kind, voice)
    return Drawing(view, tuple(made), tuple(formats))


def _image(picture: Picture, form: str) -> bytes:
    return next(data for name, data in picture.images.items() if name == form)


def _sides(new: Report, base: Report | None, options: PlotOptions) -> list[Side]:
    """Return the chosen part of each report.

    Raises:
        UsageError: a pattern matches nothing, or the reports have no chosen layer in common.
    """
    from curvcli.report.plot.view import Side

    if not new.layers and not new.studies:
        raise ReportError(f"{new.path}: nothing to plot: the report has no layers")
    # A report of studies alone has no layers to choose from.
    places = select([row.name for row in new.layers], options.layer, options.exclude) if new.layers else []
    rows = [new.layers[i] for i in places]
    labels, parameters = list(dict.fromkeys(p.label for row in rows for p in row.parameters)), options.parameter
    chosen = {labels[i] for i in select(labels, parameters, noun="parameter")} if parameters else set(labels)
    names = [str(new.path)] if base is None else _distinct(new.path, base.path)
    sides = [Side(new, names[0], tuple(rows), lambda label: label in chosen)]
    if base is not None:
        shared = {row.name for row in rows}
        below = tuple(row for row in base.layers if row.name in shared)
        if not below and new.layers:
            raise ReportError(f"{new.path} and {base.path} have no layer in common: curvcli show lists those of each")
        # Another framework's names of the parameters are not the pattern's: without one, all of them are meant.
        sides.append(
            Side(base, names[1], below, (lambda label: label in chosen) if parameters else (lambda label: True))
        )
    return sides


def _distinct(new: Path, base: Path) -> list[str]:
    """Return what a legend calls two reports: their names, or their paths where the names are the same."""
    return [new.name, base.name] if new.name != base.name else [str(new), str(base)]


def _check(report: Path, made: Sequence[Picture], kinds: Sequence[str], voice: Voice) -> None:
    """Say which of the requested kinds are not in the report.

    Raises:
        ReportError: nothing at all is.
    """
    absent = [kind for kind in kinds if kind not in {picture.kind for picture in made}]
    reasons = [
        f"no {KINDS[kind].needs} for {option('kind', kind)} (`curvcli {KINDS[kind].command}` computes it)"
        for kind in dict.fromkeys(absent)
    ]
    if not made:
        where = "of the chosen layers " if not reasons else ""
        raise ReportError(f"{report}: nothing to plot: " + ("; ".join(reasons) or f"no numbers {where}in it"))
    for reason in reasons:
        voice.warn(f"{report}: {reason}")
