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


@pytest.mark.parametrize(("shape", "op"), [("[4]", "Add"), ("[1, 1, 4]", "Sub")])
def test_what_the_converter_does_not_fuse_is_listed(shape: str, op: str) -> None:
    plan = integer_plan(BASE % (shape, op))
    assert left_float(plan) == {"n:0": "float-in-runtime"}
    assert {"p:0", "q:0", "m:0", "y:0"} <= set(sites(plan)) | {"m:0"}
