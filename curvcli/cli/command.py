"""A command whose help begins with its own options, and groups what it shares with others."""

from __future__ import annotations

from typing import Any, Final

import click

# What commands share, by heading; the order of the headings is that of the help. All else is a command's own.
_SHARED: Final = {
    "Layers": ("layer", "exclude", "whole_model"),
    "Model and data": (
        "data",
        "limit",
        "stratify",
        "data_rtol",
        "batch_size",
        "shuffle",
        "seed",
        "signature",
        "tag_set",
        "dtype",
    ),
    "Computing": (
        "device",
        "threads",
        "workers",
        "engine",
        "address",
        "ship",
        "memory_limit",
        "verify",
        "allow_random",
        "resume",
        "dry_run",
    ),
    "Output": ("output", "force", "output_format", "quiet", "verbose", "log_file", "config"),
}


class Command(click.Command):
    """See the module."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # Of its own, and not only its group's: click keeps what it made of them when it was first asked.
        kwargs.setdefault("context_settings", {"help_option_names": ["-h", "--help"]})
        super().__init__(*args, **kwargs)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """A section per group, in the order of the parameters."""
        heading = {name: title for title, names in _SHARED.items() for name in names}
        sections: dict[str, list[tuple[str, str]]] = {title: [] for title in ("Options", *_SHARED)}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
            if record is not None:
                last = "--help" in parameter.opts
                sections["Output" if last else heading.get(parameter.name or "", "Options")].append(record)
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)
