"""DepthwiseConv2dNative with parameters as filter."""

from __future__ import annotations

from collections.abc import Iterator

from fqrewrite.ir.graph import Node
from fqrewrite.match.analysis import Analysis
from fqrewrite.match.proposal import Proposal, Rule
from fqrewrite.rules._layer import propose_layer


def _propose(node: Node, analysis: Analysis) -> Iterator[Proposal]:
    return propose_layer(node, analysis, "depthwise", (1,))


RULE = Rule(
    name="depthwise_conv2d",
    phase="layer",
    ops=("DepthwiseConv2dNative",),
    summary="`DepthwiseConv2dNative` is a layer.",
    propose=_propose,
)
