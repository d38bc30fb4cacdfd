"""What is wrong with a spec, in sentences for the person who wrote it: place, mistake, what to write instead."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any

from curvcli.spec.sources import CALLED, CONVERSIONS
from curvcli.text import cut, did_you_mean, quoted

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError
    from pydantic_core import ErrorDetails

_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "text in quotes",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
}
_MOST_TOLD = 200
_MOST_NAME = 100  # paths of layers are long
# Bits of a whole number that is told by its length, and of one whose length would take long to count.
_LONG, _LONGEST = 128, 12_000
_HINTS = {
    "version": "write version = 1",
    "source": "add [source] with format and path",
    "inputs": "add [inputs.NAME], NAME being the model's input",
    "target": "add [target] with a column; only the loss output needs none",
    "loss": "add [loss] with name",
}


def sentences(error: ValidationError, table_at: Callable[[Sequence[Hashable]], type[BaseModel]]) -> list[str]:
    """One line per mistake, ``dotted.place: sentence``, in the order of the spec's fields.

    Args:
        error: from pydantic.
        table_at: the model that holds the key at a pydantic location; its fields are suggested for unknown keys.
    """
    return [f"{_place(e)}: {_sentence(e, table_at)}" for e in error.errors(include_url=False)]


def listed(names: Sequence[str], *, last: str = "or", most: int = 8) -> str:
    """``a, b or c``; a long list is cut, and so are long names."""
    if len(names) > most:
        return f"{', '.join(cut(name, _MOST_NAME) for name in names[:most])} … ({len(names)} in all)"
    told = [cut(name, _MOST_NAME) for name in names]
    return f" {last} ".join(filter(None, [", ".join(told[:-1]), *told[-1:]]))


def _place(error: ErrorDetails) -> str:
    keys = list(error["loc"])
    if keys[:1] == ["source"]:
        # pydantic puts the format after "source"; where it can't tell the format, the mistake is the format.
        keys[1:2] = ["format"] if error["type"].startswith("union_tag") else []
    place = ""
    for key in keys:
        if isinstance(key, int):
            place += f"[{key}]"
        else:
            short = cut(key)
            place += "." * bool(place) + (short if re.fullmatch(r"[\w-]+…?", short, re.ASCII) else f'"{short}"')
    return place or "the spec"


def _sentence(error: ErrorDetails, table_at: Callable[[Sequence[Hashable]], type[BaseModel]]) -> str:
    kind, context, key = error["type"], error.get("ctx", {}), str(error["loc"][-1]) if error["loc"] else ""
    if kind in _EXPECTED:
        return f"must be {_EXPECTED[kind]}, found {shown(error['input'])}"
    match kind:
        case "mistake":
            return str(context["sentence"])
        case "missing":
            return f"missing; {_HINTS[key]}" if key in _HINTS and len(error["loc"]) == 1 else "missing"
        case "extra_forbidden":
            keys = list(table_at(error["loc"]).model_fields)
            hint = did_you_mean(key, keys, f"known here: {listed(keys, last='and')}")
            return f"unknown key; {hint}"
        case "union_tag_invalid":
            return _unknown_format(str(context["tag"]), str(context["expected_tags"]))
        case "union_tag_not_found":
            return 'missing; write format = "npz", for instance'
        case "literal_error":
            return f"unknown {key} {shown(error['input'])}; choose {_choices(context['expected'])}"
        case "greater_than_equal":
            return f"must be {context['ge']:g} or more, found {shown(error['input'])}"
        case "less_than_equal":
            return f"must be {context['le']} or less, found {shown(error['input'])}"
        case "too_long":
            return f"has {context['actual_length']} entries, more than the {context['max_length']} there may be"
        case "too_short" | "string_too_short":
            return f"is empty; {_HINTS[key]}" if key in _HINTS else "is empty"
    return f"{error['msg'][:1].lower()}{error['msg'][1:_MOST_TOLD]}"


def _unknown_format(written: str, expected: str) -> str:
    plain = written.lower().removeprefix(".")
    if (called := CALLED.get(plain)) and f"'{called}'" in expected:
        return f'unknown format {quoted(written)}; write format = "{called}"'
    if conversion := CONVERSIONS.get(plain):
        return f"unknown format {quoted(written)}; {conversion}"
    return (
        f"unknown format {quoted(written)}; {did_you_mean(written, _named(expected), f'choose {_choices(expected)}')}"
    )


def _choices(expected: str) -> str:
    return listed(_named(expected), most=16)


def _named(expected: str) -> list[str]:
    return re.findall(r"'([^']*)'", expected)


def shown(value: Any) -> str:
    """A value as TOML writes it, long ones by their kind."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return "a list"
    if isinstance(value, int) and value.bit_length() > _LONG:
        return f"a number of {len(str(value))} digits" if value.bit_length() < _LONGEST else "a number without end"
    return "a table" if isinstance(value, dict) else cut(repr(value))
