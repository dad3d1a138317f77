"""Operations whose integer kernels read and write on one scale."""

from __future__ import annotations

from collections.abc import Iterator

from fqrewrite.ir.graph import Node
from fqrewrite.match.analysis import Analysis
from fqrewrite.match.proposal import Proposal, Rule, SiteProposal

_FIRST_AND_END: dict[str, tuple[int, int | None]] = {
    "ConcatV2": (0, -1),
    "Concat": (1, None),
    "Pack": (0, None),
    "Maximum": (0, None),
    "Minimum": (0, None),
    "Select": (1, None),
    "SelectV2": (1, None),
    "PadV2": (0, None),
    "ReverseV2": (0, 1),
}


def _propose(node: Node, analysis: Analysis) -> Iterator[Proposal]:
    first, end = _FIRST_AND_END[node.op]
    operands = tuple(node.inputs[first:end]) if node.op != "PadV2" else (node.inputs[0], node.inputs[2])
    yield SiteProposal(result=node.value(), operands=operands, kind="tied")


RULE = Rule(
    name="one_scale",
    phase="site",
    rank=2,
    ops=tuple(_FIRST_AND_END),
    summary="Concatenation, stacking, `Maximum`, `Minimum`, `Select`, `PadV2` and `ReverseV2` "
    "share one range among inputs and result.",
    propose=_propose,
    placements=("integer",),
)
