from __future__ import annotations

import pytest

from fqrewrite.ir.graph import Graph
from fqrewrite.ir.text import parse
from fqrewrite.match.dropout import dropped_out

MASK = """
x = Placeholder
shape = Const {value: [4]}
rate = Const {value: 0.5}
random = RandomUniform(shape)
"""
# TensorFlow 1: x / keep_prob * floor(random + keep_prob)
DIVIDED = f"""{MASK}
shifted = Add(random, rate)
mask = Floor(shifted)
scaled = RealDiv(x, rate)
out = Mul(scaled, mask)
"""
# TensorFlow 1.15: x * (1 / keep_prob) * cast(random >= rate)
MULTIPLIED = f"""{MASK}
keep = GreaterEqual(random, rate)
mask = Cast(keep) {{SrcT: bool}}
scaled = Mul(x, rate)
out = Mul(scaled, mask)
"""
# TensorFlow 2: select(random >= rate, x * scale, 0)
SELECTED = f"""{MASK}
keep = GreaterEqual(random, rate)
zero = Const {{value: 0.0}}
scaled = Mul(x, rate)
out = SelectV2(keep, scaled, zero)
"""
BEHIND = f"""{MASK}
keep = GreaterEqual(random, rate)
mask = Cast(keep) {{SrcT: bool}}
out = Mul(mask, x)
scaled = Mul(out, rate)
"""


@pytest.mark.parametrize(
    ("text", "node", "data"),
    [
        (DIVIDED, "out", "scaled:0"),
        (DIVIDED, "scaled", "x:0"),
        (MULTIPLIED, "out", "scaled:0"),
        (MULTIPLIED, "scaled", "x:0"),
        (SELECTED, "out", "scaled:0"),
        (SELECTED, "scaled", "x:0"),
        (BEHIND, "out", "x:0"),
        (
            MASK.replace("RandomUniform(", "StatelessRandomUniformV2(") + "out = Mul(random, x)\n",
            "out",
            "x:0",
        ),
    ],
)
def test_products_of_a_dropout(text: str, node: str, data: str) -> None:
    found = dropped_out(Graph(parse(text)).node(node))
    assert str(found) == data


@pytest.mark.parametrize(
    ("text", "node"),
    [
        (MASK + "out = Mul(x, rate)\n", "out"),
        (MASK + "y = Neg(x)\nout = Mul(x, y)\n", "out"),
        (MULTIPLIED, "mask"),  # no product
        (MULTIPLIED, "keep"),
        (MASK + "noise = Mul(random, rate)\nout = Add(x, noise)\n", "out"),  # noise that is added
        (MASK + "noise = Mul(random, random)\n", "noise"),  # there is no data
        (MULTIPLIED + "also = Neg(scaled)\n", "scaled"),  # is used outside the dropout as well
    ],
)
def test_products_of_something_else(text: str, node: str) -> None:
    assert dropped_out(Graph(parse(text)).node(node)) is None
