from __future__ import annotations

import pytest
from planning import INPUT, activations, conv, declined, plan_of

CONV = INPUT + conv("n/c")
BIASED = CONV + "n/c/BiasAdd = BiasAdd(n/c/Conv2D, b/read)\n"
NORM = """
mean = VariableV2 {shape: [4]}
n/c/bn = FusedBatchNormV3(n/c/Conv2D, b/read, b/read, mean, mean) {is_training: false}
"""


@pytest.mark.parametrize("op", ["Relu", "Relu6", "Identity"])
@pytest.mark.parametrize(
    "text",
    [
        CONV + "y = {op}(n/c/Conv2D)\n",
        BIASED + "y = {op}(n/c/BiasAdd)\n",
        CONV + NORM + "y = {op}(n/c/bn)\n",
        CONV + "n/c/add = Add(b/read, n/c/Conv2D)\ny = {op}(n/c/add)\n",
    ],
)
def test_takes_an_activation(op: str, text: str) -> None:
    plan = plan_of(text.replace("{op}", op) + "out = Softmax(y)\n")
    assert activations(plan, "activation") == {"n/c/act_quant": "y:0"}
    assert [(item.role, item.range.source, item.range.initial) for item in plan.quantizers] == [
        ("weights", "last_value", (-6.0, 6.0)), ("activation", "ema", (0.0, 6.0)),
    ]  # fmt: skip
    assert declined(plan) == ()


@pytest.mark.parametrize("inputs", ["n/c/BiasAdd, x", "x, n/c/BiasAdd"])
@pytest.mark.parametrize("op", ["Add", "AddV2"])
def test_takes_a_bypass(inputs: str, op: str) -> None:
    plan = plan_of(BIASED + f"n/sum = {op}({inputs})\nn/Relu = Relu(n/sum)\nout = Softmax(n/Relu)\n")
    # The activation belongs to the scope above the layer's; the bypass add is not quantized in front of it.
    assert activations(plan) == {"n/act_quant": "n/Relu:0", "n/c/conv_quant": "n/c/BiasAdd:0"}
    assert {item.scope: item.range.initial for item in plan.quantizers}["n/c/conv_quant"] == (-6.0, 6.0)


def test_takes_a_bypass_behind_a_fold() -> None:
    plan = plan_of(CONV + NORM + "n/sum = Add(n/c/bn, x)\nn/Relu = Relu(n/sum)\nout = Softmax(n/Relu)\n")
    assert activations(plan) == {"n/act_quant": "n/Relu:0", "n/c/conv_quant": "n/c/bn:0"}
    (conv_quant,) = [item for item in plan.quantizers if item.role == "bypass_input"]
    assert conv_quant.fold == "fold:n/c/bn:0"


def test_a_bypass_of_two_layers_belongs_to_the_first() -> None:
    text = BIASED + conv("n/d") + "n/d/BiasAdd = BiasAdd(n/d/Conv2D, b/read)\n"
    plan = plan_of(text + "n/sum = Add(n/c/BiasAdd, n/d/BiasAdd)\nn/Relu = Relu(n/sum)\n")
    assert activations(plan) == {
        "n/act_quant": "n/Relu:0", "n/c/conv_quant": "n/c/BiasAdd:0", "n/d/act_quant": "n/d/BiasAdd:0",
    }  # fmt: skip


def test_names_that_are_taken_get_a_number() -> None:
    text = BIASED + "n/c/Relu = Relu(n/c/BiasAdd)\nn/c/ACT_quant/own = Neg(n/c/Relu)\n"
    text += "n/c/v = VariableV2 {shape: [1, 1, 4, 4]}\nn/c/Conv2D_1 = Conv2D(n/c/Relu, n/c/v)\n"
    plan = plan_of(text + "n/c/Relu_1 = Relu(n/c/Conv2D_1)\n", outputs=("n/c/Relu_1",))
    assert {item.scope: item.tensor for item in plan.quantizers} == {
        "n/c/weights_quant": "n/c/w/read:0", "n/c/act_quant_1": "n/c/Relu:0",
        "n/c/weights_quant_1": "n/c/v:0", "n/c/act_quant_2": "n/c/Relu_1:0",
    }  # fmt: skip


def test_a_layer_at_the_top_has_plain_names() -> None:
    plan = plan_of(INPUT + "w = VariableV2 {shape: [1, 1, 3, 4]}\nConv2D = Conv2D(x, w)\nRelu = Relu(Conv2D)\n")
    assert {item.scope for item in plan.quantizers} == {"weights_quant", "act_quant"}


def test_a_bypass_just_below_the_top_goes_to_the_top() -> None:
    plan = plan_of(INPUT + conv("c") + "c/b = BiasAdd(c/Conv2D, b/read)\nsum = Add(c/b, x)\nRelu = Relu(sum)\n")
    assert activations(plan) == {"act_quant": "Relu:0", "c/conv_quant": "c/b:0"}


def test_a_models_own_quantizer_behind_the_activation_stays_alone() -> None:
    text = BIASED + "n/c/Relu = Relu(n/c/BiasAdd)\nthrough = Identity(n/c/Relu)\n"
    plan = plan_of(text + "own = FakeQuantWithMinMaxArgs(through)\n")
    assert activations(plan) == {}
    assert [(entry.kind, entry.name, entry.code) for entry in declined(plan)] == [
        ("tensor", "n/c/Relu:0", "already-quantized"),
    ]  # fmt: skip


def test_a_models_own_quantizer_of_the_weights_stays_alone() -> None:
    text = INPUT + "w = VariableV2 {shape: [1, 1, 3, 4]}\nl = Const {value: -1.0}\nh = Const {value: 1.0}\n"
    plan = plan_of(text + "q = FakeQuantWithMinMaxVars(w, l, h)\nn/Conv2D = Conv2D(x, q)\nn/Relu = Relu(n/Conv2D)\n")
    assert [item.scope for item in plan.quantizers] == ["n/act_quant"]
    assert [(entry.kind, entry.name, entry.code) for entry in declined(plan)] == [
        ("tensor", "q:0", "already-quantized"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        BIASED + "out = Softmax(n/c/BiasAdd)\n",
        BIASED + "out = Sigmoid(n/c/BiasAdd)\n",
        INPUT + "out = Relu(x)\n",
        BIASED + "p = MaxPool(n/c/BiasAdd)\nout = Relu(p)\n",
    ],
)
def test_takes_nothing_else(text: str) -> None:
    assert activations(plan_of(text), "activation") == {}
