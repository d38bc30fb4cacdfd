"""What every ``[source]`` table has; each format's own table stands beside its reader in ``data/``."""

from __future__ import annotations

from curvcli.spec.table import Table


class SourceTable(Table):
    """Where the samples lie.

    Attributes:
        format: tells the tables apart; a format narrows it to its own name.
    """

    format: str
