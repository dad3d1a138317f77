"""layer -> [bias] -> [bypass] -> activation -> Add of something else: the longest match."""

from __future__ import annotations

from collections.abc import Iterator

from fqrewrite.ir.graph import Node
from fqrewrite.match.analysis import Analysis
from fqrewrite.match.proposal import PlacementProposal, Proposal, Rule
from fqrewrite.rules._placement import ADD, activation


def _propose(node: Node, analysis: Analysis) -> Iterator[Proposal]:
    if len(node.inputs) != 2:
        return
    for operand in reversed(node.inputs):
        tail = activation(operand, analysis)
        if tail is not None:
            yield PlacementProposal(
                layer=tail.layer, activation=operand, biased=tail.biased, bypass=tail.bypass, post=node.value()
            )
            return


RULE = Rule(
    name="post_activation_bypass",
    phase="placement",
    rank=0,
    ops=ADD,
    summary="An `Add` behind a layer's activation is quantized as well, unless a `Relu` or `Relu6` follows it.",
    propose=_propose,
)
