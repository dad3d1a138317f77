"""What the TFLite converter and its integer kernels do with each TensorFlow op: measured on TensorFlow 2.21.

`tests/check/small_graphs.py` holds the graphs; a fact that is not confirmed by one of them does not belong here.
The converter gives an op integer kernels when it knows the range of every float tensor that the op reads and gives.
A fake quantizer right behind a tensor says its range; ops of some kinds pass ranges on.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Kind = Literal["own", "pass", "mean", "fixed", "index", "float", "fails"]
"""How an op comes by the range of its result:

* own: from a quantizer behind it alone.
* pass: it has the scale of its inputs; a range is passed on forwards and backwards.
* mean: from a quantizer behind it, or from one directly in front of it.
* fixed: the runtime prescribes it.
* index: the result is no float tensor and needs none; the inputs need ranges.
* float: there is no integer kernel, or the converter does not use it.
* fails: the converter, or the model, stops.
"""


class Operation(msgspec.Struct, frozen=True):
    """What is known of an op type.

    Attributes:
        kind: see `Kind`.
        why: for "float" and "fails", what is the matter, as the end of the sentence "<op> ...".
        remedy: what to do about it.
    """

    kind: Kind
    why: str = ""
    remedy: str = ""


class WeightRule(msgspec.Struct, frozen=True):
    """What the int8 kernel of a layer needs of its weights.

    Attributes:
        slot: input that holds the weights when it is constant.
        channel_axes: for each rank, the axis on which there may be one range per channel.
        asymmetric: what becomes of a zero point that is not 0: "fails" to load, "wrong" numbers, or "fine".
    """

    slot: int = 1
    channel_axes: frozenset[int] = frozenset()
    asymmetric: Literal["fails", "wrong", "fine"] = "fine"


WEIGHTS: dict[str, WeightRule] = {
    "Conv2D": WeightRule(channel_axes=frozenset({3}), asymmetric="fails"),
    # Also through a reshape from [H, W, 1, C*M].
    "DepthwiseConv2dNative": WeightRule(channel_axes=frozenset({2, 3}), asymmetric="wrong"),
    "Conv2DBackpropInput": WeightRule(asymmetric="wrong"),
    "MatMul": WeightRule(),
    "BatchMatMul": WeightRule(),
    "BatchMatMulV2": WeightRule(),
    "BatchMatMulV3": WeightRule(),
    "Einsum": WeightRule(),
}
SHAPE_ONLY = frozenset({"Shape", "ShapeN", "Size", "Rank", "ZerosLike", "OnesLike"})
"""Ops that do not read their operand's numbers."""
DATA_SLOTS = {"Conv2DBackpropInput": (1, 2)}
"""Inputs that are float tensors, for ops with others beside them; by default all."""

ALIASES = frozenset(
    {"Identity", "StopGradient", "PreventGradient", "Snapshot", "EnsureShape", "IdentityN", "CheckNumerics"}
)
"""Ops that the converter removes."""

