"""Compares each canonical form with automatic differentiation, on random data of a few samples.

What an operation's arguments mean is written down in ``rules``, and can be written down wrongly. Here nothing is
known of operations: a form that does not give the derivatives that TensorFlow gives is not used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from curvcli.models.tensorflow.forward import Forward
from curvcli.models.tensorflow.graph import Entry
from curvcli.models.tensorflow.linear import LinearUse
from curvcli.models.tensorflow.nodes import source
from curvcli.models.tensorflow.runtime import tensorflow
from curvcli.models.tensorflow.shapes import Measured

# Between a parameter's name and the number of one of its several entries.
_NUMBER = " #"
NOT_CONFIRMED = "its linear form is not confirmed by differentiation"
# Of parameters with more entries one sample is compared, of others two.
_LARGE = 1 << 22
# Between a weight and its joint lie few nodes; two uses with more are not told to be alike.
_MOST_NODES = 64


@dataclass(frozen=True)
class Located:
    """One entry of a parameter and its canonical form.

    Attributes:
        entry: where it joins the data.
        use: the form.
        output: the node that makes what derivatives are taken by; of a single entry the joining one.
    """

    entry: Entry
    use: LinearUse
    output: str = ""


def numbered(parameter: str, number: int) -> str:
    """What one of a parameter's several entries is called where single ones go by the parameter's name."""
    return f"{parameter}{_NUMBER}{number}"


def weight_of(entry: str) -> str:
    """The parameter of an entry."""
    return entry.partition(_NUMBER)[0]


def not_confirmed(
    forward: Forward, located: Mapping[str, Located], data: Mapping[str, Measured], samples: int
) -> list[str]:
    """The parameters whose form gives other derivatives than TensorFlow does.

    Args:
        forward: for its graph, weights and dtype.
        located: forms by entry, none of which reads two of these parameters.
        data: what the parameter meets there, by entry.
        samples: of the batch that the shapes come from.
    """
    if not located:
        return []
    # Of uses that are alike in all but their numbers one is compared: a deep network has few kinds.
    weights = {node: tuple(forward.weights[name].shape) for name, node in forward.flat.weights.items()}
    alike: dict[Any, list[str]] = {}
    for name, one in located.items():
        alike.setdefault(_kind(forward, name, one, data[name], weights), []).append(name)
    names = tuple(group[0] for group in alike.values())
    part, joints, feeds = _alone(forward, {name: located[name] for name in names})
    tolerance = 1e-9 if forward.dtype == tensorflow().float64 else 1e-3

    def errors(*tensors: Any) -> Any:
        tf = tensorflow()
        values = dict(zip(forward.weights, tensors, strict=True))
        few = {name: _few(located[name].use, samples) for name in names}
        fed = {feeds[name]: _random_data(located[name], data[name], samples, few[name]) for name in names}
        replaced = {f"{forward.flat.weights[weight_of(name)]}:0": values[weight_of(name)] for name in names} | fed
        z = tf.graph_util.import_graph_def(
            part, input_map=replaced, return_elements=[joints[n] for n in names], name=""
        )
        # One after the other, so that not all parameters' derivatives are held at once.
        differences: list[Any] = []
        for number, (name, output) in enumerate(zip(names, z, strict=True)):
            with tf.control_dependencies(differences[-1:]):
                cotangent = tf.random.stateless_normal(tf.shape(output), [number, 1], dtype=forward.dtype)
            (exact,) = tf.gradients([output], [values[weight_of(name)]], grad_ys=[cotangent])
            use, count = located[name].use, few[name]
            rows = use.sample_gradients(cotangent, use.prepare(fed[feeds[name]], count), count)
            differences.append(_difference(tf.reduce_sum(rows, axis=0), tf.reshape(tf.convert_to_tensor(exact), [-1])))
        return tf.stack(differences)

    shapes = tuple((name, located[name].use.layout, data[name].shape) for name in names)
    worst = forward.functions.call(("confirm", shapes), errors, *forward.all_weights()).numpy()
    groups = zip(alike.values(), worst, strict=True)
    return [name for group, error in groups if not error <= tolerance for name in group]


def _kind(forward: Forward, name: str, located: Located, data: Measured, weights: Mapping[str, Any]) -> Any:
    """Equal for uses by the same operations with the same arguments, on tensors of the same shapes."""
    entry, use = located.entry, located.use
    joint, own = forward.reader.nodes[entry.node], forward.flat.weights[weight_of(name)]
    inputs = [tensor for tensor in joint.input if not tensor.startswith("^")]
    inputs.pop(_place_of_data(entry))
    budget = [_MOST_NODES]
    spelled = tuple(_spelled(forward, tensor, own, weights, budget) for tensor in inputs)
    if budget[0] < 0:
        return name
    return (*_operation(joint), spelled, entry.operand, type(use), use.shape, use.layout, data.shape, data.dtype)


def _operation(node: Any) -> tuple[Any, ...]:
    """What a node does to its inputs."""
    return node.op, tuple((key, node.attr[key].SerializeToString(deterministic=True)) for key in sorted(node.attr))


def _spelled(forward: Forward, tensor: str, own: str, weights: Mapping[str, Any], budget: list[int]) -> Any:
    """How a tensor is made of the one weight, other weights and constants; of several fractions the shape counts alone.

    Args:
        forward: for its graph.
        tensor: which.
        own: the node of the one weight.
        weights: the shape of each weight, by its node.
        budget: how many nodes may still be looked at; below zero where it was not enough.
    """
    budget[0] -= 1
    if budget[0] < 0:
        return None
    node = source(tensor)
    if node == own:
        return "weight"
    if (constant := forward.reader.constant(tensor)) is not None:
        # Whole numbers are shapes, axes and orders of axes: another one is another operation.
        telling = constant.size == 1 or constant.dtype.kind != "f"
        return constant.shape, constant.dtype.str, constant.tobytes() if telling else None
    if node in weights:
        return weights[node]
    definition = forward.reader.nodes[node]
    inputs = (one for one in definition.input if not one.startswith("^"))
    output = tensor.partition(":")[2] or "0"
    return (*_operation(definition), output, *(_spelled(forward, one, own, weights, budget) for one in inputs))


def _place_of_data(entry: Entry) -> int:
    """Which input of the joining node the data are."""
    return 1 if entry.operand == 0 else 0


def _few(use: LinearUse, samples: int) -> int:
    return 1 if prod(use.shape) > _LARGE else min(samples, 2)


def _difference(left: Any, right: Any) -> Any:
    """Of two tensors, relative to the larger one's largest entry."""
    tf = tensorflow()
    scale = tf.maximum(tf.reduce_max(tf.abs(left)), tf.reduce_max(tf.abs(right)))
    # Not `divide_no_nan`, which takes a NaN for agreement where both are zero.
    return tf.where(scale == 0, tf.zeros_like(scale), tf.reduce_max(tf.abs(left - right)) / scale)


