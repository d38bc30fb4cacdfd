"""Chooses layers by name: exact names, parts of a path, globs and regular expressions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

from curvcli.errors import UsageError
from curvcli.spec.mistakes import listed
from curvcli.text import nearest


def select(
    names: Sequence[str], include: Sequence[str] = (), exclude: Sequence[str] = (), *, noun: str = "layer"
) -> list[int]:
    """Which of ``names`` the patterns choose.

    A pattern is, tried in this order:

    - ``re:REGEX``, found anywhere in the name;
    - an exact name, which then means this one only;
    - a glob (``*``, ``?``, ``[…]``), for the whole name, its end from any component on, or any one component;
    - one or several components of the path, split at ``/`` and ``.``: ``conv4_3`` finds ``vgg_16/conv4/conv4_3``,
      ``conv4`` everything below ``vgg_16/conv4``. They must all lie at one place of the tree.

    Args:
        names: in model order.
        include: patterns; all names if empty.
        exclude: patterns of what is taken out again.
        noun: what a name stands for, in messages; also ``parameter``.

    Returns:
        Positions in ``names``, ascending, at least one.

    Raises:
        UsageError: a pattern matches nothing or is ambiguous, a regular expression is wrong, or nothing is left.
    """
    chosen = {i for pattern in include for i in _matches(names, pattern, noun)} if include else set(range(len(names)))
    excluded = {i for pattern in exclude for i in _matches(names, pattern, noun)}
    left = sorted(chosen - excluded)
    if not left:
        why = f"all {len(chosen)} chosen {noun}s are excluded" if chosen else f"the model has no {noun}s"
        raise UsageError(f"No {noun} is left: {why}.\n`curvcli layers MODEL` lists them.")
    return left


def _matches(names: Sequence[str], pattern: str, noun: str) -> list[int]:
    if pattern.startswith("re:"):
        positions = _regex(names, pattern.removeprefix("re:"), noun)
    elif pattern in names:
        positions = [i for i, name in enumerate(names) if name == pattern]
    elif any(c in pattern for c in "*?["):
        positions = [i for i, name in enumerate(names) if _glob(name, pattern)]
    else:
        positions = _path(names, pattern, noun)
    if not positions:
        raise UsageError(f"No {noun} matches {pattern!r}. {_nearest(names, pattern)}")
    return positions


def _components(name: str) -> list[str]:
    return [c for c in re.split(r"[/.]", name) if c]


def _regex(names: Sequence[str], regex: str, noun: str) -> list[int]:
    try:
        compiled = re.compile(regex)
    except re.error as error:
        raise UsageError(f"The {noun} pattern 're:{regex}' is no regular expression: {error}.") from None
    return [i for i, name in enumerate(names) if compiled.search(name)]


def _glob(name: str, pattern: str) -> bool:
    ends = [name, *(name[m.end() :] for m in re.finditer(r"[/.]", name))]
    return any(fnmatchcase(text, pattern) for text in [*ends, *_components(name)])


def _path(names: Sequence[str], pattern: str, noun: str) -> list[int]:
    """The names with these components in a row; they must share the path that leads there."""
    wanted = _components(pattern)
    places: dict[int, tuple[str, ...]] = {}
    for i, name in enumerate(names):
        path = _components(name)
        ends = [k for k in range(len(wanted), len(path) + 1) if path[k - len(wanted) : k] == wanted]
        if wanted and ends:
            places[i] = tuple(path[: ends[0]])
    if len(set(places.values())) > 1:
        raise UsageError(
            f"{pattern!r} is ambiguous: it matches {listed([names[i] for i in places], last='and')}.\n"
            f"Give the full name, or a glob such as '*{pattern}*' for all of them."
        )
    return list(places)


def _nearest(names: Sequence[str], pattern: str) -> str:
    """The names whose own or whose components' spelling comes closest, for the end of a message."""
    wanted = pattern.removeprefix("re:").strip("*?^$")
    spellings: dict[str, list[str]] = {}
    for name in names:
        for spelling in {name, *_components(name)}:
            spellings.setdefault(spelling, []).append(name)
    near = [name for s in nearest(wanted, spellings) for name in spellings[s]]
    if near:
        return f"Nearest: {listed(list(dict.fromkeys(near)), last='and', most=5)}."
    return f"There are {listed(names, last='and', most=5)}." if names else "The model has none."
