"""GELU in pieces (Hendrycks and Gimpel 2016), which the converter makes one integer kernel of."""

from __future__ import annotations

import math
from collections.abc import Iterator

from fqrewrite.ir.graph import Node
from fqrewrite.match.analysis import Analysis
from fqrewrite.match.pattern import Bind, OneOf, Op
from fqrewrite.match.proposal import Proposal, Rule, SiteProposal
from fqrewrite.rules._site import inner_nodes, number

_X = Bind("x")
_HALF = Op("Mul", number(0.5), _X, commutative=True)
_ROOT = number(math.sqrt(0.5))
_ERFC = Op("Erfc", Op("Mul", Op("Neg", _X), _ROOT, commutative=True))
_ERF = Op("Erf", OneOf(Op("Mul", _X, _ROOT, commutative=True), Op("RealDiv", _X, number(math.sqrt(2)))))
_CUBE = Op("Mul", Op("Pow", _X, number(3)), number(0.044715), commutative=True)
_TANH = Op(
    "Tanh", Op("Mul", Op("Add|AddV2", _X, _CUBE, commutative=True), number(math.sqrt(2 / math.pi)), commutative=True)
)
_ONE_PLUS = Op("Add|AddV2", number(1), OneOf(_ERF, _TANH), commutative=True)
# The half comes first, or the converter sees several operations.
_GELU = Op("Mul", _HALF, OneOf(_ERFC, _ONE_PLUS))


def _propose(node: Node, analysis: Analysis) -> Iterator[Proposal]:
    found = _GELU.match(node.value())
    if found is not None:
        inner = inner_nodes(node.value(), found["x"], analysis)
        if inner is not None:
            yield SiteProposal(result=node.value(), operands=(found["x"],), inner=inner)


RULE = Rule(
    name="gelu",
    phase="site",
    ops=("Mul",),
    summary="GELU in pieces, with `Erf`, `Erfc` or the `Tanh` approximation, is one kernel.",
    propose=_propose,
    placements=("integer",),
)
