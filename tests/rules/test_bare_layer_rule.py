from __future__ import annotations

import pytest
from planning import INPUT, activations, conv, plan_of

CONV = INPUT + conv("n/c")
BIASED = CONV + "n/c/BiasAdd = BiasAdd(n/c/Conv2D, b/read)\n"
NORM = """
mean = VariableV2 {shape: [4]}
n/c/bn = FusedBatchNormV3(n/c/Conv2D, b/read, b/read, mean, mean) {is_training: false}
"""


@pytest.mark.parametrize(
    ("text", "tensor"),
    [
        (CONV + "out = Softmax(n/c/Conv2D)\n", "n/c/Conv2D:0"),
        (CONV, "n/c/Conv2D:0"),
        (CONV + NORM + "out = Softmax(n/c/bn)\n", "n/c/bn:0"),
        (CONV + "n/d/w = VariableV2 {shape: [1, 1, 4, 4]}\nn/d/Conv2D = Conv2D(n/c/Conv2D, n/d/w)\n"
         "out = Relu(n/d/Conv2D)\n", "n/c/Conv2D:0"),
    ],
)  # fmt: skip
def test_takes(text: str, tensor: str) -> None:
    assert activations(plan_of(text), "bare_layer") == {"n/c/act_quant": tensor}


def test_a_folded_matmul_is_quantized_behind_its_reshape() -> None:
    text = INPUT + "w = VariableV2 {shape: [3, 4]}\nfc/MatMul = MatMul(x, w)\nflat = Const {value: [-1, 4]}\n"
    text += "nested = Const {value: [-1, 1, 1, 4]}\nr = Reshape(fc/MatMul, nested)\n"
    text += "bn = FusedBatchNorm(r, b/read, b/read, b/read, b/read) {is_training: false}\n"
    plan = plan_of(text + "back = Reshape(bn, flat)\nout = Softmax(back)\n")
    assert activations(plan, "bare_layer") == {"fc/act_quant": "back:0"}


@pytest.mark.parametrize("text", [BIASED, CONV + "out = Relu(n/c/Conv2D)\n"])
def test_leaves_to_others(text: str) -> None:
    assert activations(plan_of(text), "bare_layer") == {}
