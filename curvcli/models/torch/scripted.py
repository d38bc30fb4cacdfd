"""A TorchScript module's ``forward`` as a program of its own, so that it can be changed while the file's stays."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import Tensor

from curvcli.models.torch.placed import put_on
from curvcli.models.torch.program import FinalOperation
from curvcli.models.torch.rewrite import all_nodes, constant, halves, rewrite, widen

_NORMALISERS: Final = {"aten::softmax": "softmax", "aten::log_softmax": "log_softmax", "aten::sigmoid": "sigmoid"}
# What may stand after a normaliser and is as good before it; entries are moved or repeated, none is changed.
_MOVES_ENTRIES: Final = frozenset(
    f"aten::{name}"
    for name in (
        "squeeze unsqueeze view reshape flatten unflatten transpose permute movedim contiguous clone alias t select "
        "slice expand view_as reshape_as"
    ).split()
)
_BY_ONE: Final = frozenset({"aten::mul", "aten::div"})
_NORM_BACKWARD: Final = re.compile(r"(?:native_|cudnn_|miopen_)?(?:layer|batch|group)_norm_backward")
# How a schema marks a tensor that the operation changes.
_CHANGED: Final = re.compile(r"Tensor\(\w+!")


@contextmanager
def script_errors() -> Iterator[None]:
    """What TorchScript's interpreter raises is no RuntimeError; outside this file it is one."""
    try:
        yield
    except torch.jit.Error as error:
        raise RuntimeError(str(error)) from error


class ScriptProgram:
    """The graph of a module's ``forward``, with all that it calls (see ``program.Program``).

    Attributes:
        graph: what is run.
        changed: whether operations were replaced by equal ones.
        halves: whether the file's own function computes in 16 bits somewhere.
    """

    def __init__(self, module: Any, dtype: torch.dtype, device: torch.device) -> None:
        """Copy the graph, and make numbers written in it as precise as ``dtype``, on the device."""
        graph = module.forward.graph.copy()
        torch._C._jit_pass_inline(graph)
        _silence(graph)
        _settle_training(graph)
        kinds = {node.kind() for node in all_nodes(graph)}
        self.branches = bool(kinds & {"prim::If", "prim::Loop"})
        self.random = tuple(sorted({_told(node) for node in all_nodes(graph) if _draws(node)}))
        self.complex = any(re.search("complex|fft|polar|stft", kind) for kind in kinds)
        self.recurrent = "aten::lstm" in kinds
        self.batch_statistics = any(_uses_batch(node) for node in all_nodes(graph))
        self.samples: int | None = None
        self.halves = halves(graph)
        self.changed = any([rewrite(graph), widen(graph, dtype)])
        put_on(graph, device)
        self._arguments = _arguments(module)
        self.inputs = tuple(a.name for a in module.forward.schema.arguments[1:] if not a.has_default_value())
        self._module, self.graph = module, graph
        self._function = torch._C._create_function_from_graph("forward", graph)

    def __call__(self, arguments: Mapping[str, Tensor], *, whole: bool = False) -> Any:
        del whole  # a script takes any number of samples: nothing is filled up
        values = (arguments.get(name, default) for name, default in self._arguments)
        with script_errors():
            return self._function(self._module, *values)

    def final(self, output: str | None) -> FinalOperation | None:
        graph = self.graph.copy()
        place = _returned(graph, output)
        if place is None:
            return None
        reader, index = place
        while (node := reader.inputsAt(index).node()).kind() not in _NORMALISERS:
            if not _moves_entries(node):
                return None
            reader, index = node, 0
        nodes = list(all_nodes(graph))
        if any(map(_changes, nodes[nodes.index(node) + 1 :])):
            return None  # what the normaliser reads or returns may be changed in place since, or seen otherwise
        name = _NORMALISERS[node.kind()]
        reader.replaceInput(index, node.inputsAt(0))
        return FinalOperation(name, self._with(graph))

    def _with(self, graph: Any) -> ScriptProgram:
        program = object.__new__(ScriptProgram)
        program.__dict__.update(self.__dict__)
        program.graph, program._function = graph, torch._C._create_function_from_graph("forward", graph)
        return program


def _arguments(module: Any) -> tuple[tuple[str, Any], ...]:
    """Names and defaults."""
    schema = module.forward.schema.arguments[1:]
    return tuple((a.name, a.default_value if a.has_default_value() else None) for a in schema)


