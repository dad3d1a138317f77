"""L2 normalisation in pieces, x * rsqrt(max(sum(x^2), epsilon)), which the converter makes one integer kernel of."""

from __future__ import annotations

from collections.abc import Iterator

from fqrewrite.ir.graph import Node
from fqrewrite.match.analysis import Analysis
from fqrewrite.match.parameters import constant_float
from fqrewrite.match.pattern import Bind, OneOf, Op
from fqrewrite.match.proposal import Proposal, Rule, SiteProposal
from fqrewrite.match.ranks import is_last_axis
from fqrewrite.rules._site import inner_nodes

_X = Bind("x")
_SUM = Op("Sum", Op("Square", _X), Bind("axes"))
_EPSILON = Bind(where=lambda value: constant_float(value) is not None)
_PLUS_EPSILON = Op("Maximum|Add|AddV2", _SUM, _EPSILON, commutative=True)
# Swapped, or with x * x for the square, the converter sees several operations.
_NORMALIZED = OneOf(Op("Mul", _X, Op("Rsqrt", _PLUS_EPSILON)), Op("RealDiv", _X, Op("Sqrt", _PLUS_EPSILON)))


def _propose(node: Node, analysis: Analysis) -> Iterator[Proposal]:
    found = _NORMALIZED.match(node.value())
    if found is not None and is_last_axis(found["axes"], found["x"]):
        inner = inner_nodes(node.value(), found["x"], analysis)
        if inner is not None:
            limits = (-1.0, 127 / 128)
            yield SiteProposal(result=node.value(), operands=(found["x"],), kind="fixed", inner=inner, limits=limits)


RULE = Rule(
    name="l2_normalization",
    phase="site",
    ops=("Mul", "RealDiv"),
    summary="L2 normalisation over the last axis, in pieces, is one kernel; its result has the range [-1, 127/128].",
    propose=_propose,
    placements=("integer",),
)
