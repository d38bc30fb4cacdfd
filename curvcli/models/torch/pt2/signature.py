"""What goes into an exported graph and what comes out of it, by name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch

from curvcli.models.torch.pt2.conditions import Condition, conditions_of
from curvcli.models.torch.pt2.fields import MisfitError, only, shown, taken
from curvcli.models.torch.pt2.tensors import dtype_of
from curvcli.models.torch.pt2.trees import leaf_names

_SYMBOL: Final = re.compile(r"(?:Symbol\(')?(\w+)(?:', (?:positive|integer|nonnegative|, |=|True|False)+\))?$")


@dataclass(frozen=True)
class Held:
    """A parameter, buffer or constant that the file has."""

    name: str
    is_parameter: bool


@dataclass(frozen=True)
class Fed:
    """A tensor that the model is called with.

    Attributes:
        name: the argument's; those within a dictionary or list have it before their key.
        dtype: of its numbers.
        sizes: a number where it is always the same, a word where the same word has the same size, None for any.
    """

    name: str
    dtype: torch.dtype
    sizes: tuple[int | str | None, ...]


@dataclass(frozen=True)
class Fixed:
    """An argument that was a plain value or None when the model was exported, and always is."""


@dataclass(frozen=True)
class Returned:
    """A value that the model returns.

    Attributes:
        name: the keys and positions that lead to it; empty if it is all that is returned.
        place: among the graph's outputs.
        dtype: of its numbers; None if it is no tensor.
        sizes: see `Fed`.
    """

    name: str
    place: int
    dtype: torch.dtype | None
    sizes: tuple[int | str | None, ...]


@dataclass(frozen=True)
class Signature:
    """Of a graph.

    Attributes:
        inputs: one for each of the graph's.
        outputs: those of the model; a graph may return more.
        limits: the smallest and the largest size that a word of the inputs' sizes may stand for; None for any.
        conditions: on the inputs' shapes.
    """

    inputs: tuple[Held | Fed | Fixed, ...]
    outputs: tuple[Returned, ...]
    limits: Mapping[str, tuple[int | None, int | None]]
    conditions: tuple[Condition, ...] = ()

    @property
    def fed(self) -> tuple[Fed, ...]:
        """The inputs that the model is called with."""
        return tuple(one for one in self.inputs if isinstance(one, Fed))

    @property
    def samples(self) -> int | None:
        """The number of samples that every call has to have; None if it is free."""
        sizes = {one.sizes[0] for one in self.fed if one.sizes}
        only_one = sizes.pop() if len(sizes) == 1 else None
        return only_one if isinstance(only_one, int) else None


def signature_of(model: Mapping[str, Any]) -> Signature:
    """The signature in an archive's JSON.

    Raises:
        MisfitError: it is damaged, or has what curvcli can't feed.
    """
    module = taken(model, "graph_module", dict)
    graph, signature = taken(module, "graph", dict), taken(module, "signature", dict)
    values = taken(graph, "tensor_values", dict)
    inputs = tuple(_input(one, values) for one in taken(signature, "input_specs", list))
    names = [one.name for one in inputs if isinstance(one, Fed)]
    if len(set(names)) < len(names) or len(inputs) != len(taken(graph, "inputs", list)):
        raise MisfitError("its inputs do not fit its graph")
    conditions = conditions_of(model.get("guards_code", []), frozenset(names))
    return Signature(inputs, tuple(_outputs(module, values, signature)), dict(_limits(model)), conditions)


def _input(spec: Any, values: Mapping[str, Any]) -> Held | Fed | Fixed:
    kind, value = only(spec)
    match kind:
        case "parameter":
            return Held(taken(value, "parameter_name", str), is_parameter=True)
        case "buffer":
            return Held(taken(value, "buffer_name", str), is_parameter=False)
        case "tensor_constant":
            return Held(taken(value, "tensor_constant_name", str), is_parameter=False)
        case "constant_input":
            return Fixed()
        case "user_input":
            kind, argument = only(taken(value, "arg", dict))
            if kind == "as_tensor":
                name = taken(argument, "name", str)
                if not name.isidentifier():
                    raise MisfitError(f"an input is called {shown(name)}, which is no name")
                return Fed(name, *_meta(values, name))
            if kind in ("as_none", "as_int", "as_float", "as_bool", "as_string"):
                return Fixed()
            raise MisfitError(
                f"an input is no tensor but a number of its own ({shown(argument)}), which no data can be fed to"
            )
    raise MisfitError(f"its graph takes a {shown(kind)}, which curvcli never opens: it may be pickled")


def _meta(values: Mapping[str, Any], name: str) -> tuple[torch.dtype, tuple[int | str | None, ...]]:
    meta = taken(values, name, dict)
    return dtype_of(taken(meta, "dtype", int)), tuple(map(_size, taken(meta, "sizes", list)))


def _size(record: Any) -> int | str | None:
    kind, value = only(record)
    if kind == "as_int" and isinstance(value, int):
        return value
    match = _SYMBOL.match(taken(value, "expr_str", str)) if kind == "as_expr" else None
    return None if match is None else match[1]


def _limits(model: Mapping[str, Any]) -> Iterator[tuple[str, tuple[int | None, int | None]]]:
    for name, limit in taken(model, "range_constraints", dict).items():
        smallest, largest = (limit.get(key) if isinstance(limit, dict) else None for key in ("min_val", "max_val"))
        yield (
            name,
            (smallest if isinstance(smallest, int) else None, largest if isinstance(largest, int) else None),
        )


def _outputs(module: Mapping[str, Any], values: Mapping[str, Any], signature: Mapping[str, Any]) -> Iterator[Returned]:
    places, metas = [], []
    for place, spec in enumerate(taken(signature, "output_specs", list)):
        kind, value = only(spec)
        if kind == "user_output":
            kind, argument = only(taken(value, "arg", dict))
            places.append(place)
            metas.append(_meta(values, taken(argument, "name", str)) if kind == "as_tensor" else (None, ()))
        elif kind not in ("buffer_mutation", "user_input_mutation"):
            raise MisfitError(
                f"its graph returns a {shown(kind)}: it was exported together with its derivatives, not as a network"
            )
    entries = taken(module, "module_call_graph", list)
    call = next((one.get("signature") for one in entries if isinstance(one, dict) and one.get("fqn") == ""), None)
    names = leaf_names(taken(call, "out_spec", str), module.get("treespec_namedtuple_fields"))
    if len(names) != len(places) or len(set(names)) < len(names):
        raise MisfitError("what it returns does not fit its graph")
    for name, place, (dtype, sizes) in zip(names, places, metas, strict=True):
        yield Returned(name, place, dtype, sizes)
