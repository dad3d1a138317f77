"""Einsum of data with parameters, which the converter makes a matmul of."""

from __future__ import annotations

from collections.abc import Iterator

from fqrewrite.ir.graph import Node
from fqrewrite.match.analysis import Analysis
from fqrewrite.match.proposal import Proposal, Rule
from fqrewrite.rules._layer import propose_layer


def _propose(node: Node, analysis: Analysis) -> Iterator[Proposal]:
    if len(node.inputs) == 2 and any(analysis.parameters.is_parameter(operand) for operand in node.inputs):
        yield from propose_layer(node, analysis, "batch_matmul", (1, 0))


RULE = Rule(
    name="einsum",
    phase="layer",
    ops=("Einsum",),
    summary="An `Einsum` of data with weights is a layer; of data with data, an operation that needs both ranges.",
    propose=_propose,
    placements=("integer",),
)
