"""Layers that tf.contrib.quantize had no quantizer for: listed, never passed over in silence."""

from __future__ import annotations

from collections.abc import Iterator

from fqrewrite.ir.graph import Node
from fqrewrite.match.analysis import Analysis
from fqrewrite.match.proposal import Decline, Proposal, Rule

_WHY = {
    "Conv2DBackpropInput": "a transposed convolution has no quantizer in this preset",
    "BatchMatMul": "a batch matmul has no quantizer in this preset",
    "BatchMatMulV2": "a batch matmul has no quantizer in this preset",
    "BatchMatMulV3": "a batch matmul has no quantizer in this preset",
    "Einsum": "an einsum has no quantizer in this preset",
}


def _propose(node: Node, analysis: Analysis) -> Iterator[Proposal]:
    if not all(analysis.parameters.is_parameter(operand) for operand in node.inputs):
        yield Decline(kind="layer", node=node, code="layer-not-quantizable", reason=_WHY[node.op])


RULE = Rule(
    name="contrib_float_layers",
    phase="layer",
    ops=tuple(_WHY),
    summary="Transposed convolutions, batch matmuls and einsums stay float in preset contrib, and are listed.",
    propose=_propose,
    placements=("contrib",),
)
