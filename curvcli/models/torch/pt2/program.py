"""An exported graph as a program: what is fed to it is held against what it was exported for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import torch
from torch import Tensor

from curvcli.models.torch.program import FinalOperation
from curvcli.models.torch.pt2.fields import shown
from curvcli.models.torch.pt2.graph import Graph, Node, Reference, graph_of, inner_nodes
from curvcli.models.torch.pt2.nested import BRANCHING
from curvcli.models.torch.pt2.padding import check_apart, otherwise_padded, padded, unpadded
from curvcli.models.torch.pt2.signature import Fed, Held, Signature

_NORMALISERS: Final = {
    "softmax.int": "softmax",
    "_softmax": "softmax",
    "special_softmax": "softmax",
    "log_softmax.int": "log_softmax",
    "_log_softmax": "log_softmax",
    "special_log_softmax": "log_softmax",
    "sigmoid": "sigmoid",
    "special_expit": "sigmoid",
}
# What may stand after a normaliser and is as good before it; entries are moved or repeated, none is changed.
_MOVES_ENTRIES: Final = frozenset(
    "squeeze unsqueeze view reshape flatten unflatten transpose permute movedim contiguous clone alias t select slice "
    "expand view_as reshape_as _unsafe_view".split()
)
_BY_ONE: Final = frozenset({"mul", "div"})
_BATCH_NORMS: Final = re.compile(r"(?:_?native_|cudnn_|miopen_|_)?batch_norm(?!_elemt|_stats|_update)")


class ExportedProgram:
    """A graph with the tensors that the file has for it (see ``program.Program``).

    Attributes:
        signature: of the graph.
    """

    def __init__(self, graph: Graph, signature: Signature, tensors: Mapping[str, Tensor]) -> None:
        """Take it as it is.

        Args:
            graph: of the model.
            signature: of the graph.
            tensors: parameters, buffers and constants, by name.
        """
        nodes = list(graph.all_nodes())
        self.branches = any(node.operator.target in BRANCHING for node in nodes)
        self.random = tuple(sorted({_told(node) for node in nodes if _draws(node)}))
        self.complex = any(t.is_complex() for t in tensors.values()) or any(
            re.search("complex|fft|polar|stft", node.operator.name) for node in nodes
        )
        self.recurrent = any(node.operator.name.startswith("lstm") for node in nodes)
        self.batch_statistics = any(map(_uses_batch, nodes))
        self.samples = signature.samples
        self.inputs = tuple(one.name for one in signature.fed)
        self.signature = signature
        self._graph, self._tensors = graph, tensors
        self._mutates = self.batch_statistics or any(node.operator.mutates for node in nodes)
        # By the samples of a short batch, the places of outputs that are not theirs alone.
        self._padded: dict[int, set[int]] = {}

    def __call__(self, arguments: Mapping[str, Tensor], *, whole: bool = False) -> Any:
        arguments = {one.name: _typed(one, arguments[one.name]) for one in self.signature.fed}
        count = next((len(arguments[one.name]) for one in self.signature.fed if one.sizes), None)
        short = self.samples is not None and count is not None and 0 < count < self.samples
        if not short or self.samples is None or count is None:
            return self._named(self._run(arguments))
        rows = self._run(padded(arguments, self.samples))
        own = unpadded(rows, count, self.samples)
        if count not in self._padded or self.branches:
            self._padded[count] = self._not_of_samples(arguments, own, count, self.samples)
        without = self._padded[count].union(i for i, one in enumerate(own) if one is None)
        return self._named([None if i in without else one for i, one in enumerate(rows if whole else own)])

    def _not_of_samples(self, arguments: Mapping[str, Tensor], own: list[Any], count: int, samples: int) -> set[int]:
        """The places of outputs that change with what a batch is filled up with; see `check_apart`."""
        places: set[int] = set()
        with torch.no_grad(), torch.random.fork_rng(enabled=bool(self.random)):
            if self.random:
                torch.manual_seed(0)
                own = unpadded(self._run(padded(arguments, samples)), count, samples)
            for filled in otherwise_padded(arguments, samples):
                if self.random:
                    torch.manual_seed(0)
                try:
                    whole = self._run(filled)
                except RuntimeError:
                    continue  # what is put together by chance need be no sample
                places |= check_apart(own, unpadded(whole, count, samples), count, samples)
        return places

    def _run(self, arguments: Mapping[str, Tensor]) -> list[Any]:
        """What is returned, in the order of the signature."""
        _check_sizes(self.signature, arguments)
        _check_conditions(self.signature, arguments)
        values: list[Any] = []
        parameters = []
        for one, fixed in zip(self.signature.inputs, self._graph.inputs, strict=True):
            if isinstance(one, Held):
                tensor = self._tensors[one.name]
                if one.is_parameter:
                    parameters.append(tensor)
                # What is changed in a call must be as it was in the next.
                values.append(tensor.clone() if self._mutates and not one.is_parameter else tensor)
            else:
                values.append(arguments[one.name] if isinstance(one, Fed) else fixed)
        versions = [tensor._version for tensor in parameters]
        try:
            returned = self._graph(*values)
        except (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise RuntimeError(f"{type(error).__name__}: {error}") from error
        if versions != [tensor._version for tensor in parameters]:
            raise RuntimeError("the model changes its own parameters when it is called")
        return [returned[one.place] for one in self.signature.outputs]

    def _named(self, values: list[Any]) -> Any:
        names = [one.name for one in self.signature.outputs]
        return values[0] if names == [""] else dict(zip(names, values, strict=True))

    def final(self, output: str | None) -> FinalOperation | None:
        place = self._place(output)
        if place is None:
            return None
        made = {node.output.name: i for i, node in enumerate(self._graph.nodes) if isinstance(node.output, Reference)}
        value = self._graph.outputs[place]
        while isinstance(value, Reference) and value.name in made:
            node = self._graph.nodes[made[value.name]]
            if not node.arguments:
                return None
            if node.operator.name in _NORMALISERS:
                if any(map(_changes, self._graph.nodes[made[value.name] + 1 :])):
                    return None  # what the normaliser reads or returns may be changed in place since, or seen otherwise
                return FinalOperation(_NORMALISERS[node.operator.name], self._without(made[value.name]))
            if not _moves_entries(node):
                return None
            value = node.arguments[0]
        return None

    def _place(self, output: str | None) -> int | None:
        """The place of an output among the graph's."""
        outputs = self.signature.outputs
        if output in (None, "output") and len(outputs) == 1:
            return outputs[0].place
        return next((one.place for one in outputs if one.name == output), None)

    def _without(self, index: int) -> ExportedProgram:
        """The program in which a node returns what it reads."""
        node = self._graph.nodes[index]
        passing = replace(node, operator=replace(node.operator, function=_same), keywords={})
        nodes = (*self._graph.nodes[:index], passing, *self._graph.nodes[index + 1 :])
        return ExportedProgram(graph_of(nodes, self._graph.inputs, self._graph.outputs), self.signature, self._tensors)


