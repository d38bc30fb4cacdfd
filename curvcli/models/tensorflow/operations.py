"""What is known of TensorFlow's operations: which carry no derivative, and which can't bend what passes through them.

An operation that is not listed may do anything. Every entry is tested against numeric second derivatives, with
arguments other than the default ones.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from curvcli.models.tensorflow.runtime import tensorflow

# Constant almost everywhere, or cut by the model's author: nothing is differentiated through these.
NOT_DIFFERENTIABLE = frozenset(
    """ArgMax ArgMin Ceil Equal Floor Greater GreaterEqual Less LessEqual LogicalAnd LogicalNot LogicalOr NotEqual
    OnesLike Rank Round Shape ShapeN Sign Size StopGradient ZerosLike BroadcastGradientArgs InvertPermutation""".split()
)
PIECEWISE_LINEAR = frozenset(
    """Abs Add AddN AddV2 AvgPool BatchToSpace BatchToSpaceND BiasAdd BroadcastTo Cast ConcatV2 Cumsum
    DepthToSpace EnsureShape ExpandDims GatherNd GatherV2 Identity IdentityN LeakyRelu MatrixBandPart Max
    MaxPool MaxPoolV2 Maximum Mean Min Minimum MirrorPad Neg Pack Pad PadV2 PlaceholderWithDefault
    Relu Relu6 Reshape ResizeBicubic ResizeNearestNeighbor Reverse ReverseV2 Roll
    Select SelectV2 Slice SpaceToBatch SpaceToBatchND SpaceToDepth Split SplitV Squeeze StridedSlice
    Sub Sum Tile Transpose Unpack""".split()
)
# Linear in each operand while the others stay.
MULTILINEAR = frozenset(
    """BatchMatMul BatchMatMulV2 BatchMatMulV3 Conv2D Conv2DBackpropInput Conv3D DepthwiseConv2dNative Einsum MatMul
    Mul""".split()
)
# Linear in operand 0 while operand 1 stays.
DIVISIONS = frozenset({"RealDiv", "Div"})
CARRIERS = frozenset({"Identity", "Reshape", "Squeeze", "ExpandDims", "Transpose", "Cast"})
# Every entry that they make depends on one entry of each operand.
ONE_BY_ONE = frozenset(
    """Abs Acos Acosh Add AddN AddV2 Asin Asinh Atan Atan2 Atanh BiasAdd Cast Cos Cosh Digamma Div DivNoNan Elu
    EnsureShape Erf Erfc Erfinv Exp ExpandDims Expm1 Identity Inv LeakyRelu Lgamma Log Log1p Maximum Minimum Mul
    MulNoNan Ndtri Neg Pow RealDiv Reciprocal Relu Relu6 Reshape Rsqrt Select SelectV2 Selu Sigmoid Sin Sinh Softplus
    Softsign Sqrt Square SquaredDifference Squeeze Sub Tan Tanh Xdivy Xlog1py Xlogy""".split()
)
LOOPS = frozenset(
    {"While", "StatelessWhile", "If", "StatelessIf", "Case", "PartitionedCall", "StatefulPartitionedCall"}
)


def readable(operation: str) -> str:
    """``BatchMatMulV2`` → ``batch_mat_mul``."""
    bare = re.sub(r"(V\d+|Native)$", "", operation)
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", bare).lower()


def stops(node: Any) -> bool:
    """Whether no derivative passes through a node."""
    if node.op == "Cast":
        dtype = tensorflow().as_dtype(node.attr["DstT"].type)
        return not (dtype.is_floating or dtype.is_complex)
    return node.op in NOT_DIFFERENTIABLE


def blocked_by(operation: str, masks: Sequence[int], total: int) -> int:
    """Which of the sets that an operation's operands depend on it is not piecewise linear in.

    Args:
        operation: its kind.
        masks: per operand, a bit for every set it depends on.
        total: all of these bits.
    """
    if not total or operation in PIECEWISE_LINEAR:
        return 0
    if operation in MULTILINEAR:
        both, earlier = 0, 0
        for mask in masks:
            both |= earlier & mask
            earlier |= mask
        return both
    if operation in DIVISIONS:
        return masks[1] if len(masks) > 1 else 0
    return total
