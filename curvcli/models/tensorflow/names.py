"""Names for the variables of a saved model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from curvcli.models.tensorflow.scopes import scopes_of


def unique_names(names: Iterable[str]) -> list[str]:
    """The names, with a number behind those that were there before."""
    unique: dict[str, None] = {}
    for name in names:
        number = 1
        chosen = name
        while chosen in unique:
            chosen, number = f"{name}_{number}", number + 1
        unique[chosen] = None
    return list(unique)


def variable_names(loaded: Any, signature: Any, variables: dict[int, Any]) -> dict[int, str]:
    """A name for every variable.

    Its own; of names that repeat, its place in the saved object; where that is a mere list, all have the scope of the
    operation that reads them.

    Args:
        loaded: the saved object.
        signature: a concrete function of it.
        variables: by the ``id`` of the handle that the signature captures.
    """
    written = {key: str(v.name).split(":")[0] for key, v in variables.items()}
    counts = Counter(written.values())
    if all(n == 1 for n in counts.values()):
        return written
    places = _object_paths(loaded, {id(v.handle): key for key, v in variables.items()})
    labels = {key: name.rpartition("/")[2] for key, name in written.items()}
    scopes = scopes_of(signature)
    scopes = {key: f"{scopes[key]}/{labels[key]}" for key in written if scopes.get(key)}
    repeated = [key for key, name in written.items() if counts[name] > 1]
    if any(key not in places or _is_listed(places[key]) for key in repeated) and scopes.keys() >= set(repeated):
        # A name of which there is one says no more of its layer than those that repeat.
        return dict(zip(written, unique_names(scopes.get(key, name) for key, name in written.items()), strict=True))
    chosen = (name if counts[name] == 1 else places.get(key, name) for key, name in written.items())
    return dict(zip(written, unique_names(chosen), strict=True))


def _is_listed(place: str) -> bool:
    """Whether a place is one in the lists that Keras's export keeps of all variables."""
    return place.split("/", maxsplit=1)[0] in ("variables", "trainable_variables", "non_trainable_variables")


def _object_paths(loaded: Any, handles: dict[int, int]) -> dict[int, str]:
    """The shortest attribute path to each variable, breadth first."""
    paths: dict[int, str] = {}
    visited: set[int] = set()
    queue: list[tuple[Any, tuple[str, ...]]] = [(loaded, ())]
    while queue:
        node, place = queue.pop(0)
        if id(node) in visited or not hasattr(node, "_trackable_children"):
            continue
        visited.add(id(node))
        for name, child in node._trackable_children().items():
            if name == "signatures" or name.startswith("_all_variables"):
                continue
            handle = getattr(child, "handle", None)
            key = handles.get(id(handle)) if handle is not None else None
            if key is not None and key not in paths:
                paths[key] = "/".join((*place, name.lstrip("_") or name))
            queue.append((child, (*place, name)))
    return paths
