from __future__ import annotations

import pytest
from planning import integer_plan, left_float, sites

from fqrewrite.rules.own_range import RULE


@pytest.mark.parametrize(
    "op", [op for op in RULE.ops if "MatMul" not in op and op not in ("SquaredDifference", "Einsum", "Pow")]
)
def test_needs_input_and_result(op: str) -> None:
    operands = "x, axis" if op in ("Sum", "Mean", "Prod") else "x"
    plan = integer_plan(f"x = Placeholder\naxis = Const {{value: 3}}\ny = {op}({operands})\n")
    assert sites(plan) == {"x:0": "input", "y:0": "own_range"}


@pytest.mark.parametrize(
    "op", ["SquaredDifference", "MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "Einsum"]
)
def test_needs_both_inputs(op: str) -> None:
    plan = integer_plan(f"x = Placeholder\nz = Placeholder\ny = {op}(x, z)\n")
    assert sites(plan) == {"x:0": "input", "z:0": "input", "y:0": "own_range"}


def test_of_powers_only_squares() -> None:
    plan = integer_plan("x = Placeholder\ntwo = Const {value: 2.0}\ny = Pow(x, two)\n")
    assert sites(plan) == {"x:0": "input", "y:0": "own_range"}
    cube = integer_plan("x = Placeholder\nthree = Const {value: 3.0}\ny = Pow(x, three)\n")
    assert left_float(cube) == {"y:0": "float-in-runtime"}


def test_a_relu_goes_with_the_division_in_front_of_it() -> None:
    plan = integer_plan("x = Placeholder\na = Abs(x)\nf = RealDiv(x, a)\nr = Relu(f)\ny = LeakyRelu(r)\n")
    assert left_float(plan) == {
        "f:0": "float-in-runtime",
        "r:0": "float-in-runtime",
        "y:0": "operand-stays-float",
    }
    assert set(sites(plan)) == {"x:0", "a:0", "y:0"}
