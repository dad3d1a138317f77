from __future__ import annotations

import pytest
from planning import INPUT, conv, integer_plan, left_float, sites

from fqrewrite.match.parameters import FAKE_QUANT_OPS


@pytest.mark.parametrize("op", sorted(FAKE_QUANT_OPS))
def test_stays(op: str) -> None:
    operands = "x" if op.endswith("Args") else "x, b/read, b/read"
    plan = integer_plan(INPUT + f"q = {op}({operands})\n" + conv("n/c", "q") + "y = Relu(n/c/Conv2D)\n")
    assert sites(plan) == {"y:0": "layer_kernel"}
    assert left_float(plan) == {}


def test_a_result_that_runs_into_one_gets_no_other() -> None:
    lines = "y = Relu(n/c/Conv2D)\nq = FakeQuantWithMinMaxArgs(y)\nz = LeakyRelu(q)\n"
    plan = integer_plan(INPUT + conv("n/c") + lines)
    assert set(sites(plan)) == {"x:0", "z:0"}
    assert left_float(plan) == {"y:0": "already-quantized"}
