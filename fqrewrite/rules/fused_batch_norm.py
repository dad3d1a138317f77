"""FusedBatchNorm in all its versions, in training and in inference mode, folded into the layer before it."""

from __future__ import annotations

from collections.abc import Iterator

from fqrewrite.ir.graph import Node
from fqrewrite.match.analysis import Analysis
from fqrewrite.match.batch_norm import FUSED_OPS, BatchNorm, fused_batch_norm
from fqrewrite.match.parameters import dtype_of
from fqrewrite.match.proposal import Proposal, Rule
from fqrewrite.proto.attrs import get_str
from fqrewrite.proto.dtypes import DT_FLOAT, dtype_name
from fqrewrite.rules._chain import Chain, chain_to_layer
from fqrewrite.rules._fold import Obstacle, fold_or_decline, missing_updates


def _propose(node: Node, analysis: Analysis) -> Iterator[Proposal]:
    norm = fused_batch_norm(node, analysis.parameters)
    if norm is not None:
        yield from fold_or_decline(norm, chain_to_layer(norm.x, analysis, node.inputs[1]), analysis, _obstacle)


def _obstacle(norm: BatchNorm, chain: Chain, analysis: Analysis) -> Obstacle | None:
    """Why this batch norm cannot be folded although a layer is before it; None when it can."""
    node, parameter = norm.node, analysis.parameters.is_parameter
    if norm.average_factor != 1.0:
        reason = "it returns running averages, not the statistics of the batch (exponential_avg_factor)"
        return "batch-norm-running-average", reason
    missing = missing_updates(norm.moving_mean, norm.moving_variance) if norm.training else None
    if missing is not None:
        return missing
    if dtype_of(node) != DT_FLOAT:
        return "dtype-not-float32", f"it computes in {dtype_name(dtype_of(node))}"
    if node in analysis.control_flow:
        return "inside-control-flow", "it is inside a conditional or a while loop"
    if get_str(node.proto, "data_format", "NHWC") != chain.layer.data_format:
        return "data-format-differs", "its data format is not the layer's"
    if not norm.training and not (parameter(node.inputs[3]) and parameter(node.inputs[4])):
        return "batch-norm-statistics-unknown", "its mean and variance are neither variables nor constants"
    return None


RULE = Rule(
    name="fused_batch_norm",
    phase="fold",
    ops=FUSED_OPS,
    summary="`FusedBatchNorm` (all versions, training or inference) behind a layer is folded into it, through bias, "
    "`Identity`, `Reshape`, `Squeeze` and `BatchToSpaceND`.",
    propose=_propose,
)
