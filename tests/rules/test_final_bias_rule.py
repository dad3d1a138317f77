from __future__ import annotations

import pytest
from planning import INPUT, activations, conv, plan_of

CONV = INPUT + conv("n/c")
BIASED = CONV + "n/c/BiasAdd = BiasAdd(n/c/Conv2D, b/read)\n"


@pytest.mark.parametrize("add", ["BiasAdd(n/c/Conv2D, b/read)", "Add(n/c/Conv2D, b/read)", "AddV2(b/read, n/c/Conv2D)"])
@pytest.mark.parametrize("end", ["Softmax", "MaxPool", "Sigmoid"])
def test_takes(add: str, end: str) -> None:
    plan = plan_of(CONV + f"y = {add}\nout = {end}(y)\n")
    assert activations(plan) == activations(plan, "final_bias") == {"n/c/act_quant": "y:0"}


def test_takes_one_behind_a_change_of_shape() -> None:
    text = CONV + "block = Const {value: [2, 2]}\ncrops = Const {value: [[0, 0], [0, 0]]}\n"
    plan = plan_of(text + "s = BatchToSpaceND(n/c/Conv2D, block, crops)\ny = BiasAdd(s, b/read)\nout = Softmax(y)\n")
    assert activations(plan, "final_bias") == {"n/c/act_quant": "y:0"}


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (CONV + "out = Softmax(n/c/Conv2D)\n", "bare_layer"),
        (BIASED + "out = Relu(n/c/BiasAdd)\n", "activation"),
        (CONV + "y = Sub(n/c/Conv2D, b/read)\nout = Softmax(y)\n", "bare_layer"),
    ],
)
def test_leaves_to_others(text: str, rule: str) -> None:
    plan = plan_of(text)
    assert {item.rule for item in plan.quantizers} == {rule}
