"""L2 normalisation in pieces, x * rsqrt(max(sum(x^2), epsilon)), which the converter makes one integer kernel of."""

from __future__ import annotations

from collections.abc import Iterator

from fqrewrite.ir.graph import Node
from fqrewrite.match.analysis import Analysis
from fqrewrite.match.pattern import Bind, OneOf, Op
from fqrewrite.match.proposal import Proposal, Rule, SiteProposal
from fqrewrite.rules._site import inner_nodes

_X = Bind("x")
_SUM = Op("Sum", OneOf(Op("Square", _X), Op("Mul", _X, _X)), Bind())
_NORMALIZED = Op("Mul", _X, Op("Rsqrt", Op("Maximum", _SUM, Bind(), commutative=True)), commutative=True)


def _propose(node: Node, analysis: Analysis) -> Iterator[Proposal]:
    found = _NORMALIZED.match(node.value())
    if found is not None:
        inner = inner_nodes(node.value(), found["x"], analysis)
        if inner is not None:
            limits = (-1.0, 127 / 128)
            yield SiteProposal(result=node.value(), operands=(found["x"],), kind="fixed", inner=inner, limits=limits)


RULE = Rule(
    name="l2_normalization",
    phase="site",
    ops=("Mul",),
    summary="L2 normalisation in pieces is one kernel; its result has the range [-1, 127/128].",
    propose=_propose,
    placements=("integer",),
)
