"""MatMul of data with parameters, in either order, transposed or not."""

from __future__ import annotations

from collections.abc import Iterator

from fqrewrite.ir.graph import Node
from fqrewrite.match.analysis import Analysis
from fqrewrite.match.proposal import Proposal, Rule
from fqrewrite.rules._layer import propose_layer


def _propose(node: Node, analysis: Analysis) -> Iterator[Proposal]:
    return propose_layer(node, analysis, "matmul", (1, 0))


RULE = Rule(
    name="matmul",
    phase="layer",
    ops=("MatMul",),
    summary="`MatMul` of data with weights, in either order, is a layer; so is the `MatMul` inside a Tensordot.",
    propose=_propose,
)
