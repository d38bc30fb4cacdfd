"""``curvcli plot``: a report as pictures."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from curvcli.cli.console import Voice
from curvcli.cli.options import config_option, layer_options, voice_options
from curvcli.cli.repeatable import Repeatable
from curvcli.errors import ExitCode, ReportError, UsageError
from curvcli.report.hdf5.atomic import explained, replaced
from curvcli.report.hdf5.read import Report, read_report
from curvcli.report.plot.kinds import KINDS
from curvcli.spec.patterns import select

if TYPE_CHECKING:
    from curvcli.report.plot.draw import Image, Picture
    from curvcli.report.plot.view import Side, View

_MANY = 24  # layers from which on a person waits
FORMATS = ("png", "svg", "html")


@click.command("plot")
@click.argument("report", type=click.Path(path_type=Path))
@click.option("--against", type=click.Path(path_type=Path), metavar="BASE", help="Draw REPORT over this other report.")
@click.option(
    "--kind", "-k", "kinds", cls=Repeatable, type=click.Choice(list(KINDS)), help="Repeatable. Default: all there is."
)
@layer_options
@click.option(
    "--parameter",
    "-p",
    "parameters",
    cls=Repeatable,
    metavar="PATTERN",
    help="A parameter's label, such as kernel or weight; repeatable, like --layer. Default: all.",
)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    help="A .html, .png or .svg file, or a directory. Default: REPORT.html beside the report.",
)
@click.option(
    "--format",
    "formats",
    cls=Repeatable,
    type=click.Choice(FORMATS),
    help="What is written to a directory; repeatable. Default: all three.",
)
@config_option
@voice_options
def command(
    report: Path,
    against: Path | None,
    kinds: tuple[str, ...],
    layer: tuple[str, ...],
    exclude: tuple[str, ...],
    parameters: tuple[str, ...],
    output: Path | None,
    formats: tuple[str, ...],
    quiet: bool,
    verbose: int,
) -> int:
    r"""Draw a report: bars per layer, histograms and heat maps of diagonals, spectra, densities, gradient scatter.

    \b
      curvcli plot model.report.h5                         one page, model.report.html
      curvcli plot model.report.h5 -o plots/               PNG, SVG and the page
      curvcli plot model.diag.h5 -k kernel -l conv4_3 -o conv4_3.png
      curvcli plot new.h5 --against old.h5                 two reports over each other

    The page holds all its images and loads nothing. The paths of what was written go to standard output.
    """
    voice = Voice(-1 if quiet else verbose)
    target = output if output is not None else report.parent / f"{report.name.removesuffix('.h5')}.html"
    wanted = _formats(target, formats)
    new = read_report(report)
    base = read_report(against) if against is not None else None
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise UsageError("curvcli plot needs matplotlib, which is not installed: pip install 'curvcli[plot]'") from None
    from curvcli.report.plot.draw import pictures
    from curvcli.report.plot.view import View

    sides = _sides(new, base, layer, exclude, parameters)
    view = View(sides[0], sides[1] if len(sides) > 1 else None, all_kernels=bool(layer))
    images: list[Image] = [name for name in ("png", "svg") if name in wanted or (name == "svg" and "html" in wanted)]
    if len(view.new.rows) > _MANY:
        voice.note(f"{len(view.new.rows)} layers: drawing them takes a while; -v names each figure")
    drawn = []
    for picture in pictures(view, kinds or KINDS, images):
        voice.detail(f"drawn: {picture.title}")
        drawn.append(picture)
    _check(report, drawn, kinds, voice)
    if view.mismatch:
        voice.warn(f"{report} is not like {against}, so a change may come from that: {view.mismatch}")
    if view.only_in_base:
        voice.note(view.only_in_base)
    for note in view.notes:
        voice.note(note)
    for path in _written(target, wanted, drawn, view):
        click.echo(path)
    return int(ExitCode.DONE)


def _formats(target: Path, formats: Sequence[str]) -> list[str]:
    """Return what is to be written at ``target``: what its suffix says, or for a directory what was asked for.

    Raises:
        UsageError: the suffix is none of the three, or says something else than ``--format``.
    """
    suffix = target.suffix.lower().removeprefix(".")
    if os.path.isdir(target) or not suffix:  # noqa: PTH112 - Path.is_dir raises for names that are too long
        return [name for name in FORMATS if name in formats] if formats else list(FORMATS)
    if suffix not in FORMATS:
        raise UsageError(
            f"--output {target}: plots are .png, .svg or .html; for a directory of that name, create it first"
        )
    if formats and set(formats) != {suffix}:
        raise UsageError(f"--output {target} is one {suffix.upper()} file: leave --format out, or give a directory")
    return [suffix]


def _sides(
    new: Report, base: Report | None, layer: Sequence[str], exclude: Sequence[str], parameters: Sequence[str]
) -> list[Side]:
    """Return the chosen part of each report.

    Raises:
        UsageError: a pattern matches nothing, or the reports have no chosen layer in common.
    """
    from curvcli.report.plot.view import Side

    if not new.layers:
        raise ReportError(f"{new.path}: nothing to plot: the report has no layers")
    rows = [new.layers[i] for i in select([row.name for row in new.layers], layer, exclude)]
    labels = list(dict.fromkeys(p.label for row in rows for p in row.parameters))
    chosen = {labels[i] for i in select(labels, parameters, noun="parameter")} if parameters else set(labels)
    names = [str(new.path)] if base is None else _distinct(new.path, base.path)
    sides = [Side(new, names[0], tuple(rows), lambda label: label in chosen)]
    if base is not None:
        shared = {row.name for row in rows}
        below = tuple(row for row in base.layers if row.name in shared)
        if not below:
            raise ReportError(f"{new.path} and {base.path} have no layer in common: curvcli show lists those of each")
        # Another framework's names of the parameters are not the pattern's: without one, all of them are meant.
        sides.append(
            Side(base, names[1], below, (lambda label: label in chosen) if parameters else (lambda label: True))
        )
    return sides


def _distinct(new: Path, base: Path) -> list[str]:
    """Return what a legend calls two reports: their names, or their paths where the names are the same."""
    return [new.name, base.name] if new.name != base.name else [str(new), str(base)]


def _check(report: Path, drawn: Sequence[Picture], kinds: Sequence[str], voice: Voice) -> None:
    """Say which of the kinds asked for are not in the report.

    Raises:
        ReportError: nothing at all is.
    """
    absent = [kind for kind in kinds if kind not in {picture.kind for picture in drawn}]
    reasons = [
        f"no {KINDS[kind].needs} for --kind {kind} (`curvcli {KINDS[kind].command}` computes it)"
        for kind in dict.fromkeys(absent)
    ]
    if not drawn:
        where = "of the chosen layers " if not reasons else ""
        raise ReportError(f"{report}: nothing to plot: " + ("; ".join(reasons) or f"no numbers {where}in it"))
    for reason in reasons:
        voice.warn(f"{report}: {reason}")


def _written(target: Path, wanted: Sequence[str], drawn: Sequence[Picture], view: View) -> list[Path]:
    """Write what is wanted and return the paths.

    Raises:
        UsageError: one image file for several figures.
        ReportError: the directory can't be written to, or the disk is full.
    """
    from curvcli.report.plot.page import page

    files: dict[Path, bytes] = {}
    if target.suffix and not os.path.isdir(target):  # noqa: PTH112 - likewise
        if wanted == ["html"]:
            files[target] = page(view, drawn)
        elif len(drawn) > 1:
            kinds = ", ".join(dict.fromkeys(picture.kind for picture in drawn))
            raise UsageError(
                f"--output {target} holds one figure, and there are {len(drawn)} ({kinds}): "
                "give a directory or .html, or choose with --kind and --layer"
            )
        else:
            files[target] = drawn[0].images[wanted[0]]  # type: ignore[index]
    else:
        with explained(target):
            target.mkdir(parents=True, exist_ok=True)
        for name in wanted:
            if name == "html":
                files[target / f"{view.new.report.path.stem}.html"] = page(view, drawn)
            else:
                files |= {target / f"{picture.stem}.{name}": picture.images[name] for picture in drawn}  # type: ignore[index]
    for path, data in files.items():
        replaced(path, data)
    return list(files)
