from __future__ import annotations

import pytest
from planning import declined

from configs import contrib
from fqrewrite.ir.graph import Graph
from fqrewrite.ir.text import parse
from fqrewrite.plans.build import build_plan

X = """
x = Placeholder
sizes = Const {value: [1, 8, 8, 3]}
w = VariableV2 {shape: [3, 3, 3, 4]}
w/read = Identity(w)
"""


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("y = Conv2DBackpropInput(sizes, w/read, x)", "transposed convolution"),
        ("y = DepthwiseConv2dNativeBackpropInput(sizes, w/read, x)", "transposed depthwise"),
        ("y = Conv3D(x, w/read)", "3-D"),
        ("y = Conv3DBackpropInputV2(sizes, w/read, x)", "3-D"),
        ("y = BatchMatMul(x, w/read)", "batch matmul"),
        ("y = BatchMatMulV2(x, x)", "batch matmul"),
        ("y = BatchMatMulV3(x, w/read)", "batch matmul"),
        ("y = Einsum(x, w/read) {equation: \"ab,bc->ac\"}", "einsum"),
        ("y = _FusedConv2D(x, w/read)", "fused by grappler"),
        ("y = _FusedMatMul(x, w/read)", "fused by grappler"),
        ("y = LSTMBlockCell(x, w/read)", "LSTM"),
        ("y = CudnnRNNV3(x, w/read)", "RNN"),
        ("y = Dilation2D(x, w/read)", "dilation"),
        ("y = SparseTensorDenseMatMul(x, w/read)", "sparse"),
    ],
)  # fmt: skip
def test_declines(line: str, reason: str) -> None:
    plan = build_plan(Graph(parse(X + line)), contrib(), source_sha256="0")
    (entry,) = declined(plan)
    assert (entry.kind, entry.name, entry.code) == ("layer", "y", "layer-not-quantizable")
    assert reason in entry.reason
    assert entry.remedy
    assert (plan.quantizers, plan.layers) == ((), 1)


def test_what_computes_weights_is_not_listed() -> None:
    text = X + "k = BatchMatMulV2(w/read, w/read)\ny = Conv2D(x, k)\n"
    plan = build_plan(Graph(parse(text)), contrib(), source_sha256="0")
    assert declined(plan) == ()
    assert [item.tensor for item in plan.quantizers] == ["k:0", "y:0"]
