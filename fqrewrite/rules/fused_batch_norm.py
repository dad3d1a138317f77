"""FusedBatchNorm in all its versions, in training and in inference mode."""

from __future__ import annotations

from collections.abc import Iterator

from fqrewrite.ir.graph import Node, Value
from fqrewrite.match.analysis import Analysis
from fqrewrite.match.moving_average import find_moving_average
from fqrewrite.match.parameters import dtype_of
from fqrewrite.match.proposal import Decline, FoldProposal, Proposal, Rule
from fqrewrite.proto.attrs import get_bool, get_float, get_str
from fqrewrite.proto.dtypes import DT_FLOAT, dtype_name
from fqrewrite.rules._chain import Chain, NoChain, chain_to_layer

_DEFAULT_EPSILON = 1e-4  # of the op's attribute, in TensorFlow's op registry


def _propose(node: Node, analysis: Analysis) -> Iterator[Proposal]:
    x, gamma, beta, mean, variance = node.inputs
    chain = chain_to_layer(x, analysis, gamma)
    if chain.layer is not None and chain.layer.node in analysis.set_aside:
        return
    training = get_bool(node.proto, "is_training", True)
    moving_mean = find_moving_average(Value(node, 1)) if training else None
    moving_variance = find_moving_average(Value(node, 2)) if training else None
    if not isinstance(chain, NoChain) and training and (moving_mean is None or moving_variance is None):
        reason = "it is in training mode and the graph has no update of its moving averages in a known form"
        chain = NoChain(code="batch-norm-without-moving-average", reason=reason, layer=chain.layer)
    if not isinstance(chain, NoChain):
        chain = _obstacle(node, chain, analysis) or chain
    if isinstance(chain, NoChain):
        yield Decline(kind="batch_norm", node=node, code=chain.code, reason=chain.reason, layer=chain.layer)
        return
    output = node.value()
    if not output.uses() and output not in analysis.outputs:
        return
    yield FoldProposal(
        layer=chain.layer,
        chain=chain.nodes,
        bias=chain.bias,
        output=output,
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


def _obstacle(node: Node, chain: Chain, analysis: Analysis) -> NoChain | None:
    """Why this batch norm cannot be folded although a layer is before it; None when it can."""
    training, parameter = get_bool(node.proto, "is_training", True), analysis.parameters.is_parameter
    if dtype_of(node) != DT_FLOAT:
        code, reason = "dtype-not-float32", f"it computes in {dtype_name(dtype_of(node))}"
    elif node in analysis.control_flow:
        code, reason = "inside-control-flow", "it is inside a conditional or a while loop"
    elif get_str(node.proto, "data_format", "NHWC") != chain.layer.data_format:
        code, reason = "data-format-differs", "its data format is not the layer's"
    elif training and get_float(node.proto, "exponential_avg_factor", 1.0) != 1.0:
        code = "batch-norm-running-average"
        reason = "it returns running averages, not the statistics of the batch (exponential_avg_factor)"
    elif not training and not (parameter(node.inputs[3]) and parameter(node.inputs[4])):
        code, reason = "batch-norm-statistics-unknown", "its mean and variance are neither variables nor constants"
    else:
        return None
    return NoChain(code=code, reason=reason, layer=chain.layer)


RULE = Rule(
    name="fused_batch_norm",
    phase="fold",
    ops=("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"),
    summary="`FusedBatchNorm` (all versions, training or inference) behind a layer is folded into it, through bias, "
    "`Identity`, `Reshape`, `Squeeze` and `BatchToSpaceND`.",
    propose=_propose,
)
