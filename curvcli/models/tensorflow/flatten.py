"""Turns a SavedModel's signature into one flat GraphDef: a pure function of its weights and inputs.

Taping a loaded signature fails for recurrent layers and hides which operation reads which weight. A frozen, inlined
graph whose weights are placeholders again has neither problem, can be cut at any tensor, and can change its dtype.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from curvcli.models.tensorflow.derivatives import own_derivatives
from curvcli.models.tensorflow.inline import inline_calls
from curvcli.models.tensorflow.nodes import all_nodes
from curvcli.models.tensorflow.precision import is_narrow, widen_narrow
from curvcli.models.tensorflow.runtime import tensorflow
from curvcli.models.tensorflow.spelled import averages_over_samples, spell_out, uses_batch
from curvcli.models.tensorflow.unroll import has_loops, unroll_loops


@dataclass
class FlatGraph:
    """A model as one GraphDef.

    Attributes:
        graph_def: inlined; loops stay loops only where the data tell their steps; every trainable weight is a
            placeholder.
        weights: parameter name → node name.
        inputs: input name → tensor name.
        outputs: output name → tensor name.
        random: the operations that draw random numbers, as a person reads them.
        batch_statistics: whether a batch norm uses the statistics of the batch.
        narrow: whether the file has parts of it computed in 16 bits; the graph has them in 32.
        looped: the same with the loops of known length too; None where it has none.
    """

    graph_def: Any
    weights: dict[str, str]
    inputs: dict[str, str]
    outputs: dict[str, str]
    random: tuple[str, ...]
    batch_statistics: bool
    narrow: bool
    looped: FlatGraph | None = None

    @property
    def graphs(self) -> list[FlatGraph]:
        """This, and the one with its loops."""
        return [self] if self.looped is None else [self, self.looped]


def flatten(signature: Any, names: dict[int, str]) -> FlatGraph:
    """Freeze and inline a signature, then open its trainable weights again.

    Args:
        signature: a concrete function of a loaded SavedModel.
        names: parameter name by ``id`` of the variable's handle; captures not named here stay constants.
    """
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    frozen = convert_variables_to_constants_v2(signature, lower_control_flow=False, aggressive_inlining=True)
    graph_def = frozen.graph.as_graph_def()
    captured = signature.captured_inputs
    slots = [t.name.split(":")[0] for t in signature.graph.inputs[len(signature.graph.inputs) - len(captured) :]]
    # A frozen weight keeps the name of the argument through which the function captured it.
    node_of = {names[id(handle)]: slot for slot, handle in zip(slots, captured, strict=True) if id(handle) in names}
    by_node = {node: name for name, node in node_of.items()}
    for node in graph_def.node:
        if node.op == "Const" and node.name in by_node:
            shape = [d.size for d in node.attr["value"].tensor.tensor_shape.dim]
            dtype = node.attr["dtype"].type
            node.op = "Placeholder"
            node.ClearField("attr")
            node.attr["dtype"].type = dtype
            node.attr["shape"].shape.CopyFrom(tensorflow().TensorShape(shape).as_proto())
    inputs = {t.name.split(":")[0]: t.name for t in frozen.inputs}
    keyword = signature.structured_input_signature[1]
    if len(keyword) == len(frozen.inputs):
        inputs = dict(zip(sorted(keyword), [t.name for t in frozen.inputs], strict=True))
        # A frozen function's inputs keep their argument names where those are valid node names.
        by_name = {t.name.split(":")[0]: t.name for t in frozen.inputs}
        inputs = {name: by_name.get(name, tensor) for name, tensor in inputs.items()}
    outputs = dict(zip(sorted(signature.structured_outputs), [t.name for t in frozen.outputs], strict=True))
    present = {node.name for node in graph_def.node}
    weights = {name: node for name, node in node_of.items() if node in present}
    inline_calls(graph_def)
    if not has_loops(graph_def):
        return _readable(graph_def, weights, inputs, outputs)
    whole = type(graph_def)()
    whole.CopyFrom(graph_def)
    written_out = unroll_loops(graph_def)
    looped = _readable(whole, weights, inputs, outputs)
    if not written_out:
        return looped
    inline_calls(graph_def)
    outputs = {name: written_out.get(tensor, tensor) for name, tensor in outputs.items()}
    return replace(_readable(graph_def, weights, inputs, outputs), looped=looped)


def _readable(graph_def: Any, weights: dict[str, str], inputs: dict[str, str], outputs: dict[str, str]) -> FlatGraph:
    """A flat graph whose operations are those that can be read and differentiated."""
    narrow = is_narrow(graph_def)
    if narrow:
        widen_narrow(graph_def)
    random = tuple(sorted({node.op for node in all_nodes(graph_def) if _draws(node.op)}))
    batch_statistics = any(map(uses_batch, all_nodes(graph_def))) or averages_over_samples(graph_def)
    spell_out(graph_def)
    own_derivatives(graph_def)
    return FlatGraph(graph_def, weights, inputs, outputs, random, batch_statistics, narrow)


def _draws(operation: str) -> bool:
    """Whether an operation draws random numbers, or the state that they are drawn from."""
    return "Random" in operation or operation.startswith(("Rng", "Stateful", "TruncatedNormal", "Multinomial"))
