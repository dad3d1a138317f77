from __future__ import annotations

import pytest
from planning import integer_plan, left_float

REST = """
axis = Const {value: [3]}
total = Sum(square, axis)
tiny = Const {value: 1e-12}
bounded = Maximum(total, tiny)
inverse = Rsqrt(bounded)
y = Mul(x, inverse)
"""


@pytest.mark.parametrize("square", ["Square(x)", "Mul(x, x)"])
def test_one_kernel(square: str) -> None:
    plan = integer_plan(f"x = Placeholder\nsquare = {square}\n" + REST)
    assert {item.tensor: item.rule for item in plan.quantizers}.keys() == {"x:0", "y:0"}
    (result,) = [item for item in plan.quantizers if item.tensor == "y:0"]
    assert (result.rule, result.range.minimum, result.range.maximum) == ("l2_normalization", (-1.0,), (127 / 128,))
    assert left_float(plan) == {}


def test_of_something_else() -> None:
    plan = integer_plan("x = Placeholder\nz = Relu(x)\nsquare = Square(z)\n" + REST)
    assert left_float(plan) == {"square:0": "float-in-runtime"}