def _same(value: Tensor, *_: Any) -> Tensor:
    return value


def _typed(one: Fed, tensor: Tensor) -> Tensor:
    """Whole numbers in the width that the graph was exported for; what is no such number stays."""
    whole = not (tensor.is_floating_point() or one.dtype.is_floating_point or one.dtype.is_complex)
    if whole:
        return tensor.to(one.dtype)
    if tensor.is_floating_point() != one.dtype.is_floating_point:
        raise RuntimeError(
            f"Error: input {one.name} was exported as {str(one.dtype).removeprefix('torch.')}, and the data are "
            f"{str(tensor.dtype).removeprefix('torch.')}: set dtype in [inputs.{one.name}]"
        )
    return tensor


def _check_sizes(signature: Signature, arguments: Mapping[str, Tensor]) -> None:
    """Raise RuntimeError for shapes that the graph was not exported for: it might compute something else with them."""
    free: dict[str, int] = {}
    for one in signature.fed:
        shape = tuple(arguments[one.name].shape)
        fits = len(shape) == len(one.sizes)
        for size, declared in zip(shape, one.sizes, strict=False):
            if isinstance(declared, int):
                fits &= size == declared
            elif declared is not None:
                smallest, largest = signature.limits.get(declared, (None, None))
                # Torch writes 2 for any size: 0 and 1 are what it does not look into.
                fits &= free.setdefault(declared, size) == size
                fits &= (smallest is None or smallest <= 2 or size >= smallest) and (largest is None or size <= largest)
        if not fits:
            exported = ", ".join("any" if n is None else str(n) for n in one.sizes)
            raise RuntimeError(
                f"Error: input {one.name} has shape {shape}, and the model was exported for ({exported}); "
                "free sizes are named in dynamic_shapes of torch.export.export"
            )


def _check_conditions(signature: Signature, arguments: Mapping[str, Tensor]) -> None:
    """Raise RuntimeError where a graph was exported under a condition that the shapes do not meet."""
    shapes = {name: tuple(tensor.shape) for name, tensor in arguments.items()}
    for one in signature.conditions:
        try:
            holds = one.holds(shapes)
        except (ArithmeticError, LookupError, TypeError):
            holds = False
        if not holds:
            raise RuntimeError(
                f"Error: the model was exported for sizes with {shown(one.text)}, and may be another for these; use a "
                "multiple of the samples that it was exported with, or export it for these sizes"
            )


def _moves_entries(node: Node) -> bool:
    name = node.operator.name.partition(".")[0]
    if name in _BY_ONE and len(node.arguments) > 1:
        factor = node.arguments[1]
        return isinstance(factor, int | float) and factor == 1
    return name in _MOVES_ENTRIES


def _changes(node: Node) -> bool:
    return node.operator.mutates or any(inner.operator.mutates for inner in inner_nodes(node))


def _draws(node: Node) -> bool:
    names = node.operator.positional or ()
    if not node.operator.draws:
        return False
    if "dropout_p" in names:
        return bool(node.argument("dropout_p"))
    if "dropout" in names and not node.argument("dropout"):
        return False
    if node.operator.name.partition(".")[0].rstrip("_").endswith("dropout") and node.argument("p") == 0:
        return False
    switch = next((name for name in ("train", "training") if name in names), None)
    return switch is None or bool(node.argument(switch) is not False)


def _told(node: Node) -> str:
    name = node.operator.name.partition(".")[0].rstrip("_")
    return f"{name}(training=True)" if name.endswith("dropout") or name == "rrelu" else name


def _uses_batch(node: Node) -> bool:
    """Whether a batch norm takes the statistics of the batch though it has some of its own, as in training mode.

    One without any (``track_running_stats=False``) has no other mode: its samples influence each other by definition.
    """
    names = node.operator.positional or ()
    return (
        _BATCH_NORMS.match(node.operator.name) is not None
        and "training" in names
        and node.argument("training") is not False
        and node.argument("running_mean") is not None
    )
