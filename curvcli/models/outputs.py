"""Which of a model's outputs is meant by a name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from curvcli.errors import UsageError
from curvcli.wording import option

T = TypeVar("T")


def named_output(outputs: Mapping[str, T], name: str | None, where: str) -> T:
    """The output of some name; an only one needs none, and is also called ``output``.

    Raises:
        UsageError: there is none of that name, or several and no name.
    """
    if name in (None, "output") and len(outputs) == 1:
        return next(iter(outputs.values()))
    if name is None or name not in outputs:
        raise UsageError(no_such_output(outputs, where, name))
    return outputs[name]


def no_such_output(names: Iterable[str], where: str, name: str | None = None) -> str:
    """What to say where no output, or one that is not there, was named."""
    outputs = list(names)
    has = f"has the output{'s' if len(outputs) > 1 else ''} {', '.join(outputs)}"
    if name is None:
        return f"{where} {has}: choose one of them (loss.output in the dataset spec, or {option('of')})."
    return f"{where} has no output {name!r} (loss.output in the dataset spec, or {option('of')}); it {has}."
