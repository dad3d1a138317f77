"""Operations that the integer runtime computes in float, whatever ranges there are."""

from __future__ import annotations

from collections.abc import Iterator

from fqrewrite.ir.graph import Node
from fqrewrite.match.analysis import Analysis
from fqrewrite.match.parameters import is_float
from fqrewrite.match.proposal import Decline, Proposal, Rule

_NO_KERNEL = "the integer runtime has no integer kernel for it"
_WHY = {
    "AddN": "the runtime's kernel gives wrong numbers; add in pairs",
    "Softplus": "it becomes Exp, Add and Log without ranges between them; write it so",
    "Selu": "it becomes several operations without ranges between them",
    "Softsign": "it becomes several operations without ranges between them",
    "RealDiv": "its integer kernel fails when it is run; multiply by the reciprocal",
    "DivNoNan": "it becomes a division, whose integer kernel fails when it is run; multiply by the reciprocal",
    "Erf": "it has a kernel only as part of a GELU, and the converter fails without",
    "Erfc": "it has a kernel only as part of a GELU, and the converter fails without",
    "Div": "its integer kernel fails when it is run; multiply by the reciprocal",
    "Cast": "it makes floats of other numbers",
    **dict.fromkeys(("Elu", "Floor", "Ceil", "Round", "Sign", "Sin", "Cos", "LRN", "Cumsum", "Pow"), _NO_KERNEL),
}


def _propose(node: Node, analysis: Analysis) -> Iterator[Proposal]:
    if is_float(node.value()):
        fails = node.op in ("RealDiv", "Div", "DivNoNan")
        reason = f"{node.op}: {_WHY[node.op]}"
        yield Decline(kind="tensor", node=node, code="float-in-runtime", reason=reason, keeps_result_float=fails)


RULE = Rule(
    name="float_operations",
    phase="site",
    rank=3,
    ops=tuple(_WHY),
    summary="`Elu`, `Floor`, `Cumsum`, `Sin`, `LRN`, `AddN` of three or more, divisions and some more stay float in "
    "the integer runtime, and are listed.",
    propose=_propose,
    placements=("integer",),
)
