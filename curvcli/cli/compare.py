"""``curvcli compare``: what changed between two reports, beyond a tolerance and beyond the error bars."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from glob import has_magic
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from curvcli.analysis.comparing import ATOL, RTOL, CompareOptions, compared, read_tolerance
from curvcli.analysis.following import CourseOptions
from curvcli.analysis.options.record import filled
from curvcli.cli.command import Command
from curvcli.cli.console import Voice
from curvcli.cli.options import config_option, layer_options, record_option, voice_options
from curvcli.cli.repeatable import Repeatable
from curvcli.cli.reports import opened
from curvcli.cli.verdicts import verdict_format_option, write_verdicts
from curvcli.errors import ExitCode, UsageError
from curvcli.report.compare.render import render_comparisons, total
from curvcli.report.course.order import ordered
from curvcli.report.hdf5.read import Report, read_report


class Tolerance(click.ParamType):  # type: ignore[type-arg]  # generic only since click 8.4
    """``0.1``, ``10%``, or with a quantity in front: ``trace=0.2``."""

    name = "tolerance"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, float]:
        """Text to a quantity, empty for all, and a number."""
        if isinstance(value, tuple):
            return value
        try:
            return read_tolerance(value)
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)


@click.command("compare", cls=Command)
@click.argument("base", type=click.Path(path_type=Path))
@click.argument("new", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--against-first",
    is_flag=True,
    help="Put all reports in order, and compare each with the first. Default: each with BASE, as named.",
)
@record_option(
    CompareOptions,
    "worse",
    help="Fail only on what got worse: a larger loss, trace, eigenvalue, entry or norm, or a value farther below zero. "
    "What has no worse direction is not judged.",
)
@layer_options
@record_option(
    CompareOptions,
    "quantity",
    metavar="NAME",
    help="Only this quantity, as in the report's summary, or a glob ('diagonal_*'); repeatable. Default: all.",
)
@click.option(
    "--rtol",
    type=Tolerance(),
    cls=Repeatable,
    metavar="[QUANTITY=]NUMBER",
    help=f"Change allowed relative to the larger magnitude of the two; 0.05 or 5%, or for one quantity: "
    f"trace=0.2. Repeatable.  [default: {RTOL:g}]",
)
@click.option(
    "--atol",
    type=Tolerance(),
    cls=Repeatable,
    metavar="[QUANTITY=]NUMBER",
    help=f"Change allowed in addition, in the quantity's own unit; like --rtol.  [default: {ATOL:g}, "
    "but 0.01 for negative_share and weight_at_zero]",
)
@record_option(
    CompareOptions,
    "sigma",
    help="A change also has to exceed the error bars: this many standard errors of the difference, more where they "
    "are from few probes or many figures are compared. 4: noise alone fails one comparison in 16,000. 0: none.",
)
@record_option(
    CompareOptions, "allow_mismatch", help="Compare what the reports share although loss, data or layers differ."
)
@record_option(CourseOptions, "order", help="With --against-first, the order of the reports, as in `curvcli show`.")
@click.option("--only-changed", is_flag=True, help="Show in table and markdown only what changed or can't be judged.")
@verdict_format_option
@config_option
@voice_options
def command(**values: Any) -> int:
    r"""Compare reports with a first one: per layer and quantity old, new, change, and whether that is more than noise.

    Each NEW is compared with BASE; a quoted pattern, 'run/*.h5', stands for all its files.

    A figure has changed if |new - old| > atol + rtol * max(|old|, |new|), and if it is beyond the error bars: residuals
    and rounding as bounds, standard errors by Student's t for all figures together. What has no error bar is not
    judged, and shown as undecided.

    With --worse, larger is worse of loss, trace, top_eigenvalue and the other eigenvalues of a search for the largest,
    diagonal_max, diagonal_mean, diagonal_abs_mean, negative_share, negative_eigenvalues, support_max, frobenius_norm,
    residual_* and of failed checks; lower, and below zero, of smallest_eigenvalue, diagonal_min and support_min.

    Exit code 0: nothing changed. 1: something did, or is no longer a number. 2: loss, data or layers differ, a report
    is partial, or nothing can be judged.

    \b
      curvcli compare before.h5 after.h5
      curvcli compare before.h5 after.h5 --quantity trace --rtol 5% --format github
      curvcli compare before.h5 after.h5 --layer 'conv*' --rtol 0.2 --rtol negative_share=1
      curvcli compare --against-first 'run/step_*.h5' --worse --quantity top_eigenvalue
    """
    voice = Voice(-1 if values["quiet"] else values["verbose"])
    base, *others = _reports(values)
    options = filled(CompareOptions, values)
    comparisons = [compared(base, other, options) for other in others]
    text = render_comparisons(
        comparisons,
        values["output_format"],
        console=Console(file=sys.stdout, highlight=False),
        only_changed=values["only_changed"],
    )
    write_verdicts(text, values["output_format"])
    if values["output_format"] != "table":
        name = str(others[0].path) if len(others) == 1 else f"{len(others)} reports"
        voice.note(f"{name}: {total(comparisons)}")
    elif len(others) > 1:
        voice.note(total(comparisons))
    return int(ExitCode.CHECK_FAILED if any(one.failed for one in comparisons) else ExitCode.DONE)


def _reports(values: Mapping[str, Any]) -> Sequence[Report]:
    """Return the report that the others are compared with, and these.

    Raises:
        UsageError: there is only one.
        ReportError: one is none, or a pattern matches nothing.
    """
    paths = (values["base"], *values["new"])
    if len(paths) == 2 and not values["against_first"] and not any(map(has_magic, map(str, paths))):
        return [read_report(path) for path in paths]
    reports = opened(paths)
    if len(reports) < 2:
        raise UsageError(f"{reports[0].path}: compare takes two reports at least: the base, and what is new.")
    return ordered(reports, values["order"]).reports if values["against_first"] else reports
