"""Operations that lack a kernel in float64, or a correct second derivative, written out in others that have both.

The written-out form is equal in exact arithmetic, and so are all its derivatives.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from curvcli.models.tensorflow.kernels import write_out_kernels
from curvcli.models.tensorflow.nodes import Writer, source
from curvcli.models.tensorflow.runtime import tensorflow


def spell_out(graph_def: Any) -> None:
    """Rewrite what can't be used as it is; names of nodes that others read stay."""
    write_out_kernels(graph_def)
    by_name = {node.name: node for node in graph_def.node}
    for node in list(graph_def.node):
        if node.op in _WRITTEN_OUT:
            _WRITTEN_OUT[node.op](graph_def, node)
        elif node.op in ("AddV2", "Add"):
            _factor_out_gamma(graph_def, node, by_name)
        elif node.op == "SquaredDifference":
            _differentiate_moments(node, by_name)


def _differentiate_moments(node: Any, by_name: dict[str, Any]) -> None:
    """Undo the ``StopGradient`` that ``moments`` puts on the mean inside a variance.

    Σ(x − m)² has no first derivative by its own mean m, so stopping the gradient there changes nothing in a first
    derivative; but it drops the term −2/n from the second one, which makes every layer norm's Hessian wrong.
    """
    for place, other in ((0, 1), (1, 0)):
        stopped = by_name.get(source(node.input[other]))
        if stopped is None or stopped.op != "StopGradient":
            continue
        mean = by_name.get(source(stopped.input[0]))
        if mean is not None and mean.op == "Mean" and mean.input[0] == node.input[place]:
            stopped.op = "Identity"


# -- batch norm: ((x − mean)·rsqrt(variance + ε))·γ + β, in training mode with the batch's own moments ----------------
# The fused operation has no float64 kernel; and the form x·(γ·r) + (β − mean·(γ·r)) uses γ twice, where this one is
# linear in γ at one place.


def _batch_norm(graph_def: Any, node: Any) -> None:
    data_format = node.attr["data_format"].s or b"NHWC"
    if data_format not in (b"NHWC", b"NDHWC"):
        return
    x, gamma, beta, mean, variance = list(node.input)[:5]
    write = Writer(graph_def, node.name, node.attr["T"].type)
    if node.attr["is_training"].b:
        axes = write.constant("axes", np.arange(len(data_format) - 1), np.int32)
        mean = write.add("mean", "Mean", [x, axes])
        squares = write.add("squares", "SquaredDifference", [x, mean])
        variance = write.add("variance_of_batch", "Mean", [squares, axes])
    epsilon = write.constant("epsilon", node.attr["epsilon"].f or 1e-4)
    root = write.add("rsqrt", "Rsqrt", [write.add("variance", "AddV2", [variance, epsilon])])
    write.becomes(node, "AddV2", [_normalised(write, x, mean, root, gamma), beta])


def _normalised(write: Writer, x: str, mean: str, root: str, gamma: str) -> str:
    centred = write.add("centred", "Sub", [x, mean])
    return write.add("scaled", "Mul", [write.add("normalised", "Mul", [centred, root]), gamma])


def _factor_out_gamma(graph_def: Any, node: Any, by_name: dict[str, Any]) -> None:
    """Rewrite Add(Mul(x, inv), Sub(β, Mul(mean, inv))) with inv = Mul(r, γ), none but x depending on the data."""

    def maker(tensor: str, operation: str) -> Any | None:
        node_of = by_name.get(source(tensor))
        return node_of if node_of is not None and node_of.op == operation else None

    if len(node.input) < 2:
        return
    product, shifted = maker(node.input[0], "Mul"), maker(node.input[1], "Sub")
    shift = maker(shifted.input[1], "Mul") if shifted is not None else None
    if product is None or shifted is None or shift is None:
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
    write = Writer(graph_def, node.name, node.attr["T"].type)
    node.input[0], node.input[1] = _normalised(write, x, mean, root, gamma), shifted.input[0]


def uses_batch(node: Any) -> bool:
    """Whether a node is a fused batch norm in training mode."""
    return node.op.startswith("FusedBatchNorm") and bool(node.attr["is_training"].b)


