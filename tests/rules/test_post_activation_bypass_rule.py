from __future__ import annotations

import pytest
from planning import INPUT, activations, conv, plan_of

CONV = INPUT + conv("n/c")
BIASED = CONV + "n/c/BiasAdd = BiasAdd(n/c/Conv2D, b/read)\n"


RELU = BIASED + "n/c/Relu = Relu(n/c/BiasAdd)\n"


@pytest.mark.parametrize("add", ["Add(n/c/Relu, x)", "AddV2(x, n/c/Relu)", "Add(n/c/Relu, n/c/Relu)"])
def test_takes(add: str) -> None:
    plan = plan_of(RELU + f"n/join/sum = {add}\nout = Softmax(n/join/sum)\n")
    assert activations(plan, "post_activation_bypass") == {
        "n/c/act_quant": "n/c/Relu:0", "n/join/post_activation_bypass_quant": "n/join/sum:0",
    }  # fmt: skip
    assert [item.range.initial for item in plan.quantizers] == [(-6.0, 6.0), (0.0, 6.0), (-6.0, 6.0)]


@pytest.mark.parametrize("relu", ["Relu", "Relu6"])
def test_a_following_relu_is_not_waited_for(relu: str) -> None:
    plan = plan_of(RELU + f"n/sum = Add(n/c/Relu, x)\nn/out = {relu}(n/sum)\n")
    assert activations(plan) == {"n/c/act_quant": "n/c/Relu:0"}


def test_takes_one_behind_a_bypass() -> None:
    text = BIASED + "n/sum = Add(x, n/c/BiasAdd)\nn/act = Relu(n/sum)\nn/p/sum = Add(n/act, x)\n"
    assert activations(plan_of(text + "out = Softmax(n/p/sum)\n")) == {
        "n/act_quant": "n/act:0",
        "n/c/conv_quant": "n/c/BiasAdd:0",
        "n/p/post_activation_bypass_quant": "n/p/sum:0",
    }


def test_an_add_of_two_activations_belongs_to_the_second() -> None:
    text = RELU + conv("n/d") + "n/d/Relu = Relu(n/d/Conv2D)\nn/sum = Add(n/c/Relu, n/d/Relu)\n"
    plan = plan_of(text + "out = Softmax(n/sum)\n")
    assert activations(plan, "post_activation_bypass") == {
        "n/d/act_quant": "n/d/Relu:0", "n/post_activation_bypass_quant": "n/sum:0",
    }  # fmt: skip
    assert activations(plan, "activation") == {"n/c/act_quant": "n/c/Relu:0"}


@pytest.mark.parametrize("line", ["n/sum = Mul(n/c/Relu, x)", "n/sum = Sub(n/c/Relu, x)", "n/sum = AddN(n/c/Relu, x)"])
def test_takes_adds_only(line: str) -> None:
    plan = plan_of(RELU + line + "\nout = Softmax(n/sum)\n")
    assert activations(plan, "post_activation_bypass") == {}
    assert activations(plan, "activation") == {"n/c/act_quant": "n/c/Relu:0"}
