from __future__ import annotations

import pytest
from planning import integer_plan

from fqrewrite.rules.fixed_range import RULE


@pytest.mark.parametrize(
    ("op", "limits"),
    [
        ("Softmax", (0.0, 0.99609375)),
        ("Sigmoid", (0.0, 0.99609375)),
        ("Tanh", (-1.0, 0.9921875)),
        ("LogSoftmax", (-15.9375, 0.0)),
    ],
)
def test_what_the_kernel_writes(op: str, limits: tuple[float, float]) -> None:
    plan = integer_plan(f"x = Placeholder\ny = {op}(x)\n")
    result = next(item for item in plan.quantizers if item.tensor == "y:0")
    assert (result.range.source, result.range.minimum, result.range.maximum) == ("constant", limits[:1], limits[1:])
    assert op in RULE.ops
