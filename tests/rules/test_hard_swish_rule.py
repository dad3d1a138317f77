from __future__ import annotations

import pytest
from planning import integer_plan, sites

BASE = """
x = Placeholder
three = Const {value: 3.0}
sixth = Const {value: 0.16666667}
six = Const {value: 6.0}
near = Const {value: 0.16667}
vector = Const {value: [0.16666667]}
s = AddV2(x, three)
g = Relu6(s)
"""


@pytest.mark.parametrize(
    "lines",
    [
        "m = Mul(x, g)\ny = Mul(m, sixth)\n",
        "m = Mul(x, g)\ny = Mul(sixth, m)\n",
        "m = Mul(g, sixth)\ny = Mul(x, m)\n",
        "m = RealDiv(g, six)\ny = Mul(x, m)\n",
    ],
)
def test_one_kernel(lines: str) -> None:
    assert sites(integer_plan(BASE + lines)) == {"x:0": "input", "y:0": "hard_swish"}


@pytest.mark.parametrize(
    ("lines", "results"),
    [
        # the converter does not fuse this order
        ("m = Mul(sixth, x)\ny = Mul(m, g)\n", {"g:0", "m:0", "y:0"}),
        ("m = Mul(g, x)\ny = Mul(m, sixth)\n", {"g:0", "m:0", "y:0"}),
        # nor does it for a number that is not just 1 / 6, or a vector at the end
        ("m = Mul(g, near)\ny = Mul(x, m)\n", {"g:0", "m:0", "y:0"}),
        ("m = Mul(x, g)\ny = Mul(m, vector)\n", {"g:0", "m:0", "y:0"}),
        # something else reads the gate
        ("m = Mul(x, g)\nk = Mul(m, sixth)\ny = Sub(k, g)\n", {"g:0", "m:0", "k:0", "y:0"}),
        # another number
        ("m = Mul(x, g)\ny = Mul(m, six)\n", {"g:0", "m:0", "y:0"}),
        # hard sigmoid
        ("y = Mul(g, sixth)\n", {"g:0", "y:0"}),
    ],
)
def test_pieces_otherwise(lines: str, results: set[str]) -> None:
    assert set(sites(integer_plan(BASE + lines))) == {"x:0"} | results
