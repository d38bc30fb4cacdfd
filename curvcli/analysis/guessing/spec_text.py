"""A spec as TOML: any name or path is written so that it is read back as it is, and nothing else with it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from curvcli.analysis.guessing.said import Guess
from curvcli.text import cut, printable

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_ESCAPES = {"\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r", '"': '\\"', "\\": "\\\\"}
_WIDE = 100
_LONG_COMMENT = 400


def toml_string(text: str) -> str:
    """A text in quotes; control characters, and those that turn the direction of writing, by their number."""
    return f'"{"".join(map(_escaped, text))}"'


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    return f"\\u{ord(character):04x}" if ord(character) < 1 << 16 else f"\\U{ord(character):08x}"


def toml_key(name: str) -> str:
    """A key, in quotes where it needs them."""
    return name if _BARE.fullmatch(name) else toml_string(name)


def toml_value(value: Any) -> str:
    """A number, a text, a flag, a list, or a table on one line."""
    match value:
        case bool():
            return str(value).lower()
        case str():
            return toml_string(value)
        case Mapping():
            return f"{{ {', '.join(f'{toml_key(key)} = {toml_value(one)}' for key, one in value.items())} }}"
        case list() | tuple():
            return _listed([toml_value(one) for one in value])
    return repr(value)


def _listed(values: Sequence[str]) -> str:
    line = f"[{', '.join(values)}]"
    if len(line) <= _WIDE:
        return line
    lines, width = [[]], 0  # type: list[list[str]], int
    for value in values:
        if width + len(value) > _WIDE and lines[-1]:
            lines.append([])
            width = 0
        lines[-1].append(value)
        width += len(value) + 2
    return "[\n" + "".join(f"    {', '.join(some)},\n" for some in lines) + "]"


def spec_text(tree: Mapping[str, Any], title: str, guesses: Sequence[Guess]) -> str:
    """The whole file.

    Args:
        tree: of the spec.
        title: its first line.
        guesses: those about a table stand above it.
    """
    lines = [_comment(title), "version = 1"]
    tables = list(_tables(tree))
    places = {place for place, _ in tables}
    for place, table in tables:
        lines += ["", *(_comment(one.text) for one in guesses if _table_of(one.place, places) == place)]
        lines.append(f"[{place}]")
        lines += [f"{toml_key(key)} = {toml_value(value)}" for key, value in table.items()]
    return "\n".join(lines) + "\n"


def _table_of(place: str, places: set[str]) -> str:
    """The table that a guess stands above: its own, or the one that its place begins with."""
    while place not in places and "." in place:
        place = place.rpartition(".")[0]
    return place if place in places else "source"


def _tables(tree: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name in ("source", "inputs", "target", "loss", "sampling"):
        table = tree.get(name)
        if table is None:
            continue
        if name == "inputs":
            for key, inner in table.items():
                yield f"inputs.{toml_key(key)}", inner
            continue
        nested = {key: one for key, one in table.items() if name == "source" and isinstance(one, Mapping)}
        yield name, {key: one for key, one in table.items() if key not in nested}
        for key, inner in nested.items():
            if all(isinstance(one, Mapping) for one in inner.values()):
                for column, entries in inner.items():
                    yield f"{name}.{key}.{toml_key(column)}", entries
            else:
                yield f"{name}.{key}", inner


def _comment(text: str) -> str:
    return f"# {cut(printable(text), _LONG_COMMENT)}"
