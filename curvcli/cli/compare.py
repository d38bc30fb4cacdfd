"""``curvcli compare``: what changed between two reports, beyond a tolerance and beyond the error bars."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from curvcli.analysis.comparing import ATOL, RTOL, CompareOptions, compared, read_tolerance
from curvcli.analysis.options.record import filled
from curvcli.cli.command import Command
from curvcli.cli.console import Voice
from curvcli.cli.options import config_option, layer_options, record_option, voice_options
from curvcli.cli.repeatable import Repeatable
from curvcli.cli.verdicts import verdict_format_option, write_verdicts
from curvcli.errors import ExitCode
from curvcli.report.compare.render import render_comparison, summary
from curvcli.report.hdf5.read import read_report


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
@click.argument("new", type=click.Path(path_type=Path))
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
@click.option("--only-changed", is_flag=True, help="Show in table and markdown only what changed or can't be judged.")
@verdict_format_option
@config_option
@voice_options
def command(**values: Any) -> int:
    r"""Compare two reports: per layer and quantity old, new, change, and whether that is more than noise.

    A figure has changed if |new - old| > atol + rtol * max(|old|, |new|), and if it is beyond the error bars: residuals
    and rounding as bounds, standard errors by Student's t for all figures together. What has no error bar is not
    judged, and shown as undecided.

    Exit code 0: nothing changed. 1: something did, or is no longer a number. 2: loss, data or layers differ, a report
    is partial, or nothing can be judged.

    \b
      curvcli compare before.h5 after.h5
      curvcli compare before.h5 after.h5 --quantity trace --rtol 5% --format github
      curvcli compare before.h5 after.h5 --layer 'conv*' --rtol 0.2 --rtol negative_share=1
    """
    voice = Voice(-1 if values["quiet"] else values["verbose"])
    comparison = compared(read_report(values["base"]), read_report(values["new"]), filled(CompareOptions, values))
    text = render_comparison(
        comparison,
        values["output_format"],
        console=Console(file=sys.stdout, highlight=False),
        only_changed=values["only_changed"],
    )
    write_verdicts(text, values["output_format"])
    if values["output_format"] != "table":
        voice.note(f"{values['new']}: {summary(comparison)}")
    return int(ExitCode.CHECK_FAILED if comparison.failed else ExitCode.DONE)
