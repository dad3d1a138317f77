"""Operations of one input, or of two on their own scales, whose result has a range of its own."""

from __future__ import annotations

from collections.abc import Iterator

from fqrewrite.ir.graph import Node
from fqrewrite.match.analysis import Analysis
from fqrewrite.match.parameters import constant_float, is_constant, strip_identity
from fqrewrite.match.proposal import Decline, Proposal, Rule, SiteProposal
from fqrewrite.rules._site import RELU

_ONE = ("Relu", "Relu6", "LeakyRelu", "Abs", "Exp", "Log", "Sqrt", "Rsqrt", "Sum", "Mean", "Prod", "Pow")
_TWO = ("SquaredDifference", "MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "Einsum")


def _propose(node: Node, analysis: Analysis) -> Iterator[Proposal]:
    if node in analysis.layers or (node.op == "Pow" and constant_float(node.inputs[1]) != 2):
        return
    if node.op in RELU and _is_quotient(strip_identity(node.inputs[0]).node):
        reason = "it becomes part of the division in front of it, whose integer kernel fails when it is run"
        yield Decline(kind="tensor", node=node, code="float-in-runtime", reason=reason, keeps_result_float=True)
        return
    operands = node.inputs[:2] if node.op in _TWO else node.inputs[:1]
    yield SiteProposal(result=node.value(), operands=tuple(operands))


def _is_quotient(node: Node) -> bool:
    return node.op in ("RealDiv", "Div") and not is_constant(node.inputs[1])


RULE = Rule(
    name="own_range",
    phase="site",
    rank=2,
    ops=_ONE + _TWO,
    summary="Activations that nothing fuses (`Relu`, `LeakyRelu`), `Abs`, `Exp`, `Log`, `Sqrt`, `Rsqrt`, `Sum`, "
    "`Mean`, `Prod`, squares by `Pow`, `SquaredDifference` and matmuls of data with data "
    "need ranges of input and result.",
    propose=_propose,
    placements=("integer",),
)
