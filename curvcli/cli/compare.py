"""``curvcli compare``: what changed between two reports, beyond a tolerance and beyond the error bars."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from math import isfinite
from pathlib import Path
from typing import Any, get_args

import click
from rich.console import Console

from curvcli.cli.console import Voice
from curvcli.cli.numbers import Real
from curvcli.cli.options import config_option, layer_options, voice_options
from curvcli.cli.repeatable import Repeatable
from curvcli.cli.verdicts import write_verdicts
from curvcli.errors import ExitCode, UsageError
from curvcli.files import same_file
from curvcli.report.compare.comparison import SHARES, Tolerances, compare
from curvcli.report.compare.figure import COMPARED, ONLY_BOUNDED, known
from curvcli.report.compare.render import Format, render_comparison, summary
from curvcli.report.hdf5.read import Report, read_report
from curvcli.spec.patterns import select

_RTOL, _ATOL, _SIGMA = 0.1, 0.0, 4.0


class Tolerance(click.ParamType[tuple[str, float]]):
    """``0.1``, ``10%``, or with a quantity in front: ``trace=0.2``."""

    name = "tolerance"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, float]:
        """Text to a quantity, empty for all, and a number."""
        if isinstance(value, tuple):
            return value
        quantity, equals, text = str(value).rpartition("=")
        try:
            number = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        except ValueError:
            number = -1.0
        if not (isfinite(number) and number >= 0):
            self.fail(f"{value!r} is not a tolerance; write 0.1, 10% or trace=0.2.", param, ctx)
        if equals and quantity not in COMPARED and not (known(quantity) and quantity not in ONLY_BOUNDED):
            self.fail(f"{value!r}: {_no_quantity(quantity)}", param, ctx)
        return quantity, number


@click.command("compare")
@click.argument("base", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@layer_options
@click.option(
    "--quantity",
    "quantity",
    cls=Repeatable,
    metavar="NAME",
    help="Only this quantity, as in the report's summary, or a glob ('diagonal_*'); repeatable. Default: all.",
)
@click.option(
    "--rtol",
    type=Tolerance(),
    cls=Repeatable,
    metavar="[QUANTITY=]NUMBER",
    help=f"Change allowed relative to the larger magnitude of the two; 0.05 or 5%, or for one quantity: "
    f"trace=0.2. Repeatable.  [default: {_RTOL:g}]",
)
@click.option(
    "--atol",
    type=Tolerance(),
    cls=Repeatable,
    metavar="[QUANTITY=]NUMBER",
    help=f"Change allowed besides, in the quantity's own unit; like --rtol.  [default: {_ATOL:g}, "
    "but 0.01 for negative_share and weight_at_zero]",
)
@click.option(
    "--sigma",
    type=Real(0, 30),
    default=_SIGMA,
    show_default=True,
    help="A change also has to exceed the error bars: this many standard errors of the difference, more where they "
    "are from few probes or many figures are compared. 4: noise alone fails one comparison in 16,000. 0: none.",
)
@click.option("--allow-mismatch", is_flag=True, help="Compare what is common though loss, data or layers differ.")
@click.option("--only-changed", is_flag=True, help="Show in table and markdown only what changed or can't be judged.")
@click.option(
    "--format",
    "output_format",
    type=click.Choice(get_args(Format)),
    default="table",
    show_default=True,
    help="How results are printed on standard output.",
)
@config_option
@voice_options
def command(**given: Any) -> int:
    r"""Compare two reports: per layer and quantity old, new, change, and whether that is more than noise.

    A figure has changed if |new - old| > atol + rtol * max(|old|, |new|), and if it is beyond the error bars: residuals
    and rounding for certain, standard errors by Student's t for all figures together. What has no error bar is not
    judged, and shown as undecided.

    Exit code 0: nothing changed. 1: something did, or is no longer a number. 2: loss, data or layers differ, a report
    is partial, or nothing can be judged.

    \b
      curvcli compare before.h5 after.h5
      curvcli compare before.h5 after.h5 --quantity trace --rtol 5% --format github
      curvcli compare before.h5 after.h5 --layer 'conv*' --rtol 0.2 --rtol negative_share=1
    """
    voice = Voice(-1 if given["quiet"] else given["verbose"])
    base, new = read_report(given["base"]), read_report(given["new"])
    if same_file(given["base"], given["new"]):
        raise UsageError(f"{given['base']} and {given['new']} are the same file; compare two reports.")
    layers = _layers(base, new, given["layer"], given["exclude"])
    quantities = _quantities(base, new, given["quantity"])
    comparison = compare(
        base,
        new,
        _tolerances(given),
        layers=layers,
        quantities=quantities,
        allow_mismatch=given["allow_mismatch"],
    )
    found = {change.quantity for change in comparison.changes}
    for pattern in given["quantity"]:
        if not any(fnmatchcase(quantity, pattern) for quantity in found):
            raise UsageError(f"--quantity {pattern}: not in both reports; they share {', '.join(_ordered(found))}.")
    text = render_comparison(
        comparison,
        given["output_format"],
        console=Console(file=sys.stdout, highlight=False),
        only_changed=given["only_changed"],
    )
    write_verdicts(text, given["output_format"])
    if given["output_format"] != "table":
        voice.note(f"{given['new']}: {summary(comparison)}")
    return int(ExitCode.CHECK_FAILED if comparison.failed else ExitCode.DONE)


def _tolerances(given: dict[str, Any]) -> Tolerances:
    rtols, atols = dict(given["rtol"]), dict(given["atol"])
    if "" not in atols:
        atols = {**SHARES, **atols}
    return Tolerances(
        rtol=rtols.pop("", _RTOL),
        atol=atols.pop("", _ATOL),
        sigma=given["sigma"],
        rtols=rtols,
        atols=atols,
    )


def _layers(base: Report, new: Report, include: Sequence[str], exclude: Sequence[str]) -> list[str] | None:
    """The layers that the patterns choose among those of both reports; None for all."""
    if not include and not exclude:
        return None
    names = list(dict.fromkeys(row.name for report in (base, new) for row in report.layers))
    return [names[i] for i in select(names, include, exclude)]


def _quantities(base: Report, new: Report, patterns: Sequence[str]) -> list[str] | None:
    """The quantities that the patterns choose; None for all."""
    if not patterns:
        return None
    most = max((row.eigenvalue_count for report in (base, new) for row in report.layers), default=0)
    names = [*COMPARED, *(f"eigenvalue_{rank}" for rank in range(2, most))]
    chosen: list[str] = []
    for pattern in patterns:
        found = [name for name in names if fnmatchcase(name, pattern)]
        if not found:
            raise UsageError(f"--quantity {pattern}: {_no_quantity(pattern)}")
        chosen += found
    return chosen


def _no_quantity(name: str) -> str:
    if name in ONLY_BOUNDED:
        return f"{name} says how well something was computed; `curvcli assert` holds it against a threshold."
    near = get_close_matches(name, COMPARED, n=3, cutoff=0.5)
    advice = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(COMPARED)}."
    return f"no such quantity; {advice}"


def _ordered(names: set[str]) -> list[str]:
    return [name for name in COMPARED if name in names] + sorted(names.difference(COMPARED))
