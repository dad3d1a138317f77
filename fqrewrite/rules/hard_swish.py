"""Hard-swish in pieces, x * relu6(x + 3) / 6, where the converter makes one integer kernel of them."""

from __future__ import annotations

from collections.abc import Iterator

from fqrewrite.ir.graph import Node
from fqrewrite.match.analysis import Analysis
from fqrewrite.match.pattern import Bind, OneOf, Op
from fqrewrite.match.proposal import Proposal, Rule, SiteProposal
from fqrewrite.rules._site import inner_nodes, number

_SIXTH, _SIX = number(1 / 6, exact=True), number(6, exact=True)
_SCALAR_SIXTH = number(1 / 6, exact=True, shape=())
_GATE = Op("Relu6", Op("Add|AddV2", Bind("x"), number(3, exact=True), commutative=True))
_SCALED_GATE = OneOf(Op("Mul", _GATE, _SIXTH, commutative=True), Op("RealDiv", _GATE, _SIX))
# The converter looks for x first, and for 1 / 6 as float32 has it. (x / 6) * relu6(x + 3) stays three operations.
_GATED = Op("Mul", Bind("x"), _GATE)
_HARD_SWISH = OneOf(
    Op("Mul", _GATED, _SCALAR_SIXTH, commutative=True),
    Op("RealDiv", _GATED, _SIX),
    Op("Mul", Bind("x"), _SCALED_GATE, commutative=True),
)


def _propose(node: Node, analysis: Analysis) -> Iterator[Proposal]:
    found = _HARD_SWISH.match(node.value())
    if found is not None:
        inner = inner_nodes(node.value(), found["x"], analysis)
        if inner is not None:
            yield SiteProposal(result=node.value(), operands=(found["x"],), inner=inner)


RULE = Rule(
    name="hard_swish",
    phase="site",
    ops=("Mul", "RealDiv"),
    summary="`x * relu6(x + 3) / 6` is one kernel, quantized before and behind it; written as `(x / 6) * relu6(x + 3)` "
    "or `relu6(x + 3) * x / 6` it is three.",
    propose=_propose,
    placements=("integer",),
)
