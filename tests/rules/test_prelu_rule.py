from __future__ import annotations

import pytest
from planning import integer_plan, left_float, sites

BASE = """
x = Placeholder
alpha = VariableV2 {shape: %s}
alpha/read = Identity(alpha)
p = Relu(x)
n = Neg(x)
q = Relu(n)
m = Mul(alpha/read, q)
y = %s(p, m)
"""


@pytest.mark.parametrize("op", ["Add", "AddV2"])
def test_one_kernel(op: str) -> None:
    plan = integer_plan(BASE % ("[1, 1, 4]", op))
    assert sites(plan) == {"x:0": "input", "y:0": "prelu"}
    assert left_float(plan) == {}


@pytest.mark.parametrize(
    ("shape", "end"), [("[4]", "Add(p, m)"), ("[1, 1, 4]", "Sub(p, m)"), ("[1, 1, 4]", "Add(m, p)")]
)
def test_what_the_converter_does_not_fuse_stays_in_pieces(shape: str, end: str) -> None:
    plan = integer_plan((BASE % (shape, "Add")).replace("Add(p, m)", end))
    assert left_float(plan) == {}
    assert set(sites(plan)) == {"x:0", "p:0", "q:0", "alpha/read:0", "m:0", "y:0"}
    assert plan.respelled == ("n",)
