"""Operations that move numbers, or choose among them: the result has the range of the input."""

from __future__ import annotations

from collections.abc import Iterator

from fqrewrite.ir.graph import Node, Value
from fqrewrite.match.analysis import Analysis
from fqrewrite.match.parameters import is_float
from fqrewrite.match.proposal import Proposal, Rule, SiteProposal
from fqrewrite.proto.attrs import get_int

_SLOTS = {"Split": 1}
_SPLITS = {"Split": "num_split", "SplitV": "num_split", "Unpack": "num"}
_OPS = (
    *("Identity", "IdentityN", "StopGradient", "PreventGradient", "CheckNumerics", "Snapshot"),
    *("Reshape", "Squeeze", "ExpandDims", "Transpose", "Pad", "MirrorPad", "Tile", "BroadcastTo"),
    *("MaxPool", "AvgPool", "Max", "Min", "ResizeBilinear", "ResizeNearestNeighbor"),
    *("Slice", "StridedSlice", "Gather", "GatherV2", "GatherNd", "Split", "SplitV", "Unpack", "TopKV2"),
    *("SpaceToBatchND", "BatchToSpaceND", "SpaceToDepth", "DepthToSpace"),
)


def _propose(node: Node, analysis: Analysis) -> Iterator[Proposal]:
    operands: tuple[Value, ...] = (node.inputs[_SLOTS.get(node.op, 0)],)
    if node.op == "IdentityN" and any(_is_read(node.value(port), analysis) for port in range(1, len(node.inputs))):
        operands = tuple(node.inputs)  # of tf.nn.silu and other custom gradients, the first alone is read
    if is_float(node.value()):
        marked = _marked(node, analysis)
        yield SiteProposal(result=node.value(), operands=operands, kind="same", marked=marked)


def _marked(node: Node, analysis: Analysis) -> Value | None:
    """The first result of a split that is read, when others are not.

    The converter (TensorFlow 2.21) computes such a split in integers or in float, at random, unless there is a
    quantizer behind one of its results.
    """
    if node.op not in _SPLITS:
        return None
    results = [node.value(port) for port in range(get_int(node.proto, _SPLITS[node.op], 1))]
    read = [value for value in results if _is_read(value, analysis)]
    return read[0] if 0 < len(read) < len(results) else None


def _is_read(value: Value, analysis: Analysis) -> bool:
    return value in analysis.outputs or any(user in analysis.forward for user, _ in value.uses())


RULE = Rule(
    name="same_range",
    phase="site",
    rank=2,
    ops=_OPS,
    summary="Reshaping, transposing, padding, pooling, resizing, slicing, splitting and gathering hand on the range "
    "of their input; no quantizer stands behind them, but behind one result of a split of which others are unused.",
    propose=_propose,
    placements=("integer",),
)
