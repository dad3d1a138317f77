"""Fake quantizers that the model brings along."""

from __future__ import annotations

from collections.abc import Iterator

from fqrewrite.ir.graph import Node
from fqrewrite.match.analysis import Analysis
from fqrewrite.match.parameters import FAKE_QUANT_OPS
from fqrewrite.match.proposal import Proposal, Rule, SiteProposal


def _propose(node: Node, analysis: Analysis) -> Iterator[Proposal]:
    yield SiteProposal(result=node.value(), operands=(node.inputs[0],), kind="given")


RULE = Rule(
    name="own_fake_quant",
    phase="site",
    ops=tuple(sorted(FAKE_QUANT_OPS)),
    summary="A tensor that runs into the model's own fake quantizer keeps that one.",
    propose=_propose,
    placements=("integer",),
)
