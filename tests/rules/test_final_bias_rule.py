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


def _plan(text: str, outputs: tuple[str, ...] = ()) -> Plan:
    return build_plan(Graph(parse(text)), Config(), source_sha256="0", public_outputs=outputs)


def _activations(plan: Plan, rule: str | None = None) -> dict[str, str]:
    return {
        item.scope: item.tensor
        for item in plan.quantizers
        if item.role != "weights" and (rule is None or item.rule == rule)
    }


@pytest.mark.parametrize("add", ["BiasAdd(n/c/Conv2D, b/read)", "Add(n/c/Conv2D, b/read)", "AddV2(b/read, n/c/Conv2D)"])
@pytest.mark.parametrize("end", ["Softmax", "MaxPool", "Sigmoid"])
def test_takes(add: str, end: str) -> None:
    plan = _plan(CONV + f"y = {add}\nout = {end}(y)\n")
    assert _activations(plan) == _activations(plan, "final_bias") == {"n/c/act_quant": "y:0"}


def test_takes_one_behind_a_change_of_shape() -> None:
    text = CONV + "block = Const {value: [2, 2]}\ncrops = Const {value: [[0, 0], [0, 0]]}\n"
    plan = _plan(text + "s = BatchToSpaceND(n/c/Conv2D, block, crops)\ny = BiasAdd(s, b/read)\nout = Softmax(y)\n")
    assert _activations(plan, "final_bias") == {"n/c/act_quant": "y:0"}


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (CONV + "out = Softmax(n/c/Conv2D)\n", "bare_layer"),
        (BIASED + "out = Relu(n/c/BiasAdd)\n", "activation"),
        (CONV + "y = Sub(n/c/Conv2D, b/read)\nout = Softmax(y)\n", "bare_layer"),
    ],
)
def test_leaves_to_others(text: str, rule: str) -> None:
    plan = _plan(text)
    assert {item.rule for item in plan.quantizers} == {rule}
