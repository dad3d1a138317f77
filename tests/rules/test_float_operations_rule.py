from __future__ import annotations

import pytest
from planning import integer_plan, left_float, sites

from fqrewrite.rules.float_operations import RULE


@pytest.mark.parametrize("op", RULE.ops)
def test_lists(op: str) -> None:
    operands = "a, a, a" if op == "AddN" else "a, a" if op in ("RealDiv", "Div", "DivNoNan", "Pow") else "a"
    plan = integer_plan(f"x = Placeholder\na = Relu(x)\nf = {op}({operands})\ny = LeakyRelu(f)\n")
    if op in ("RealDiv", "Div", "DivNoNan"):
        # with a range behind it, the converter would take the kernel that fails
        assert left_float(plan) == {"f:0": "float-in-runtime", "y:0": "operand-stays-float"}
        assert set(sites(plan)) == {"x:0", "a:0", "y:0"}
    else:
        assert left_float(plan) == {"f:0": "float-in-runtime"}
        assert set(sites(plan)) == {"x:0", "a:0", "f:0", "y:0"}


def test_operations_that_nothing_is_known_about_are_listed_too() -> None:
    plan = integer_plan("x = Placeholder\nf = Mystery(x)\ny = LeakyRelu(f)\n")
    assert left_float(plan) == {"f:0": "operation-not-known"}
    assert set(sites(plan)) == {"f:0", "y:0"}
