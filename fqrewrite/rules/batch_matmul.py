"""BatchMatMul of data with parameters."""

from __future__ import annotations

from collections.abc import Iterator

from fqrewrite.ir.graph import Node
from fqrewrite.match.analysis import Analysis
from fqrewrite.match.proposal import Proposal, Rule
from fqrewrite.rules._layer import propose_layer


def _propose(node: Node, analysis: Analysis) -> Iterator[Proposal]:
    if any(analysis.parameters.is_parameter(operand) for operand in node.inputs):
        yield from propose_layer(node, analysis, "batch_matmul", (1, 0))


RULE = Rule(
    name="batch_matmul",
    phase="layer",
    ops=("BatchMatMul", "BatchMatMulV2", "BatchMatMulV3"),
    summary="A batch matmul of data with weights is a layer; of data with data, an operation that needs both ranges.",
    propose=_propose,
    placements=("integer",),
)
