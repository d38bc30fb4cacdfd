"""Names for what a model returns: the keys, fields and positions that lead to it in whatever it was returned in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

from curvcli.models.torch.pt2.fields import MisfitError

_DEEPEST: Final = 20
_LONGEST: Final = 200


def leaf_names(spec: Any, fields: Any) -> list[str]:
    """The names of a tree's leaves in their order, parts joined by dots; one empty name for a lone tensor.

    Args:
        spec: as torch.export writes it: JSON of version 1.
        fields: the fields of named tuples, by type.

    Raises:
        MisfitError: it is no such tree.
    """
    try:
        version, tree = json.loads(spec)
    except (TypeError, ValueError) as error:
        raise MisfitError("what the model returns is not described as torch.export does") from error
    if version != 1:
        raise MisfitError("what the model returns is described in a way that curvcli does not read")
    return [".".join(path) for path in _paths(tree, fields if isinstance(fields, dict) else {}, 0)]


def _paths(tree: Any, fields: dict[str, Any], depth: int) -> Iterator[tuple[str, ...]]:
    if not isinstance(tree, dict) or not isinstance(tree.get("children_spec"), list) or depth > _DEEPEST:
        raise MisfitError("what the model returns is not described as torch.export does")
    if tree.get("type") is None:
        yield ()
        return
    children = tree["children_spec"]
    for key, child in zip(_keys(tree, fields, len(children)), children, strict=True):
        for path in _paths(child, fields, depth + 1):
            yield (key, *path)


def _keys(tree: dict[str, Any], fields: dict[str, Any], count: int) -> list[str]:
    """What the children of a node are called; their positions where nothing says more."""
    context = tree.get("context")
    if isinstance(context, str):
        with suppress(ValueError):
            context = json.loads(context)
    named = fields.get(context) if isinstance(context, str) else None
    for keys in (named.get("field_names") if isinstance(named, dict) else None, *_lists(context, 0)):
        if (
            isinstance(keys, list)
            and len(keys) == count
            and all(map(_is_key, keys))
            and len(set(map(str, keys))) == count
        ):
            return [str(key) for key in keys]
    return [str(i) for i in range(count)]


def _lists(value: Any, depth: int) -> Iterator[list[Any]]:
    """The lists in a context, the outer first: a dictionary's keys, or a class's fields among other things."""
    if isinstance(value, list) and depth < _DEEPEST:
        yield value
        for one in value:
            yield from _lists(one, depth + 1)


def _is_key(key: Any) -> bool:
    return isinstance(key, str | int) and 0 < len(str(key)) < _LONGEST and str(key).isprintable()
