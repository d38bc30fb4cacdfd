"""What every record of options does: hold each value to its kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from curvcli.analysis.options.kinds import Kind
from curvcli.errors import UsageError
from curvcli.wording import either, shell_option

Record = TypeVar("Record", bound="Options")


@dataclass(frozen=True)
class Options:
    """Options whose values are checked when they are set; the fields are annotated with their kinds."""

    @property
    def outputs(self) -> tuple[Path, ...]:
        """Files that are written besides the report."""
        return ()

    def __post_init__(self) -> None:
        """Check and convert every value.

        Raises:
            UsageError: one is not of its kind.
        """
        for name, kind in kinds_of(type(self)).items():
            value = getattr(self, name)
            if value is None and default_of(type(self), name) is None:
                continue
            try:
                object.__setattr__(self, name, kind.read(value))
            except ValueError as error:
                raise UsageError(f"{either(shell_option(name), name)}: {error}.") from None


def kinds_of(record: type[Options]) -> dict[str, Kind]:
    """The kind of every field, by its name."""
    hints = get_type_hints(record, include_extras=True)
    return {name: get_args(hint)[1] for name, hint in hints.items() if get_origin(hint) is Annotated}


def filled(record: type[Record], values: Mapping[str, Any]) -> Record:
    """A record with those of some values, by name, that it has fields for.

    Raises:
        UsageError: a value is not of its kind.
    """
    return record(**{field.name: values[field.name] for field in fields(record) if field.name in values})


def changed(options: Options) -> Iterator[tuple[str, Any]]:
    """The fields of a record that do not have their default values, with those that have none."""
    for field in fields(options):
        value = getattr(options, field.name)
        if value is not None and value != field.default:
            yield field.name, value


def default_of(record: type[Options], name: str) -> Any:
    """A field's default value; `dataclasses.MISSING` where it has none."""
    return next(field.default for field in fields(record) if field.name == name)
