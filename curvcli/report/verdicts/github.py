"""Verdicts as workflow commands, which GitHub shows as annotations of a job.

The form, and what has to be escaped, is that of actions/toolkit, ``packages/core/src/command.ts``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from curvcli.report.verdicts.verdict import Verdict, counted
from curvcli.text import printable
from curvcli.wording import shell_option

# GitHub shows ten annotations of a sort per step and drops the rest.
_SHOWN: Final = 10


def render_github(name: str, verdicts: Sequence[Verdict], summary: str) -> str:
    """Return an error per failure, the worst first, a warning per undecided check, and the summary as a notice.

    Of more than ten of a sort, nine are shown and one line says how many there are.

    Args:
        name: of the command, in the titles.
        verdicts: all of them.
        summary: one line.
    """
    failed = sorted((v for v in verdicts if v.ending == "failed"), key=lambda verdict: -verdict.excess)
    undecided = [v for v in verdicts if v.ending == "undecided"]
    lines = [
        *_annotations("error", name, failed, "failure"),
        *_annotations("warning", name, undecided, "open question"),
    ]
    return "".join(f"{line}\n" for line in [*lines, _command("notice", name, summary)])


def _annotations(level: Literal["error", "warning"], name: str, verdicts: Sequence[Verdict], noun: str) -> list[str]:
    shown = verdicts if len(verdicts) <= _SHOWN else verdicts[: _SHOWN - 1]
    lines = [_command(level, f"{name}: {v.place}: {v.check}", f"{v.place}: {v.message}") for v in shown]
    if left := len(verdicts) - len(shown):
        lines.append(
            _command(level, name, f"and {counted(left, f'more {noun}')}: {shell_option('format', 'table')} shows all")
        )
    return lines


def _command(level: Literal["error", "warning", "notice"], title: str, message: str) -> str:
    return f"::{level} title={_property(printable(title))}::{_data(printable(message))}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
