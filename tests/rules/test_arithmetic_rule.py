from __future__ import annotations

import pytest
from planning import integer_plan, left_float, sites

TWO = "x = Placeholder\nz = Placeholder\n"


@pytest.mark.parametrize("op", ["Add", "AddV2", "Sub", "Mul"])
@pytest.mark.parametrize("relu", ["", "Relu", "Relu6"])
def test_needs_inputs_and_result(op: str, relu: str) -> None:
    lines = f"y = {op}(x, z)\n" + (f"r = {relu}(y)\n" if relu else "")
    plan = integer_plan(TWO + lines)
    assert sites(plan) == {"x:0": "input", "z:0": "input", ("r:0" if relu else "y:0"): "arithmetic"}
    assert left_float(plan) == {}


def test_constants_are_quantized_with_their_own_range() -> None:
    plan = integer_plan("x = Placeholder\nk = Const {value: [1.5, -2.0]}\ny = Mul(x, k)\n")
    constants = {item.tensor: item.range for item in plan.quantizers if item.role == "constant"}
    assert [(tensor, limits.minimum, limits.maximum) for tensor, limits in constants.items()] == [
        ("k:0", (-2.0,), (1.5,))
    ]


def test_a_scalar_is_exact_anyway() -> None:
    plan = integer_plan("x = Placeholder\nk = Const {value: 0.3}\ny = Mul(x, k)\n")
    assert set(sites(plan)) == {"x:0", "y:0"}


@pytest.mark.parametrize("more", ["o = Relu6(y)\no2 = Sub(o, y)\n", "o = Elu(y)\n"])
def test_no_relu_is_taken_that_is_not_alone(more: str) -> None:
    assert "y:0" in sites(integer_plan(TWO + "y = Add(x, z)\n" + more))


def test_a_division_by_a_constant_is_a_product() -> None:
    plan = integer_plan("x = Placeholder\nk = Const {value: [2.0, 4.0]}\ny = RealDiv(x, k)\n")
    assert sites(plan) == {"x:0": "input", "y:0": "arithmetic"}
    assert left_float(integer_plan(TWO + "y = RealDiv(x, z)\n")) == {"y:0": "float-in-runtime"}


def test_a_sum_of_two_becomes_an_add() -> None:
    plan = integer_plan(TWO + "s = AddN(x, z)\ny = Relu(s)\n")
    assert sites(plan) == {"x:0": "input", "z:0": "input", "y:0": "arithmetic"}
    assert plan.respelled == ("s",)


@pytest.mark.parametrize("op", ["Square", "Neg"])
def test_what_has_no_kernel_is_written_in_another_way(op: str) -> None:
    plan = integer_plan(f"x = Placeholder\ny = {op}(x)\n")
    assert sites(plan) == {"x:0": "input", "y:0": "arithmetic"}
    assert left_float(plan) == {}
    assert plan.respelled == ("y",)


def test_a_sum_of_three_stays_float() -> None:
    plan = integer_plan(TWO + "y = AddN(x, z, x)\n")
    assert left_float(plan) == {"y:0": "float-in-runtime"}
    assert plan.respelled == ()