_OWN = (
    "Relu Relu6 LeakyRelu Abs Exp Log Sqrt Rsqrt Sum Prod Add AddV2 BiasAdd Sub Mul RealDiv DivNoNan SquaredDifference"
    " ReverseV2 Conv2D DepthwiseConv2dNative Conv2DBackpropInput MatMul BatchMatMul BatchMatMulV2 BatchMatMulV3 Einsum"
)
_PASS = (
    "Reshape Squeeze ExpandDims Transpose Pad PadV2 MirrorPad MaxPool AvgPool Slice StridedSlice Gather GatherV2"
    " GatherNd Tile ResizeBilinear ResizeNearestNeighbor DepthToSpace SpaceToDepth SpaceToBatchND BatchToSpaceND"
    " Max Min Maximum Minimum TopKV2 BroadcastTo Pack Unpack Split SplitV Concat ConcatV2 Select SelectV2 MatrixDiagV3"
)
_INDEX = (
    "ArgMax ArgMin Greater GreaterEqual Less LessEqual Equal NotEqual LogicalNot LogicalAnd LogicalOr"
    " Shape ShapeN Size Rank ZerosLike OnesLike Range Assert NoOp"
)
NO_KERNEL = "is always computed in float: the runtime has no integer kernel that the converter would use"
_FLOAT = {
    "Elu": "use Relu, LeakyRelu or the hard swish",
    "Selu": "use Relu, LeakyRelu or the hard swish",
    "Softplus": "write it as Log(Exp(x) + 1) with a quantizer behind each step",
    "Neg": "multiply by -1, or subtract from a constant",
    "Square": "multiply the tensor by itself",
    "AddN": "add in pairs (AddV2)",
    "Conv3D": "keep it in float, or make 2-D convolutions of it",
    "Cast": "give the model float inputs, and cast outside of it",
    "OneHot": "give the index, and expand it outside of the model",
} | dict.fromkeys(
    [
        "Floor",
        "Ceil",
        "Round",
        "Rint",
        "Sign",
        "Sin",
        "Cos",
        "Cumsum",
        "LRN",
        "RFFT",
        "RFFT2D",
        "ComplexAbs",
        "Atan2",
        "FloorDiv",
        "Pow",
        "RandomUniform",
        "RandomStandardNormal",
    ],
    "keep it in float, or do it outside of the model",
)
_FAILS = {
    "Erf": ("is no builtin op of TFLite outside of a GELU", "write the GELU as 0.5 * x * (1 + Erf(x / sqrt(2)))"),
    "CropAndResize": ("is no builtin op of TFLite", "crop outside of the model, or use ResizeBilinear"),
    "ResizeBicubic": ("is no builtin op of TFLite", "use ResizeBilinear"),
    "MaxPoolWithArgmax": ("is no builtin op of TFLite", "use MaxPool where the index is not needed"),
    "Print": ("is no builtin op of TFLite", "export the graph without it"),
}

OPERATIONS: dict[str, Operation] = (
    {op: Operation("own") for op in _OWN.split()}
    | {op: Operation("pass") for op in _PASS.split()}
    | {op: Operation("index") for op in _INDEX.split()}
    | {op: Operation("fixed") for op in ("Sigmoid", "Tanh", "Softmax", "LogSoftmax")}
    | {"Mean": Operation("mean")}
    | {op: Operation("float", NO_KERNEL, remedy) for op, remedy in _FLOAT.items()}
    | {op: Operation("fails", *said) for op, said in _FAILS.items()}
)

FIXED_RANGES = {"Sigmoid": (0.0, 255 / 256), "Softmax": (0.0, 255 / 256), "Tanh": (-1.0, 127 / 128)}
"""A quantizer behind these that says something else costs a requantization and up to 1 LSB."""

BATCH_NORMS = frozenset({"FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"})
FUSED_ACTIVATIONS = frozenset({"Relu", "Relu6"})
TAKES_ACTIVATION = frozenset(
    {"Conv2D", "DepthwiseConv2dNative", "Conv2DBackpropInput", "MatMul", "MaxPool", "AvgPool"}
    | {"Add", "AddV2", "BiasAdd", "Sub", "Mul", "RealDiv"}
)
"""Ops that a Relu or Relu6 which alone reads their result becomes part of."""
TAKES_BIAS = frozenset({"Conv2D", "DepthwiseConv2dNative", "Conv2DBackpropInput", "MatMul"})
TAKES_SCALE = frozenset({"Conv2D", "DepthwiseConv2dNative"})
"""Layers that a product with a vector, one factor per channel, is multiplied into."""

CONCATS = frozenset({"Concat", "ConcatV2"})
"""Ops that bring operands with different ranges to one; all others take the first operand's."""
SPLITS = {"Split": "num_split", "SplitV": "num_split", "Unpack": "num"}
"""Ops with several results, and the attribute that says how many."""
VARIABLES = frozenset({"Variable", "VariableV2", "VarHandleOp", "ReadVariableOp", "TemporaryVariable"})
CONTROL_FLOW = frozenset({"Switch", "Merge", "Enter", "Exit", "NextIteration", "LoopCond", "RefSwitch", "RefMerge"})
CALLS = frozenset(
    {"PartitionedCall", "StatefulPartitionedCall", "If", "StatelessIf", "While", "StatelessWhile", "Case"}
)
