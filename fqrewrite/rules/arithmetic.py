"""Additions, differences and products, with the Relu that the converter fuses."""

from __future__ import annotations

from collections.abc import Iterator

from fqrewrite.ir.graph import Node
from fqrewrite.match.analysis import Analysis
from fqrewrite.match.parameters import is_constant, is_float
from fqrewrite.match.proposal import Proposal, Rule, SiteProposal
from fqrewrite.rules._site import Chain

_RESPELLED = ("AddN", "Square", "Neg")


def _propose(node: Node, analysis: Analysis) -> Iterator[Proposal]:
    if node in analysis.taken or node not in analysis.forward:
        return
    operands = node.inputs[:2]
    if node.op in _RESPELLED and (not is_float(node.value()) or (node.op == "AddN" and len(node.inputs) != 2)):
        return
    if node.op == "Square":
        operands = node.inputs * 2
    if node.op == "RealDiv":
        if not is_constant(node.inputs[1]):
            return
        operands = node.inputs[:1]  # the converter multiplies by the reciprocal, which it computes in float
    respelled = node if node.op in _RESPELLED else None
    chain = Chain(node.value(), (node,), analysis)
    chain.take_relu()
    yield SiteProposal(result=chain.result, operands=tuple(operands), inner=chain.inner, respelled=respelled)


RULE = Rule(
    name="arithmetic",
    phase="site",
    rank=2,
    ops=("Add", "AddV2", "BiasAdd", "Sub", "Mul", "RealDiv", *_RESPELLED),
    summary="`Add`, `Sub` and `Mul` need ranges of both inputs and of the result, behind a `Relu` or `Relu6` that is "
    "the only reader. A division by a constant is a `Mul`; an `AddN` of two becomes an `Add`, `Square` a `Mul`, "
    "`Neg` a `Mul` by -1.",
    propose=_propose,
    placements=("integer",),
)
