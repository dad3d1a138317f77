"""Dropout, which an inference graph does not have: the result has the range of what goes in."""

from __future__ import annotations

from collections.abc import Iterator

from fqrewrite.ir.graph import Node
from fqrewrite.match.analysis import Analysis
from fqrewrite.match.dropout import dropped_out
from fqrewrite.match.proposal import Proposal, Rule, SiteProposal


def _propose(node: Node, analysis: Analysis) -> Iterator[Proposal]:
    data = dropped_out(node)
    if data is not None:
        yield SiteProposal(result=node.value(), operands=(data,), kind="same")


RULE = Rule(
    name="dropout_kernel",
    phase="site",
    ops=("Mul", "RealDiv", "Select", "SelectV2"),
    summary="Dropout gets no quantizers: it is gone in the inference graph.",
    propose=_propose,
    placements=("integer",),
)
