"""layer -> [bias] -> [bypass] -> activation."""

from __future__ import annotations

from collections.abc import Iterator

from fqrewrite.ir.graph import Node
from fqrewrite.match.analysis import Analysis
from fqrewrite.match.proposal import PlacementProposal, Proposal, Rule
from fqrewrite.rules import _placement


def _propose(node: Node, analysis: Analysis) -> Iterator[Proposal]:
    value = node.value()
    tail = _placement.activation(value, analysis)
    if tail is not None:
        yield PlacementProposal(layer=tail.layer, activation=value, biased=tail.biased, bypass=tail.bypass)


RULE = Rule(
    name="activation",
    phase="placement",
    rank=1,
    ops=_placement.ACTIVATIONS,
    summary="A layer's result is quantized behind its activation (`Relu`, `Relu6`, `Identity`); with a bypass `Add` "
    "before it, the bypass's inputs and output too.",
    propose=_propose,
)
