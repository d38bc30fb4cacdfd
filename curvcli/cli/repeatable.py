"""Options that may be given several times."""

from __future__ import annotations

from typing import Any

import click


class Repeatable(click.Option):
    """A repeatable option whose key in a config file may hold one value without a list around it."""

    def __init__(self, *spellings: Any, **arguments: Any) -> None:
        super().__init__(*spellings, **(arguments | {"multiple": True}))

    def type_cast_value(self, ctx: click.Context, value: Any) -> Any:
        """One value is a list of one."""
        single = value is not None and not isinstance(value, (list, tuple))
        return super().type_cast_value(ctx, [value] if single else value)