def averages_over_samples(graph_def: Any) -> bool:
    """Whether a variance is taken along the first axis: a batch norm in training mode without the fused operation."""
    by_name = {node.name: node for node in graph_def.node}
    squares = (node for node in graph_def.node if node.op == "SquaredDifference")
    return any(_along_first_axis(by_name.get(source(tensor)), by_name) for node in squares for tensor in node.input)


def _along_first_axis(mean: Any, by_name: dict[str, Any]) -> bool:
    while mean is not None and mean.op in ("StopGradient", "Identity"):
        mean = by_name.get(source(mean.input[0]))
    axes = by_name.get(source(mean.input[1])) if mean is not None and mean.op == "Mean" else None
    if axes is None or axes.op != "Const":
        return False
    return 0 in np.ravel(tensorflow().make_ndarray(axes.attr["value"].tensor))


# -- identities whose derivative is forbidden, or missing ------------------------------------------------------------


def _identity(_: Any, node: Any) -> None:
    kind = node.attr["T"].type
    node.op = "Identity"
    node.ClearField("attr")
    node.attr["T"].type = kind


def _gather(graph_def: Any, node: Any) -> None:
    """The first version of the operation, which has no axis; functions with its derivative can't be run."""
    write = Writer(graph_def, node.name, node.attr["Tparams"].type)
    node.op = "GatherV2"
    node.input.insert(2, write.constant("axis", 0, np.int32))
    if "validate_indices" in node.attr:
        del node.attr["validate_indices"]
    node.attr["Taxis"].type = _whole()


# -- others -----------------------------------------------------------------------------------------------------------


def _softsign(graph_def: Any, node: Any) -> None:
    """X / (1 + |x|)."""
    write, x = Writer(graph_def, node.name, node.attr["T"].type), node.input[0]
    size = write.add("one_and_size", "AddV2", [write.constant("one", 1), write.add("size", "Abs", [x])])
    write.becomes(node, "RealDiv", [x, size])


def _local_response_normalisation(graph_def: Any, node: Any) -> None:
    """X · (bias + α·Σ x²)^−β, the sum over channels at most a radius away: a product with a band of ones."""
    write, x = Writer(graph_def, node.name, node.attr["T"].type), node.input[0]
    factors = {name: node.attr[name].f if name in node.attr else 1.0 for name in ("bias", "alpha")}
    beta = node.attr["beta"].f if "beta" in node.attr else 0.5
    radius = node.attr["depth_radius"].i if "depth_radius" in node.attr else 5
    whole = _whole()
    count = _entry(write, "channels", write.add("shape", "Shape", [x], out_type=whole), 3)
    places = _range(write, "places", count)
    apart = write.add("apart", "Abs", [_differences(write, places, places, whole)], T=whole)
    near = write.add("near", "LessEqual", [apart, write.constant("radius", radius, np.int32)], T=whole)
    band = write.cast("band", near, tensorflow().bool.as_datatype_enum)
    sums = write.einsum("sums", "bhwc,cd->bhwd", write.add("squares", "Square", [x]), band)
    scaled = write.add("scaled", "Mul", [write.constant("alpha", factors["alpha"]), sums])
    base = write.add("base", "AddV2", [write.constant("bias", factors["bias"]), scaled])
    write.becomes(node, "Mul", [x, write.add("factor", "Pow", [base, write.constant("minus_beta", -beta)])])


