"""A layer with nothing known behind it: the result of its fold, or its own output, is quantized."""

from __future__ import annotations

from collections.abc import Iterator

from fqrewrite.ir.graph import Node
from fqrewrite.match.analysis import Analysis
from fqrewrite.match.proposal import PlacementProposal, Proposal, Rule


def _propose(node: Node, analysis: Analysis) -> Iterator[Proposal]:
    layer = analysis.layers.get(node)
    if layer is not None:
        results = analysis.results.get(layer, [node.value()])
        yield PlacementProposal(layer=layer, activation=results[-1])


RULE = Rule(
    name="bare_layer",
    phase="placement",
    rank=3,
    ops=("Conv2D", "DepthwiseConv2dNative", "MatMul"),
    summary="A layer with neither bias nor activation (or the first half of a separable convolution) is quantized at "
    "its own output, or at the result of its fold.",
    propose=_propose,
)
