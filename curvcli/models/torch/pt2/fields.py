"""Takes what is expected, and nothing else, out of the JSON text in an archive that anybody may have made."""

from __future__ import annotations

from typing import Any, TypeVar

from curvcli.models.torch.members import RECIPE

T = TypeVar("T")


class MisfitError(Exception):
    """What an archive says does not fit together, or is refused; a person reads it."""

    def __init__(self, reason: str, advice: str = f"Save it with {RECIPE}.") -> None:
        """What is wrong, and what to do."""
        super().__init__(f"{reason.rstrip('.')}.\n{advice}")


def taken(record: Any, key: str, kind: type[T]) -> T:
    """The entry of an object.

    Raises:
        MisfitError: it is not there, or of another kind.
    """
    if not isinstance(record, dict) or not isinstance(record.get(key), kind):
        raise MisfitError(f"{key} is not where torch.export writes it")
    return record[key]  # type: ignore[no-any-return]


def only(record: Any) -> tuple[str, Any]:
    """The one entry of an object that says what it is by its key."""
    if not isinstance(record, dict) or len(record) != 1:
        raise MisfitError("a value is written in a way that torch.export does not write")
    return next(iter(record.items()))


def natural(value: Any) -> int:
    """A size, a stride or an offset."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 62:
        raise MisfitError("it declares a tensor with a shape that no tensor has")
    return value


def shown(text: Any) -> str:
    """Something that a file says, for a message: short, and nothing in it but what can be printed."""
    return "".join(c if c.isprintable() else "?" for c in str(text)[:80])
