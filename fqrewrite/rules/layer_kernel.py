"""A layer with its bias and its Relu, which the converter makes one integer kernel of."""

from __future__ import annotations

from collections.abc import Iterator

from fqrewrite.ir.graph import Node
from fqrewrite.match.analysis import Analysis
from fqrewrite.match.proposal import Proposal, Rule, SiteProposal
from fqrewrite.rules._site import Chain


def _propose(node: Node, analysis: Analysis) -> Iterator[Proposal]:
    layer = analysis.layers.get(node)
    if layer is None:
        return
    results = analysis.results.get(layer)
    if results is not None:
        chain = Chain(results[-1], (node, *(value.node for value in results)), analysis)
    else:
        chain = Chain(node.value(), (node,), analysis)
    if layer.kind != "batch_matmul":
        chain.take_biases(layer, biased=results is not None)
        chain.take_relu_behind_shapes(layer)
    operand = node.inputs[layer.data_slot]
    yield SiteProposal(result=chain.result, operands=(operand,), inner=chain.inner, layer=layer)


RULE = Rule(
    name="layer_kernel",
    phase="site",
    rank=1,
    ops=(
        "Conv2D",
        "DepthwiseConv2dNative",
        "MatMul",
        "Conv2DBackpropInput",
        "BatchMatMul",
        "BatchMatMulV2",
        "BatchMatMulV3",
        "Einsum",
    ),
    summary="A layer needs ranges of its input and of its result: behind bias or folded batch norm, and behind a "
    "`Relu` or `Relu6` that is the only reader (a batch matmul is not fused with either).",
    propose=_propose,
    placements=("integer",),
)
