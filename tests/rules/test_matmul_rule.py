from __future__ import annotations

import pytest
from planning import declined

from configs import contrib
from fqrewrite.ir.graph import Graph
from fqrewrite.ir.text import parse
from fqrewrite.plans.build import build_plan
from fqrewrite.plans.items import Plan

X = "x = Placeholder {shape: [?, 3]}\n"
W = "w = VariableV2 {shape: [3, 4]}\nw/read = Identity(w)\n"
SEQUENCE = "s = Placeholder {shape: [?, 5, 3]}\nrows = Const {value: [-1, 3]}\nx = Reshape(s, rows)\n"


def _plan(text: str) -> Plan:
    return build_plan(Graph(parse(text)), contrib(), source_sha256="0")


@pytest.mark.parametrize(
    ("text", "weights", "edge"),
    [
        (X + W + "fc/MatMul = MatMul(x, w/read)\n", "w/read:0", "fc/MatMul:in1"),
        (X + W + "fc/MatMul = MatMul(x, w/read) {transpose_b: true}\n", "w/read:0", "fc/MatMul:in1"),
        (X + W + "fc/MatMul = MatMul(w/read, x) {transpose_a: true, transpose_b: true}\n",
         "w/read:0", "fc/MatMul:in0"),
        (X + "w = VarHandleOp {shape: [3, 4]}\nw/read = ReadVariableOp(w)\nfc/MatMul = MatMul(x, w/read)\n",
         "w/read:0", "fc/MatMul:in1"),
        (X + "w = Const {value: 1.0, shape: [3, 4]}\nfc/MatMul = MatMul(x, w)\n", "w:0", "fc/MatMul:in1"),
        (X + W + "o = Const {value: [1, 0]}\nt = Transpose(w/read, o)\nfc/MatMul = MatMul(x, t)\n",
         "t:0", "fc/MatMul:in1"),
        # a dense layer on a sequence, as tensordot builds it
        (SEQUENCE + W + "r = Const {value: [3, 4]}\nk = Reshape(w/read, r)\nfc/MatMul = MatMul(x, k)\n"
         "back = Const {value: [-1, 5, 4]}\nfc = Reshape(fc/MatMul, back)\n", "k:0", "fc/MatMul:in1"),
    ],
)  # fmt: skip
def test_takes(text: str, weights: str, edge: str) -> None:
    plan = _plan(text)
    found = [(item.scope, item.tensor, item.edges) for item in plan.quantizers if item.role == "weights"]
    assert found == [("fc/weights_quant", weights, (edge,))]
    assert (plan.layers, declined(plan)) == (1, ())


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (X + "fc = MatMul(x, x) {transpose_b: true}\n", "weights-are-data"),  # attention
        (X + W + "fc = MatMul(x, w/read) {T: double}\n", "dtype-not-float32"),
        (X + W + "p = Placeholder {dtype: bool, shape: []}\ns = Switch(x, p)\nfc = MatMul(s:1, w/read)\n"
         "m = Merge(s, fc)\nout = Neg(m)\n", "inside-control-flow"),
    ],
)  # fmt: skip
def test_declines(text: str, code: str) -> None:
    plan = _plan(text)
    assert plan.quantizers == ()
    assert [(entry.kind, entry.name, entry.code) for entry in declined(plan)] == [("layer", "fc", code)]


def test_a_product_of_weights_is_no_layer() -> None:
    plan = _plan(X + W + "u = VariableV2 {shape: [4, 4]}\nwu = MatMul(w/read, u)\nfc/MatMul = MatMul(x, wu)\n")
    found = [(item.scope, item.tensor) for item in plan.quantizers if item.role == "weights"]
    assert found == [("fc/weights_quant", "wu:0")]
    assert (plan.layers, declined(plan)) == (1, ())


def test_a_tensordot_is_quantized_behind_bias_and_activation() -> None:
    text = SEQUENCE + W + "fc/MatMul = MatMul(x, w/read)\nback = Const {value: [-1, 5, 4]}\n"
    text += "fc/Reshape = Reshape(fc/MatMul, back)\nb = VariableV2 {shape: [4]}\n"
    plan = _plan(text + "fc/BiasAdd = BiasAdd(fc/Reshape, b)\nfc/Relu = Relu(fc/BiasAdd)\n")
    assert [item.tensor for item in plan.quantizers] == ["w/read:0", "fc/Relu:0"]
