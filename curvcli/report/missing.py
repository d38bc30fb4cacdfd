"""The sentence for a number that a report does not hold, with the command that computes it."""

from __future__ import annotations

from typing import Final

from curvcli.report.table import COMMANDS, Column
from curvcli.wording import shell_option

_OPTIONS: Final = {"smallest_eigenvalue": f"eigs {shell_option('which', 'smallest')}"}


def not_computed(column: Column) -> str:
    """Return that a column's number was not computed, and which command does."""
    return missing_field(column.name, _OPTIONS.get(column.name, COMMANDS[column.of]))


def missing_field(field: str, command: str) -> str:
    """Return that `field` was not computed, and that `command` does."""
    return f"{field} was not computed (`curvcli {command}` does that)"
