"""Operations whose integer kernels write on a scale of their own choice."""

from __future__ import annotations

from collections.abc import Iterator

from fqrewrite.ir.graph import Node
from fqrewrite.match.analysis import Analysis
from fqrewrite.match.proposal import Proposal, Rule, SiteProposal

_LIMITS = {
    "Softmax": (0.0, 255 / 256),
    "Sigmoid": (0.0, 255 / 256),
    "Tanh": (-1.0, 127 / 128),
    "LogSoftmax": (-255 / 16, 0.0),
}


def _propose(node: Node, analysis: Analysis) -> Iterator[Proposal]:
    yield SiteProposal(result=node.value(), operands=(node.inputs[0],), kind="fixed", limits=_LIMITS[node.op])


RULE = Rule(
    name="fixed_range",
    phase="site",
    rank=2,
    ops=tuple(_LIMITS),
    summary="The result of `Softmax` and `Sigmoid` has the range [0, 255/256], of `Tanh` [-1, 127/128], of "
    "`LogSoftmax` [-255/16, 0]: what the integer kernels write.",
    propose=_propose,
    placements=("integer",),
)
