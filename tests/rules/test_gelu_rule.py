from __future__ import annotations

import pytest
from planning import integer_plan, left_float, sites

X = "x = Placeholder\nhalf = Const {value: 0.5}\none = Const {value: 1.0}\nh = Mul(half, x)\n"
ROOT = "root = Const {value: 0.70710677}\n"
ERFC = ROOT + "n = Neg(x)\nm = Mul(n, root)\ne = Erfc(m)\n"
ERF = ROOT + "m = Mul(x, root)\nf = Erf(m)\ne = AddV2(f, one)\n"
ERF_OF_QUOTIENT = "root = Const {value: 1.4142135}\nm = RealDiv(x, root)\nf = Erf(m)\ne = AddV2(one, f)\n"
TANH = """
three = Const {value: 3.0}
small = Const {value: 0.044715}
root = Const {value: 0.7978846}
c = Pow(x, three)
s = Mul(small, c)
a = AddV2(x, s)
m = Mul(root, a)
t = Tanh(m)
e = AddV2(one, t)
"""


@pytest.mark.parametrize("gate", [ERFC, ERF, ERF_OF_QUOTIENT, TANH], ids=["erfc", "erf", "quotient", "tanh"])
def test_one_kernel(gate: str) -> None:
    plan = integer_plan(X + gate + "y = Mul(h, e)\n")
    assert sites(plan) == {"x:0": "input", "y:0": "gelu"}
    assert left_float(plan) == {}


def test_not_when_a_part_of_it_is_read() -> None:
    plan = integer_plan(X + ERF + "k = Mul(h, e)\ny = Sub(k, f)\n")
    assert left_float(plan) == {"f:0": "float-in-runtime"}
