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
        raise UsageError(no_such_output(outputs, where))
    return outputs[name]


def no_such_output(names: Iterable[str], where: str) -> str:
    """What to say where no output, or one that is not there, was named."""
    return (
        f"{where} has the outputs {', '.join(names)}: "
        f"choose one of them (loss.output in the dataset spec, or {option('of')})."
    )