def _random_data(located: Located, measured: Measured, samples: int, few: int) -> Any:
    """Like what the parameter meets, with rows for ``few`` samples; whole numbers are rows of the parameter."""
    tf = tensorflow()
    shape, use = list(measured.shape), located.use
    rows = use.layout.rows_per_sample
    if shape and shape[0] == rows * samples:
        shape[0] = rows * few
    dtype = tf.as_dtype(measured.dtype)
    if dtype.is_integer:
        return tf.cast(tf.random.stateless_uniform(shape, [3, 5], 0, use.shape[0], dtype=tf.int64), dtype)
    return tf.random.stateless_normal(shape, [3, 5], dtype=dtype)


def _alone(forward: Forward, located: Mapping[str, Located]) -> tuple[Any, dict[str, str], dict[str, str]]:
    """The entries and what lies between them and their weights, cut off from the network.

    Returns:
        A GraphDef, the tensor that each entry makes, and the tensor that stands for each entry's data.
    """
    whole = forward.flat.graph_def
    part = type(whole)()
    part.versions.CopyFrom(whole.versions)
    copied: set[str] = set()
    weights = set(forward.flat.weights.values())
    joints, feeds = {}, {}
    for number, (name, one) in enumerate(located.items()):
        node = part.node.add()
        node.CopyFrom(forward.reader.nodes[one.entry.node])
        node.name = f"confirmed_{number}"
        joints[name], feeds[name] = f"{node.name}:0", f"data_{number}:0"
        inputs = [t for t in node.input if not t.startswith("^")]
        place = _place_of_data(one.entry)
        inputs[place] = feeds[name]
        del node.input[:]
        node.input.extend(inputs)
        _copy_sources(forward, part, [t for i, t in enumerate(inputs) if i != place], copied, weights)
    return part, joints, feeds


def _copy_sources(forward: Forward, part: Any, tensors: Sequence[str], copied: set[str], weights: set[str]) -> None:
    waiting = [source(t) for t in tensors]
    while waiting:
        name = waiting.pop()
        if name in copied or name in weights:
            continue
        copied.add(name)
        node = part.node.add()
        node.CopyFrom(forward.reader.nodes[name])
        inputs = [t for t in node.input if not t.startswith("^")]
        del node.input[:]
        node.input.extend(inputs)
        waiting.extend(source(t) for t in inputs)