def as_saved(module: Any, device: torch.device) -> Callable[[Mapping[str, Tensor]], Any]:
    """The module's own ``forward``, its tensors made on the device."""
    graph = module.forward.graph.copy()
    torch._C._jit_pass_inline(graph)
    put_on(graph, device)
    function, arguments = torch._C._create_function_from_graph("forward", graph), _arguments(module)

    def run(values: Mapping[str, Tensor]) -> Any:
        with script_errors():
            return function(module, *(values.get(name, default) for name, default in arguments))

    return run


def derivative_of(graph: Any) -> str | None:
    """The first operation in a graph that is another's derivative, and has itself no right one to the second order."""
    inlined = graph.copy()
    torch._C._jit_pass_inline(inlined)
    names = (node.kind().removeprefix("aten::") for node in all_nodes(inlined))
    return next((name for name in names if _NORM_BACKWARD.match(name)), None)


def _silence(graph: Any) -> None:
    """Take out what prints: it would print in every pass, among the results."""
    for node in list(all_nodes(graph)):
        if node.kind() == "prim::Print":
            node.destroy()


def _settle_training(graph: Any) -> None:
    """Put in what ``training`` is after ``eval()``, and drop the ways that are never taken then."""
    for node in all_nodes(graph):
        if node.kind() == "prim::GetAttr" and node.s("name") == "training" and str(node.output().type()) == "bool":
            graph.setInsertPoint(node)
            node.output().replaceAllUsesWith(graph.insertConstant(False))
            graph.setInsertPoint(graph.return_node())
    for _ in range(2):
        torch._C._jit_pass_constant_propagation_immutable_types(graph)  # type: ignore[attr-defined]
        torch._C._jit_pass_peephole(graph)


def _moves_entries(node: Any) -> bool:
    if node.kind() in _BY_ONE and node.inputsSize() == 2:
        factor = constant(node.inputsAt(1))
        return isinstance(factor, int | float) and factor == 1
    return node.kind() in _MOVES_ENTRIES


def _changes(node: Any) -> bool:
    """Whether an operation changes one of its tensors in place."""
    return _CHANGED.search(node.schema()) is not None


def _returned(graph: Any, output: str | None) -> tuple[Any, int] | None:
    """Who reads the value of an output (the return itself, or what makes a tuple or dictionary), and at which place."""
    node = graph.return_node()
    if node.inputsSize() != 1:
        return None
    made = node.inputsAt(0).node()
    names: Sequence[str]
    if made.kind() == "prim::TupleConstruct":
        names = re.findall(r"(\w+) : ", made.output().type().str()) or [str(i) for i in range(made.inputsSize())]
        places = list(range(made.inputsSize()))
    elif made.kind() == "prim::DictConstruct":
        places = list(range(1, made.inputsSize(), 2))
        names = [str(constant(made.inputsAt(i - 1))) for i in places]
    else:
        return node, 0
    if output in (None, "output") and len(names) == 1:
        return made, places[0]
    return next(((made, place) for name, place in zip(names, places, strict=False) if name == output), None)


def _argument(node: Any, name: str) -> Any:
    """A constant argument of an operation, by its name in the operation's schema; None where it is none."""
    signature = node.schema()
    if signature == "(no schema)":
        return None
    for place, argument in enumerate(torch._C.parse_schema(signature).arguments):
        if argument.name == name and place < node.inputsSize():
            return constant(node.inputsAt(place))
    return None


def _draws(node: Any) -> bool:
    if node.kind() in ("aten::scaled_dot_product_attention", "aten::_scaled_dot_product_attention"):
        return bool(_argument(node, "dropout_p") != 0)
    if node.kind() in ("aten::lstm", "aten::gru", "aten::rnn_tanh", "aten::rnn_relu"):
        return bool(_argument(node, "dropout") != 0) and _argument(node, "train") is not False
    if node.kind().rstrip("_").endswith(("dropout", "aten::rrelu")):
        named = _argument(node, "train")
        return (_argument(node, "training") if named is None else named) is not False
    return bool(node.isNondeterministic())


def _told(node: Any) -> str:
    name = node.kind().removeprefix("aten::").rstrip("_")
    return f"{name}(training=True)" if name.endswith("dropout") or name == "rrelu" else name


def _uses_batch(node: Any) -> bool:
    """Whether a batch norm takes the statistics of the batch though it has some of its own, as in training mode.

    One without any (``track_running_stats=False``) has no other mode: its samples influence each other by definition.
    """
    if "batch_norm" not in node.kind() or _argument(node, "training") is False:
        return False
    return not node.inputsAt(3).node().mustBeNone()
