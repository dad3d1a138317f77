from __future__ import annotations

import pytest

from fqrewrite.config.records import Config
from fqrewrite.ir.graph import Graph
from fqrewrite.ir.text import parse
from fqrewrite.plan.build import build_plan
from fqrewrite.plan.items import Plan

X = "x = Placeholder {shape: [?, 8, 8, 3]}\nb = VariableV2 {shape: [4]}\nb/read = Identity(b)\n"


def _conv(scope: str, x: str = "x") -> str:
    return (
        f"{scope}/w = VariableV2 {{shape: [1, 1, 3, 4]}}\n{scope}/w/read = Identity({scope}/w)\n"
        f"{scope}/Conv2D = Conv2D({x}, {scope}/w/read)\n"
    )


CONV = X + _conv("n/c")
BIASED = CONV + "n/c/BiasAdd = BiasAdd(n/c/Conv2D, b/read)\n"
NORM = """
mean = VariableV2 {shape: [4]}
n/c/bn = FusedBatchNormV3(n/c/Conv2D, b/read, b/read, mean, mean) {is_training: false}
"""


def _plan(text: str, outputs: tuple[str, ...] = ()) -> Plan:
    return build_plan(Graph(parse(text)), Config(), source_sha256="0", public_outputs=outputs)


def _activations(plan: Plan, rule: str | None = None) -> dict[str, str]:
    return {
        item.scope: item.tensor
        for item in plan.quantizers
        if item.role != "weights" and (rule is None or item.rule == rule)
    }


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
    assert _activations(_plan(text), "bare_layer") == {"n/c/act_quant": tensor}


def test_a_folded_matmul_is_quantized_behind_its_reshape() -> None:
    text = X + "w = VariableV2 {shape: [3, 4]}\nfc/MatMul = MatMul(x, w)\nflat = Const {value: [-1, 4]}\n"
    text += "nested = Const {value: [-1, 1, 1, 4]}\nr = Reshape(fc/MatMul, nested)\n"
    text += "bn = FusedBatchNorm(r, b/read, b/read, b/read, b/read) {is_training: false}\n"
    plan = _plan(text + "back = Reshape(bn, flat)\nout = Softmax(back)\n")
    assert _activations(plan, "bare_layer") == {"fc/act_quant": "back:0"}


@pytest.mark.parametrize("text", [BIASED, CONV + "out = Relu(n/c/Conv2D)\n"])
def test_leaves_to_others(text: str) -> None:
    assert _activations(_plan(text), "bare_layer") == {}
