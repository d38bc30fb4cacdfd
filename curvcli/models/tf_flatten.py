"""Turns a SavedModel's signature into one flat GraphDef: a pure function of its weights and inputs.

Taping a loaded signature fails for recurrent layers and hides which operation reads which weight. A frozen, inlined
graph whose weights are placeholders again has neither problem, can be cut at any tensor, and can change its dtype.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from curvcli.models.tf_runtime import tensorflow

# With these dtype numbers TensorFlow writes float32 and float64 in a graph.
_FLOAT, _DOUBLE = 1, 2


@dataclass
class FlatGraph:
    """A model as one GraphDef.

    Attributes:
        graph_def: inlined; while loops stay loops; every trainable weight is a placeholder.
        weights: parameter name → node name.
        inputs: input name → tensor name.
        outputs: output name → tensor name.
    """

    graph_def: Any
    weights: dict[str, str]
    inputs: dict[str, str]
    outputs: dict[str, str]


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
    flat = FlatGraph(graph_def, weights, inputs, outputs)
    _differentiate_moments(graph_def)
    _spell_out_batch_norm(graph_def)
    return flat


def _all_nodes(graph_def: Any) -> Iterator[Any]:
    yield from graph_def.node
    for function in graph_def.library.function:
        yield from function.node_def


def source(tensor: str) -> str:
    """The node that makes a tensor: ``a/b:1`` → ``a/b``; control inputs lose their caret."""
    return tensor.lstrip("^").split(":")[0]


def _differentiate_moments(graph_def: Any) -> None:
    """Undo the ``StopGradient`` that ``moments`` puts on the mean inside a variance.

    Σ(x − m)² has no first derivative by its own mean m, so stopping the gradient there changes nothing in a first
    derivative; but it drops the term −2/n from the second one, which makes every layer norm's Hessian wrong.
    """
    by_name = {node.name: node for node in graph_def.node}
    for node in graph_def.node:
        if node.op != "SquaredDifference":
            continue
        for mine, other in ((0, 1), (1, 0)):
            stopped = by_name.get(source(node.input[other]))
            if stopped is None or stopped.op != "StopGradient":
                continue
            mean = by_name.get(source(stopped.input[0]))
            if mean is not None and mean.op == "Mean" and mean.input[0] == node.input[mine]:
                stopped.op = "Identity"


def _add(graph_def: Any, name: str, operation: str, inputs: list[str], dtype: int) -> str:
    node = graph_def.node.add(name=name, op=operation, input=inputs)
    node.attr["T"].type = dtype
    return name


def _spell_out_batch_norm(graph_def: Any) -> None:
    """Write batch norm as ((x − mean)·rsqrt(variance + ε))·γ + β, in training mode with the batch's own moments.

    The fused operation has no float64 kernel; and the form x·(γ·r) + (β − mean·(γ·r)) uses γ twice, where this one,
    equal to it, is linear in γ at one place.
    """
    by_name = {node.name: node for node in graph_def.node}
    for node in list(graph_def.node):
        if node.op in ("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"):
            _unfuse(graph_def, node)
        elif node.op in ("AddV2", "Add"):
            _factor_out_gamma(graph_def, node, by_name)


def _unfuse(graph_def: Any, node: Any) -> None:
    data_format = node.attr["data_format"].s or b"NHWC"
    if data_format not in (b"NHWC", b"NDHWC"):
        return
    x, gamma, beta, mean, variance = list(node.input)[:5]
    dtype, base = node.attr["T"].type, node.name
    if node.attr["is_training"].b:
        mean, variance = _batch_moments(graph_def, base, x, dtype, len(data_format))
    epsilon = graph_def.node.add(name=f"{base}/epsilon", op="Const")
    value = np.asarray(node.attr["epsilon"].f or 1e-4, dtype=np.float32)
    epsilon.attr["dtype"].type = dtype
    epsilon.attr["value"].tensor.CopyFrom(tensorflow().make_tensor_proto(value))
    shifted = _add(graph_def, f"{base}/variance", "AddV2", [variance, epsilon.name], dtype)
    root = _add(graph_def, f"{base}/rsqrt", "Rsqrt", [shifted], dtype)
    centred = _add(graph_def, f"{base}/centred", "Sub", [x, mean], dtype)
    normal = _add(graph_def, f"{base}/normalised", "Mul", [centred, root], dtype)
    scaled = _add(graph_def, f"{base}/scaled", "Mul", [normal, gamma], dtype)
    control = [i for i in node.input if i.startswith("^")]
    node.op = "AddV2"
    del node.input[:]
    node.input.extend([scaled, beta, *control])
    node.ClearField("attr")
    node.attr["T"].type = dtype


def _batch_moments(graph_def: Any, base: str, x: str, dtype: int, rank: int) -> tuple[str, str]:
    """Mean and variance over all axes but the last."""
    axes = graph_def.node.add(name=f"{base}/axes", op="Const")
    value = tensorflow().make_tensor_proto(np.arange(rank - 1, dtype=np.int32))
    axes.attr["dtype"].type = value.dtype
    axes.attr["value"].tensor.CopyFrom(value)

    def mean_of(name: str, tensor: str) -> str:
        node = _add(graph_def, name, "Mean", [tensor, axes.name], dtype)
        graph_def.node[-1].attr["Tidx"].type = value.dtype
        return node

    mean = mean_of(f"{base}/mean", x)
    squares = _add(graph_def, f"{base}/squares", "SquaredDifference", [x, mean], dtype)
    return mean, mean_of(f"{base}/variance_of_batch", squares)


def _factor_out_gamma(graph_def: Any, node: Any, by_name: dict[str, Any]) -> None:
    """Rewrite Add(Mul(x, inv), Sub(β, Mul(mean, inv))) with inv = Mul(r, γ), none but x depending on the data."""

    def maker(tensor: str, operation: str) -> Any | None:
        found = by_name.get(source(tensor))
        return found if found is not None and found.op == operation else None

    if len(node.input) < 2:
        return
    product, rest = maker(node.input[0], "Mul"), maker(node.input[1], "Sub")
    shift = maker(rest.input[1], "Mul") if rest is not None else None
    if product is None or rest is None or shift is None:
        return
    shared = set(product.input) & set(shift.input)
    if len(shared) != 1:
        return
    (inverse,) = shared
    factors = maker(inverse, "Mul")
    if factors is None:
        return
    root = next((i for i in factors.input if maker(i, "Rsqrt") is not None), None)
    gamma = next((i for i in factors.input if i != root), None)
    x = next((i for i in product.input if i != inverse), None)
    mean = next((i for i in shift.input if i != inverse), None)
    if root is None or gamma is None or x is None or mean is None:
        return
    dtype, base = node.attr["T"].type, node.name
    centred = _add(graph_def, f"{base}/centred", "Sub", [x, mean], dtype)
    normal = _add(graph_def, f"{base}/normalised", "Mul", [centred, root], dtype)
    scaled = _add(graph_def, f"{base}/scaled", "Mul", [normal, gamma], dtype)
    node.input[0], node.input[1] = scaled, rest.input[0]


def register_functions(graph_def: Any) -> None:
    """Make the bodies of loops and branches known to the process: importing a graph alone does not."""
    from tensorflow.python.eager import context

    for function in graph_def.library.function:
        if not context.context().has_function(function.signature.name):
            context.context().add_function_def(function)


def widen(graph_def: Any) -> None:
    """Make every float32 of a graph, its functions included, float64."""
    tf = tensorflow()
    for node in _all_nodes(graph_def):
        for value in node.attr.values():
            held = value.WhichOneof("value")
            if held == "type" and value.type == _FLOAT:
                value.type = _DOUBLE
            elif held == "list":
                for i, entry in enumerate(value.list.type):
                    if entry == _FLOAT:
                        value.list.type[i] = _DOUBLE
            elif held == "tensor" and value.tensor.dtype == _FLOAT:
                array = tf.make_ndarray(value.tensor).astype(np.float64)
                value.tensor.CopyFrom(tf.make_tensor_proto(array, dtype=tf.float64))
    for function in graph_def.library.function:
        for argument in (*function.signature.input_arg, *function.signature.output_arg):
            if argument.type == _FLOAT:
                argument.type = _DOUBLE
    _rename_functions(graph_def, "_float64")


def _rename_functions(graph_def: Any, suffix: str) -> None:
    """Function names are global in a process: a changed function needs a name of its own."""
    renamed = {f.signature.name: f.signature.name + suffix for f in graph_def.library.function}
    for node in _all_nodes(graph_def):
        node.op = renamed.get(node.op, node.op)
        for value in node.attr.values():
            held = value.WhichOneof("value")
            if held == "func":
                value.func.name = renamed.get(value.func.name, value.func.name)
            elif held == "list":
                for function in value.list.func:
                    function.name = renamed.get(function.name, function.name)
    for function in graph_def.library.function:
        function.signature.name = renamed[function.signature.name]
