"""Operations that move numbers, or choose among them: the result has the range of the input."""

from __future__ import annotations

from collections.abc import Iterator

from fqrewrite.ir.graph import Node
from fqrewrite.match.analysis import Analysis
from fqrewrite.match.parameters import is_float
from fqrewrite.match.proposal import Proposal, Rule, SiteProposal

_SLOTS = {"Split": 1}
_OPS = (
    *("Identity", "IdentityN", "StopGradient", "PreventGradient", "CheckNumerics", "Snapshot"),
    *("Reshape", "Squeeze", "ExpandDims", "Transpose", "Pad", "MirrorPad", "Tile", "BroadcastTo"),
    *("MaxPool", "AvgPool", "Max", "Min", "ResizeBilinear", "ResizeNearestNeighbor"),
    *("Slice", "StridedSlice", "Gather", "GatherV2", "GatherNd", "Split", "SplitV", "Unpack", "TopKV2"),
    *("SpaceToBatchND", "BatchToSpaceND", "SpaceToDepth", "DepthToSpace"),
)


def _propose(node: Node, analysis: Analysis) -> Iterator[Proposal]:
    if node.op == "IdentityN" and any(user.inputs[slot].port for user, slot in node.uses):
        return  # it hands on several tensors; behind a custom gradient (swish), the others are there for that alone
    operand = node.inputs[_SLOTS.get(node.op, 0)]
    if is_float(node.value()):
        yield SiteProposal(result=node.value(), operands=(operand,), kind="same")


RULE = Rule(
    name="same_range",
    phase="site",
    rank=2,
    ops=_OPS,
    summary="Reshaping, transposing, padding, pooling, resizing, slicing, splitting and gathering hand on the range "
    "of their input; no quantizer stands behind them.",
    propose=_propose,
    placements=("integer",),
)
