from __future__ import annotations

import pytest

from fqrewrite.ir.graph import Graph
from fqrewrite.ir.text import parse
from fqrewrite.match.dropout import dropped_out, find_dropouts

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


HALF = "x = Placeholder\nshape = Const {value: [4]}\nkeep = Const {value: 0.8}\nrate = Const {value: 0.2}\n"
FED = HALF.replace("keep = Const {value: 0.8}", "keep = Placeholder").replace(
    "rate = Const {value: 0.2}", "one = Const {value: 1.0}\nrate = Sub(one, keep)"
)
RANGED = """
low = Const {value: 0.0}
high = Const {value: 1.0}
span = Sub(high, low)
unit = RandomUniform(shape)
spread = Mul(unit, span)
u = Add(spread, low)
"""
PLAIN = "u = RandomUniform(shape)\n"
FLOOR = "shifted = Add(keep, u)\nmask = Floor(shifted)\n"
ABOVE = "kept = GreaterEqual(u, rate)\nmask = Cast(kept)\n"
BELOW = "kept = Less(u, keep)\nmask = Cast(kept)\n"
REVERSED = "kept = LessEqual(rate, u)\nmask = Cast(kept)\n"
BEFORE = "scaled = RealDiv(x, keep)\nout = Mul(scaled, mask)\n"
AFTER = "masked = Mul(x, mask)\nout = RealDiv(masked, keep)\n"
WITHIN = "scale = RealDiv(mask, keep)\nout = Mul(x, scale)\n"
INVERTED = "unity = Const {value: 1.0}\nscale = RealDiv(unity, keep)\nscaled = Mul(scale, x)\nout = Mul(mask, scaled)\n"
CHOSEN = "zero = Const {value: 0.0}\nscaled = RealDiv(x, keep)\nout = SelectV2(kept, scaled, zero)\n"
DROPPED = "drop = Less(u, rate)\nzero = ZerosLike(x)\nscaled = RealDiv(x, keep)\nout = Select(drop, zero, scaled)\n"
NEGATED = "drop = Less(u, rate)\nkept = LogicalNot(drop)\nmask = Cast(kept)\n"


def _dropouts(text: str) -> list[tuple[str, str]]:
    return [(str(found.result), str(found.data)) for found in find_dropouts(Graph(parse(text)))]


@pytest.mark.parametrize("head", [HALF, FED], ids=["constant", "placeholder"])
@pytest.mark.parametrize("random", [RANGED, PLAIN, PLAIN.replace("Random", "StatelessRandom")])
@pytest.mark.parametrize(
    "text",
    [
        *(mask + product for mask in (FLOOR, ABOVE, BELOW, REVERSED, NEGATED) for product in (BEFORE, AFTER, WITHIN)),
        ABOVE + INVERTED,
        ABOVE + CHOSEN,
        BELOW + CHOSEN,
        DROPPED,
    ],
)
def test_every_form_is_found(head: str, random: str, text: str) -> None:
    assert _dropouts(head + random + text) == [("out:0", "x:0")]


def test_a_mask_for_many_products_and_a_dropout_of_a_dropout() -> None:
    again = "more = RealDiv(out, keep)\nout2 = Mul(more, mask)\n"
    assert _dropouts(HALF + PLAIN + FLOOR + BEFORE + again) == [("out:0", "x:0"), ("out2:0", "out:0")]


def test_gaussian_dropout() -> None:
    noise = "n = RandomStandardNormal(shape)\nwide = Mul(n, rate)\none = Const {value: 1.0}\nnoise = Add(wide, one)\n"
    assert _dropouts(HALF + noise + "out = Mul(x, noise)\n") == [("out:0", "x:0")]
    assert _dropouts(HALF + noise.replace("1.0", "0.0") + "out = Mul(x, noise)\n") == []


@pytest.mark.parametrize(
    "text",
    [
        ABOVE + "out = Mul(x, mask)\n",  # nobody divides by the probability
        ABOVE + "scaled = RealDiv(x, rate)\nout = Mul(scaled, mask)\n",
        ABOVE + "out = Add(x, mask)\n",
        ABOVE + CHOSEN.replace("{value: 0.0}", "{value: 3.0}"),
        "out = Mul(x, u)\n",  # a random gain
        "noise = Mul(u, rate)\nout = Add(x, noise)\n",
        # a random flip
        ABOVE + "flipped = Neg(x)\none = Const {value: 1.0}\nrest = Sub(one, mask)\na = Mul(flipped, mask)\n"
        "b = Mul(x, rest)\nout = Add(a, b)\n",
        # alpha dropout
        ABOVE + "one = Const {value: 1.0}\nalpha = Const {value: -1.75}\nrest = Sub(one, mask)\na = Mul(x, mask)\n"
        "b = Mul(alpha, rest)\nsum = Add(a, b)\nout = Mul(sum, keep)\n",
    ],
)
def test_other_uses_of_random_numbers_are_none(text: str) -> None:
    assert _dropouts(HALF + PLAIN + text) == []
