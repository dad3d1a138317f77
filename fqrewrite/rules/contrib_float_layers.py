"""Layers that tf.contrib.quantize had no quantizer for: listed, never passed over in silence."""

from __future__ import annotations

from fqrewrite.match.proposal import Rule
from fqrewrite.rules._layer import list_layers

_WHY = {
    "Conv2DBackpropInput": "a transposed convolution has no quantizer in this preset",
    "BatchMatMul": "a batch matmul has no quantizer in this preset",
    "BatchMatMulV2": "a batch matmul has no quantizer in this preset",
    "BatchMatMulV3": "a batch matmul has no quantizer in this preset",
    "Einsum": "an einsum has no quantizer in this preset",
}


RULE = Rule(
    name="contrib_float_layers",
    phase="layer",
    ops=tuple(_WHY),
    summary="Transposed convolutions, batch matmuls and einsums stay float in preset contrib, and are listed.",
    propose=list_layers(_WHY),
    placements=("contrib",),
)
