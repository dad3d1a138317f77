"""layer -> bias add, with no activation that is known."""

from __future__ import annotations

from collections.abc import Iterator

from fqrewrite.ir.graph import Node
from fqrewrite.match.analysis import Analysis
from fqrewrite.match.proposal import PlacementProposal, Proposal, Rule
from fqrewrite.rules._placement import ADD, bias_add


def _propose(node: Node, analysis: Analysis) -> Iterator[Proposal]:
    tail = bias_add(node.value(), analysis)
    if tail is not None:
        yield PlacementProposal(layer=tail.layer, activation=node.value())


RULE = Rule(
    name="final_bias",
    phase="placement",
    rank=2,
    ops=(*ADD, "BiasAdd"),
    summary="A layer without an activation that is known is quantized behind its bias add.",
    propose=_propose,
)
