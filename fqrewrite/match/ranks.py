"""The number of a tensor's dimensions, where it follows from the operations themselves."""

from __future__ import annotations

from fqrewrite.ir.graph import Value
from fqrewrite.match.parameters import constant_ints, static_shape
from fqrewrite.proto.attrs import get_bool

_RANKS = {
    "MatMul": 2,
    **dict.fromkeys(("Conv2D", "DepthwiseConv2dNative", "Conv2DBackpropInput", "MaxPool", "AvgPool"), 4),
    **dict.fromkeys(("ResizeBilinear", "ResizeNearestNeighbor", "DepthToSpace", "SpaceToDepth", "FusedBatchNormV3"), 4),
}
_AS_INPUT = frozenset(
    {"Identity", "StopGradient", "Relu", "Relu6", "LeakyRelu", "Elu", "Sigmoid", "Tanh", "Softmax", "LogSoftmax"}
    | {"BiasAdd", "Pad", "MirrorPad", "Abs", "Exp", "Log", "Neg", "Sqrt", "Rsqrt", "Square", "Transpose", "Slice"}
    | {"Tile", "SpaceToBatchND", "BatchToSpaceND", "FakeQuantWithMinMaxVars", "FakeQuantWithMinMaxArgs"}
)
_BROADCAST = frozenset({"Add", "AddV2", "Sub", "Mul", "RealDiv", "Maximum", "Minimum", "SquaredDifference"})
_REDUCE = frozenset({"Mean", "Sum", "Max", "Min"})
_MOST_STEPS = 64
_IMAGES = 4


def known_rank(value: Value, steps: int = _MOST_STEPS) -> int | None:
    """The rank of a tensor; None when it is not known without inferring shapes."""
    node = value.node
    shape = static_shape(value)
    if shape is not None:
        return len(shape)
    if node.op in _RANKS:
        return _RANKS[node.op]
    if not node.inputs or not steps:
        return None
    if node.op in _BROADCAST:
        ranks = [known_rank(operand, steps // 2) for operand in node.inputs]
        return None if None in ranks else max(rank for rank in ranks if rank is not None)
    if node.op == "Reshape":
        sizes = constant_ints(node.inputs[1])
        return None if sizes is None else len(sizes)
    rank = known_rank(node.inputs[0], steps - 1) if node.op in _AS_INPUT or node.op in _REDUCE else None
    if rank is None or node.op not in _REDUCE or get_bool(node.proto, "keep_dims", False):
        return rank
    axes = constant_ints(node.inputs[1])
    return None if axes is None else rank - len({axis % rank for axis in axes})


def is_last_axis(axes: Value, data: Value) -> bool:
    """Whether a reduction over these axes is one over the last axis of the data alone; of images, if nobody knows."""
    numbers = constant_ints(axes)
    if numbers is None or len(numbers) != 1:
        return False
    rank = known_rank(data)
    return numbers[0] == -1 or numbers[0] + 1 == (_IMAGES if rank is None else rank)
