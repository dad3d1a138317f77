"""A fused batch norm that no layer can take in, for instance behind an activation or at the input of the graph."""

from __future__ import annotations

from collections.abc import Iterator

from fqrewrite.ir.graph import Node
from fqrewrite.match.analysis import Analysis
from fqrewrite.match.batch_norm import FUSED_OPS, BatchNorm, fused_batch_norm
from fqrewrite.match.parameters import dtype_of
from fqrewrite.match.proposal import Proposal, Rule, SiteProposal
from fqrewrite.proto.attrs import get_str
from fqrewrite.proto.dtypes import DT_FLOAT
from fqrewrite.rules._chain import NoChain, chain_to_layer
from fqrewrite.rules._site import Chain


def _propose(node: Node, analysis: Analysis) -> Iterator[Proposal]:
    if node in analysis.control_flow or node in analysis.taken:
        return
    norm = fused_batch_norm(node, analysis.parameters)
    if norm is None:
        return
    before = chain_to_layer(norm.x, analysis, node.inputs[1])
    if not isinstance(before, NoChain) or before.layer is not None:
        return  # behind a layer that is left out, the converter folds it into that, in float
    if not _is_factor_and_offset(norm, analysis):
        return
    chain = Chain(node.value(), (node,), analysis)
    chain.take_relu()
    yield SiteProposal(result=chain.result, operands=(norm.x,), inner=chain.inner, respelled=node)


def _is_factor_and_offset(norm: BatchNorm, analysis: Analysis) -> bool:
    """Whether it multiplies and adds one parameter per channel in the inference graph, on the last axis of four."""
    node, parameter = norm.node, analysis.parameters.is_parameter
    if norm.training:
        known = norm.average_factor == 1.0 and norm.moving_mean is not None and norm.moving_variance is not None
    else:
        known = parameter(node.inputs[3]) and parameter(node.inputs[4])
    return (
        known
        and norm.affine == "parameters"
        and dtype_of(node) == DT_FLOAT
        and get_str(node.proto, "data_format", "NHWC") == "NHWC"
    )


RULE = Rule(
    name="batch_norm_kernel",
    phase="site",
    rank=2,
    ops=FUSED_OPS,
    summary="A `FusedBatchNorm` that no layer takes in needs ranges of its input and of its result, behind a `Relu` or "
    "`Relu6` that is the only reader. In an eval graph for TFLite it becomes a depthwise convolution of 1x1 with bias, "
    "whose integer kernel has one factor per channel.",
    propose=_propose,
    placements=("integer",),
    targets=("tflite-int8",),
)
