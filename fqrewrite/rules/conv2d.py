"""Conv2D with parameters as filter; a 1-D convolution is one too, between ExpandDims and Squeeze."""

from __future__ import annotations

from collections.abc import Iterator

from fqrewrite.ir.graph import Node
from fqrewrite.match.analysis import Analysis
from fqrewrite.match.proposal import Proposal, Rule
from fqrewrite.rules._layer import propose_layer


def _propose(node: Node, analysis: Analysis) -> Iterator[Proposal]:
    return propose_layer(node, analysis, "conv2d", (1,))


RULE = Rule(
    name="conv2d",
    phase="layer",
    ops=("Conv2D",),
    summary="`Conv2D` (and conv1d, which is a `Conv2D` between `ExpandDims` and `Squeeze`) is a layer.",
    propose=_propose,
)
