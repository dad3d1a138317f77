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


def _is_one_kernel(text: str) -> bool:
    plan = integer_plan(text)
    (result,) = [item for item in plan.quantizers if item.tensor == "y:0"]
    if result.rule != "l2_normalization":
        return False
    assert {item.tensor for item in plan.quantizers} == {"x:0", "y:0"}
    assert (result.range.minimum, result.range.maximum) == ((-1.0,), (127 / 128,))
    return left_float(plan) == {}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", ""),
        ("Maximum(total, tiny)", "Maximum(tiny, total)"),
        ("Maximum(total, tiny)", "AddV2(total, tiny)"),
        ("[3]", "[-1]"),
        ("Rsqrt(bounded)\ny = Mul(x, inverse)", "Sqrt(bounded)\ny = RealDiv(x, inverse)"),
    ],
)
def test_one_kernel(old: str, new: str) -> None:
    assert _is_one_kernel(("x = Placeholder\nsquare = Square(x)\n" + REST).replace(old, new))


def test_the_last_axis_depends_on_the_rank() -> None:
    text = "x = Placeholder {shape: [?, 8]}\nsquare = Square(x)\n" + REST
    assert _is_one_kernel(text.replace("[3]", "[1]"))
    assert not _is_one_kernel(text.replace("[3]", "[0]"))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Mul(x, inverse)", "Mul(inverse, x)"),
        ("Square(x)", "Mul(x, x)"),
        ("[3]", "[1]"),
        ("[3]", "[1, 2]"),
    ],
)
def test_pieces_otherwise(old: str, new: str) -> None:
    assert not _is_one_kernel(("x = Placeholder {shape: [?, 8, 8, 4]}\nsquare = Square(x)\n" + REST).replace(old, new))


def test_of_something_else() -> None:
    plan = integer_plan("x = Placeholder\nz = Relu(x)\nsquare = Square(z)\n" + REST)
    assert left_float(plan) == {}
    assert plan.respelled == ("square",)
