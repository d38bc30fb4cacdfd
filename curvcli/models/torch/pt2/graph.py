"""An exported graph as a list of calls, read from an archive's JSON, and what it computes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import torch

from curvcli.models.torch.pt2.fields import MisfitError, only, shown, taken
from curvcli.models.torch.pt2.nested import AUTOCAST, NESTED
from curvcli.models.torch.pt2.operators import Operator, operator_of
from curvcli.models.torch.pt2.tensors import dtype_of

_FORMATS: Final = {
    1: torch.contiguous_format,
    2: torch.channels_last,
    3: torch.channels_last_3d,
    4: torch.preserve_format,
}
_NOT_FINITE: Final = {"Infinity": float("inf"), "-Infinity": -float("inf"), "NaN": float("nan")}
_STRIDED: Final = 7
_DEEPEST: Final = 20


@dataclass(frozen=True)
class Reference:
    """The value that a node computed under a name."""

    name: str


@dataclass(frozen=True)
class Node:
    """One call.

    Attributes:
        operator: what is called.
        arguments: in order; plain values, references, graphs, and lists of them.
        keywords: likewise, by name.
        output: what the returned value is called: a reference, or a list of them where it is a list.
        modules: the modules that the call belongs to, the innermost last: path and class.
    """

    operator: Operator
    arguments: tuple[Any, ...]
    keywords: Mapping[str, Any]
    output: Any
    modules: tuple[tuple[str, str], ...] = ()

    def argument(self, name: str) -> Any:
        """The argument of some name; None if it is left out."""
        names = self.operator.positional or ()
        place = names.index(name) if name in names else len(self.arguments)
        return self.arguments[place] if place < len(self.arguments) else self.keywords.get(name)


@dataclass(frozen=True)
class Graph:
    """Calls in their order.

    Attributes:
        inputs: references, or plain values that are always the same.
        nodes: the calls.
        outputs: references, or plain values.
        last_used: the names that no node after this one reads, per node.
    """

    inputs: tuple[Any, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[Any, ...]
    last_used: tuple[tuple[str, ...], ...] = field(repr=False)

    def __call__(self, *values: Any) -> list[Any]:
        """What the calls compute for values of the inputs."""
        computed: dict[str, Any] = {}
        for one, value in zip(self.inputs, values, strict=True):
            _bind(one, value, computed)
        for node, over in zip(self.nodes, self.last_used, strict=True):
            keywords = {name: _filled(value, computed) for name, value in node.keywords.items()}
            returned = node.operator.function(*(_filled(value, computed) for value in node.arguments), **keywords)
            _bind(node.output, returned, computed)
            for name in over:
                computed.pop(name, None)
        return [_filled(one, computed) for one in self.outputs]

    def all_nodes(self) -> Iterator[Node]:
        """Its nodes, those of the graphs within them included."""
        for node in self.nodes:
            yield node
            yield from inner_nodes(node)


def inner_nodes(node: Node) -> Iterator[Node]:
    """The nodes of the graphs that a node takes as arguments, and of those within them."""
    for inner in _within(node.arguments):
        yield from inner.all_nodes()


def graph_of(nodes: Sequence[Node], inputs: Sequence[Any], outputs: Sequence[Any]) -> Graph:
    """A graph in which every value is dropped after its last use.

    Raises:
        MisfitError: a value is read before it is computed.
    """
    last: dict[str, int] = {}
    computed = set(_names(inputs))
    for i, node in enumerate(nodes):
        for name in _names([node.arguments, list(node.keywords.values())]):
            if name not in computed:
                raise MisfitError(f"its graph reads {shown(name)} before it is computed")
            last[name] = i
        for name in _names(node.output):
            computed.add(name)
            last[name] = i
    if not computed.issuperset(_names(outputs)):
        raise MisfitError("its graph returns what it does not compute")
    over: list[list[str]] = [[] for _ in nodes]
    for name in last.keys() - set(_names(outputs)):
        over[last[name]].append(name)
    return Graph(tuple(inputs), tuple(nodes), tuple(outputs), tuple(tuple(sorted(names)) for names in over))


def _names(value: Any) -> Iterator[str]:
    if isinstance(value, Reference):
        yield value.name
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _names(one)
    elif isinstance(value, dict):
        yield from _names(list(value.values()))


def _within(value: Any) -> Iterator[Graph]:
    if isinstance(value, Graph):
        yield value
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _within(one)


def _filled(value: Any, computed: Mapping[str, Any]) -> Any:
    if isinstance(value, Reference):
        return computed[value.name]
    if isinstance(value, list):
        return [_filled(one, computed) for one in value]
    if isinstance(value, dict):
        return {name: _filled(one, computed) for name, one in value.items()}
    return value


def _bind(output: Any, value: Any, computed: dict[str, Any]) -> None:
    if isinstance(output, Reference):
        computed[output.name] = value
    elif isinstance(output, list):
        if not isinstance(value, list | tuple) or len(value) != len(output):
            raise RuntimeError("an operation returns another number of tensors than when the model was exported")
        for one, part in zip(output, value, strict=True):
            _bind(one, part, computed)


class GraphReader:
    """Reads graphs, with dtypes and devices that are written in them replaced.

    Attributes:
        replaced: the dtypes that were replaced, those of autocast regions included.
    """

    def __init__(self, dtypes: Mapping[torch.dtype, torch.dtype], device: torch.device) -> None:
        """Say what takes the place of what.

        Args:
            dtypes: what takes the place of some dtypes.
            device: what takes the place of every device.
        """
        self._dtypes, self._device = dtypes, device
        self._depth = 0
        self.replaced: set[torch.dtype] = set()

    def graph(self, record: Any) -> Graph:
        """A graph.

        Raises:
            MisfitError: it is no graph, or uses what is not on the lists.
        """
        if self._depth == _DEEPEST:
            raise MisfitError("its graphs are nested too deep")
        self._depth += 1
        nodes = [self._node(one) for one in taken(record, "nodes", list)]
        inputs, outputs = ([self.value(one) for one in taken(record, key, list)] for key in ("inputs", "outputs"))
        self._depth -= 1
        return graph_of(nodes, inputs, outputs)

    def _node(self, record: Any) -> Node:
        operator = operator_of(taken(record, "target", str))
        inputs = taken(record, "inputs", list)
        if operator.target == AUTOCAST:
            inputs = _without_idle_dtype(inputs)
        pairs = [(taken(one, "name", str), self.value(one.get("arg"))) for one in inputs]
        arguments, keywords = _arranged(operator, pairs, record)
        output = [self.value(one) for one in taken(record, "outputs", list)]
        nothing = all(one is None for one in output)
        single = len(output) == 1 and operator.target not in NESTED
        metadata = record.get("metadata")
        return Node(
            operator,
            arguments,
            keywords,
            None if nothing else output[0] if single else output,
            modules_of(metadata.get("nn_module_stack")) if isinstance(metadata, dict) else (),
        )

    def value(self, record: Any) -> Any:
        """A plain value, a reference, a graph, or a list of them.

        Raises:
            MisfitError: it is none of these.
        """
        kind, value = only(record)
        match kind:
            case "as_none":
                return None
            case "as_tensor":
                return Reference(taken(value, "name", str))
            case "as_int" | "as_float" | "as_bool":
                return _plain(value)
            case "as_string":
                return _text(value)
            case "as_sym_int" | "as_sym_float" | "as_sym_bool" | "as_optional_tensor":
                return self.value(value)
            case "as_name":
                return Reference(_text(value))
            case "as_scalar_type":
                dtype = dtype_of(value)
                if dtype in self._dtypes:
                    self.replaced.add(dtype)
                return self._dtypes.get(dtype, dtype)
            case "as_memory_format" if value in _FORMATS:
                return _FORMATS[value]
            case "as_layout" if value == _STRIDED:
                return torch.strided
            case "as_device":
                return self._device
            case "as_complex":
                return complex(_plain(taken(value, "real", object)), _plain(taken(value, "imag", object)))
            case "as_graph":
                return self.graph(taken(value, "graph", dict))
            case "as_string_to_argument" if isinstance(value, dict):
                return {name: self.value(one) for name, one in value.items()}
        if isinstance(value, list):
            match kind:
                case "as_tensors":
                    return [Reference(taken(one, "name", str)) for one in value]
                case "as_nested_tensors":
                    return [[Reference(taken(one, "name", str)) for one in part] for part in value]
                case "as_ints" | "as_floats" | "as_bools":
                    return [_plain(one) for one in value]
                case "as_strings":
                    return [_text(one) for one in value]
                case "as_sym_ints" | "as_sym_floats" | "as_sym_bools" | "as_optional_tensors":
                    return [self.value(one) for one in value]
                case "as_int_lists" | "as_float_lists":
                    return [[_plain(one) for one in part] for part in value]
        raise MisfitError(f"its graph has a value of a kind that curvcli does not read ({shown(kind)})")


def _without_idle_dtype(inputs: list[Any]) -> list[Any]:
    """The inputs of an autocast region (device, dtype, enabled, …); one that is switched off rounds to no dtype."""
    off = len(inputs) > 2 and isinstance(inputs[2], dict) and inputs[2].get("arg") == {"as_bool": False}
    return [{**one, "arg": {"as_none": True}} if off and i == 1 else one for i, one in enumerate(inputs)]


def _plain(value: Any) -> Any:
    if isinstance(value, str) and value in _NOT_FINITE:
        return _NOT_FINITE[value]
    if not isinstance(value, bool | int | float):
        raise MisfitError("its graph has a number that is none")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise MisfitError("its graph has a text that is none")
    return value


def _arranged(
    operator: Operator, pairs: Sequence[tuple[str, Any]], record: Any
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments in the operator's order as far as they go without a gap, and the others by name."""
    if operator.positional is None:
        kinds = [one.get("kind") for one in record["inputs"]]
        by_name = [bool(name) and kind == 2 for (name, _), kind in zip(pairs, kinds, strict=True)]
        in_order = tuple(value for (_, value), named in zip(pairs, by_name, strict=True) if not named)
        return in_order, {name: value for (name, value), named in zip(pairs, by_name, strict=True) if named}
    named = dict(pairs)
    if len(named) < len(pairs) or not named.keys() <= {*operator.positional, *operator.keywords}:
        raise MisfitError(f"{shown(operator.name)} has arguments that this torch does not know")
    arguments = []
    for name in operator.positional:
        if name not in named:
            break
        arguments.append(named.pop(name))
    if named.get("pin_memory"):
        named["pin_memory"] = False
    return tuple(arguments), named


def modules_of(stack: Any) -> tuple[tuple[str, str], ...]:
    """Paths and classes of the modules that a node's metadata name: ``key,path,class;key,path,class``."""
    parts = (one.split(",") for one in stack.split(";")) if isinstance(stack, str) else ()
    return tuple((part[1], part[2].rpartition(".")[2]) for part in parts if len(part) == 3)