def _resize_bilinear(graph_def: Any, node: Any) -> None:
    """Rows and columns interpolated by a matrix each, entry (i, j) being max(0, 1 − |p_i − j|), p_i where i lies."""
    tf = tensorflow()
    floating, dtype = tf.float32.as_datatype_enum, node.attr["T"].type
    if dtype in (tf.float64.as_datatype_enum, tf.float16.as_datatype_enum, tf.bfloat16.as_datatype_enum):
        return  # they give float32 out of other floats, which no model wants
    write, (image, size) = Writer(graph_def, node.name, floating), list(node.input)[:2]
    corners, half = node.attr["align_corners"].b, node.attr["half_pixel_centers"].b
    shape = write.add("shape", "Shape", [image], T=dtype, out_type=_whole())
    if dtype != floating:
        image = write.cast("image", image, dtype)
    ends = {
        "rows": (_entry(write, "height", shape, 1), _entry(write, "to_height", size, 0)),
        "columns": (_entry(write, "width", shape, 2), _entry(write, "to_width", size, 1)),
    }
    matrices = {name: _interpolation(write, name, *pair, corners=corners, half=half) for name, pair in ends.items()}
    tall = write.einsum("tall", "Hh,bhwc->bHwc", matrices["rows"], image)
    write.becomes(node, "Identity", [write.einsum("wide", "Ww,bHwc->bHWc", matrices["columns"], tall)])


def _interpolation(write: Writer, name: str, before: str, after: str, *, corners: bool, half: bool) -> str:
    """The matrix, ``after`` × ``before``, with corners aligned, or with pixels at their centres, or neither."""

    def add(step: str, operation: str, *inputs: str) -> str:
        return write.add(f"{name}/{step}", operation, inputs)

    zero, middle, one = (write.constant(f"{name}/{n}", v) for n, v in (("zero", 0), ("middle", 0.5), ("one", 1)))
    size, target = (write.cast(f"{name}/{n}", t, _whole()) for n, t in (("size", before), ("target", after)))
    here = write.cast(f"{name}/here", _range(write, f"{name}/old", before), _whole())
    targets = write.cast(f"{name}/there", _range(write, f"{name}/new", after), _whole())
    last = add("last", "Sub", size, one)
    if corners:
        gaps = add("gaps", "Maximum", add("target_last", "Sub", target, one), one)
        place = add("place", "Mul", targets, add("scale", "RealDiv", last, gaps))
    else:
        scale = add("scale", "RealDiv", size, target)
        centre = add("centre", "AddV2", targets, middle) if half else targets
        place = add("place", "Mul", centre, scale)
        place = add("place_of_centre", "Sub", place, middle) if half else place
    inside = add("inside", "Minimum", add("not_before", "Maximum", place, zero), last)
    apart = add("distance", "Abs", _differences(write, inside, here, write.dtype, f"{name}/"))
    return add("matrix", "Relu", add("near", "Sub", one, apart))


def _whole() -> int:
    return int(tensorflow().int32.as_datatype_enum)


def _entry(write: Writer, name: str, tensor: str, place: int) -> str:
    """One entry of a vector of int32, as a scalar."""
    index, axis = (write.constant(f"{name}/{n}", v, np.int32) for n, v in (("place", place), ("axis", 0)))
    return write.add(name, "GatherV2", [tensor, index, axis], Tparams=_whole(), Tindices=_whole(), Taxis=_whole())


def _range(write: Writer, name: str, count: str) -> str:
    """0, 1 … count − 1, int32."""
    start, step = (write.constant(f"{name}/{n}", v, np.int32) for n, v in (("start", 0), ("step", 1)))
    return write.add(name, "Range", [start, count, step], Tidx=_whole())


def _differences(write: Writer, left: str, right: str, dtype: int, prefix: str = "") -> str:
    """The matrix left_i − right_j."""
    last, first = (write.constant(f"{prefix}{n}", v, np.int32) for n, v in (("second_axis", 1), ("first_axis", 0)))
    down = write.add(f"{prefix}down", "ExpandDims", [left, last], T=dtype, Tdim=_whole())
    across = write.add(f"{prefix}across", "ExpandDims", [right, first], T=dtype, Tdim=_whole())
    return write.add(f"{prefix}differences", "Sub", [down, across], T=dtype)


_WRITTEN_OUT: dict[str, Callable[[Any, Any], None]] = {
    "FusedBatchNorm": _batch_norm,
    "FusedBatchNormV2": _batch_norm,
    "FusedBatchNormV3": _batch_norm,
    "Gather": _gather,
    "PreventGradient": _identity,
    "Snapshot": _identity,
    "LRN": _local_response_normalisation,
    "ResizeBilinear": _resize_bilinear,
    "Softsign": _softsign,
}
