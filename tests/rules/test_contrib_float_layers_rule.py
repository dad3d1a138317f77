from __future__ import annotations

import pytest
from planning import left_float, plan_of


@pytest.mark.parametrize("op", ["BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "Einsum"])
def test_lists(op: str) -> None:
    plan = plan_of(
        f"x = Placeholder\nw = VariableV2 {{shape: [2, 3, 4]}}\ny = {op}(x, w)\nz = {op}(w, w)\nk = Add(y, z)\n"
    )
    assert left_float(plan) == {"y": "layer-not-quantizable"}
