"""PReLU in pieces, relu(x) + alpha * relu(-x), which the converter makes one integer kernel of."""

from __future__ import annotations

from collections.abc import Iterator

from fqrewrite.ir.graph import Node
from fqrewrite.match.analysis import Analysis
from fqrewrite.match.parameters import static_shape
from fqrewrite.match.pattern import Bind, Op
from fqrewrite.match.proposal import Proposal, Rule, SiteProposal
from fqrewrite.rules._site import inner_nodes

_NEGATIVE = Op("Relu", Op("Neg", Bind("x")))
_SLOPED = Op("Mul", Bind("alpha"), _NEGATIVE, commutative=True)
# The negative side first, the converter sees several operations.
_PRELU = Op("Add|AddV2", Op("Relu", Bind("x")), _SLOPED)


def _propose(node: Node, analysis: Analysis) -> Iterator[Proposal]:
    found = _PRELU.match(node.value())
    if found is None or not analysis.parameters.is_parameter(found["alpha"]):
        return
    shape = static_shape(found["alpha"])
    inner = inner_nodes(node.value(), found["x"], analysis)
    # The converter takes alpha in no other shape than [1, 1, C].
    if inner is not None and shape is not None and len(shape) == 3:
        yield SiteProposal(result=node.value(), operands=(found["x"],), inner=inner)


RULE = Rule(
    name="prelu",
    phase="site",
    ops=("Add", "AddV2"),
    summary="`relu(x) + alpha * relu(-x)` with alpha of shape [1, 1, C] is one kernel; alpha is not quantized.",
    propose=_propose,
    placements=("integer",),
)
