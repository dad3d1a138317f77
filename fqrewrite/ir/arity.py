"""How many tensors an operation reads, for those whose inputs are looked at by position.

TensorFlow refuses a graph in which that is not so. Asked once, no rule has to ask whether an input is there.
"""

from __future__ import annotations

from fqrewrite.errors import GraphError
from fqrewrite.ir.graph import Graph

_OPS = {
    1: (
        "Identity Relu Relu6 Rsqrt Square Neg StopGradient ReadVariableOp Cast Squeeze MaxPool AvgPool Exit LeakyRelu "
        "Softmax LogSoftmax Sigmoid Tanh Abs Exp Log Sqrt PreventGradient CheckNumerics Snapshot Unpack SpaceToDepth "
        "DepthToSpace FakeQuantWithMinMaxArgs Erf Erfc"
    ),
    2: (
        "Conv2D DepthwiseConv2dNative MatMul BiasAdd Add AddV2 Sub Mul RealDiv SquaredDifference Maximum Minimum "
        "ReluGrad Relu6Grad Reshape ExpandDims Mean Sum Max Transpose Switch Assign AssignAdd AssignSub "
        "AssignVariableOp AssignAddVariableOp AssignSubVariableOp "
        "BatchMatMul BatchMatMulV2 BatchMatMulV3 Split Prod Min Pad "
        "MirrorPad Tile BroadcastTo ReverseV2 Gather GatherNd "
        "ResizeBilinear ResizeNearestNeighbor Pow TopKV2"
    ),
    3: (
        "SpaceToBatchND BatchToSpaceND Select SelectV2 Conv2DBackpropInput "
        "Conv2DBackpropFilter Slice SplitV GatherV2 PadV2 "
        "FakeQuantWithMinMaxVars FakeQuantWithMinMaxVarsPerChannel"
    ),
    4: "StridedSlice",
    5: "FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3",
}
_INPUTS = {op: count for count, ops in _OPS.items() for op in ops.split()}


def check_arity(graph: Graph) -> None:
    """Refuses a graph with a node that has fewer or more inputs than its operation takes.

    Raises:
        GraphError: `wrong-number-of-inputs`.
    """
    for op in graph.op_types():
        count = _INPUTS.get(op)
        for node in graph.by_op(op) if count is not None else ():
            if len(node.inputs) != count:
                what = f"{op} takes {count} input{'' if count == 1 else 's'}, this one has {len(node.inputs)}"
                raise GraphError("wrong-number-of-inputs", what, where=node.name)
