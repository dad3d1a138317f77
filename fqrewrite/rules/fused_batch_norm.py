"""FusedBatchNorm in all its versions, in training and in inference mode."""

from __future__ import annotations

from collections.abc import Iterator

from fqrewrite.ir.graph import Node, Value
from fqrewrite.match.analysis import Analysis
from fqrewrite.match.moving_average import find_moving_average
from fqrewrite.match.parameters import dtype_of
from fqrewrite.match.proposal import FoldProposal, Proposal, Rule
from fqrewrite.proto.attrs import get_bool, get_float, get_str
from fqrewrite.proto.dtypes import DT_FLOAT, dtype_name
from fqrewrite.rules._chain import Chain, chain_to_layer
from fqrewrite.rules._fold import Obstacle, fold_or_decline, missing_updates

_DEFAULT_EPSILON = 1e-4  # of the op's attribute, in TensorFlow's op registry


def _propose(node: Node, analysis: Analysis) -> Iterator[Proposal]:
    x, gamma, beta, mean, variance = node.inputs
    training = get_bool(node.proto, "is_training", True)
    moving_mean = find_moving_average(Value(node, 1)) if training else None
    moving_variance = find_moving_average(Value(node, 2)) if training else None

    def obstacle(chain: Chain) -> Obstacle | None:
        missing = missing_updates(moving_mean, moving_variance) if training else None
        return missing or _obstacle(node, chain, analysis)

    def proposal(chain: Chain) -> FoldProposal:
        return FoldProposal(
            layer=chain.layer,
            chain=chain.nodes,
            bias=chain.bias,
            output=node.value(),
            form="fused",
            statistics="batch" if training else "moving",
            gamma=gamma,
            beta=beta,
            mean=None if training else mean,
            variance=None if training else variance,
            epsilon=get_float(node.proto, "epsilon", _DEFAULT_EPSILON),
            moving_mean=moving_mean,
            moving_variance=moving_variance,
        )

    return fold_or_decline(node, chain_to_layer(x, analysis, gamma), analysis, obstacle, proposal)


def _obstacle(node: Node, chain: Chain, analysis: Analysis) -> Obstacle | None:
    """Why this batch norm cannot be folded although a layer is before it; None when it can."""
    training, parameter = get_bool(node.proto, "is_training", True), analysis.parameters.is_parameter
    if dtype_of(node) != DT_FLOAT:
        return "dtype-not-float32", f"it computes in {dtype_name(dtype_of(node))}"
    if node in analysis.control_flow:
        return "inside-control-flow", "it is inside a conditional or a while loop"
    if get_str(node.proto, "data_format", "NHWC") != chain.layer.data_format:
        return "data-format-differs", "its data format is not the layer's"
    if training and get_float(node.proto, "exponential_avg_factor", 1.0) != 1.0:
        reason = "it returns running averages, not the statistics of the batch (exponential_avg_factor)"
        return "batch-norm-running-average", reason
    if not training and not (parameter(node.inputs[3]) and parameter(node.inputs[4])):
        return "batch-norm-statistics-unknown", "its mean and variance are neither variables nor constants"
    return None


RULE = Rule(
    name="fused_batch_norm",
    phase="fold",
    ops=("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"),
    summary="`FusedBatchNorm` (all versions, training or inference) behind a layer is folded into it, through bias, "
    "`Identity`, `Reshape`, `Squeeze` and `BatchToSpaceND`.",
    propose=_propose,
)
