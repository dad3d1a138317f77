"""Conv2DBackpropInput with parameters as filter: a transposed convolution."""

from __future__ import annotations

from collections.abc import Iterator

from fqrewrite.ir.graph import Node
from fqrewrite.match.analysis import Analysis
from fqrewrite.match.proposal import Proposal, Rule
from fqrewrite.rules._layer import propose_layer


def _propose(node: Node, analysis: Analysis) -> Iterator[Proposal]:
    return propose_layer(node, analysis, "transposed_conv2d", (1,), operands=(1, 2))


RULE = Rule(
    name="transposed_conv2d",
    phase="layer",
    ops=("Conv2DBackpropInput",),
    summary="`Conv2DBackpropInput` of data with a filter (`conv2d_transpose`) is a layer.",
    propose=_propose,
    placements=("integer",),
)
