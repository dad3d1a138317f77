from __future__ import annotations

import pytest

from fqrewrite.ir.graph import Graph
from fqrewrite.ir.text import parse
from fqrewrite.match.scalar_expression import are_equal, samples

TEXT = """
keep = Placeholder
other = Placeholder
one = Const {value: 1.0}
half = Const {value: 0.5}
two = Const {value: 2.0}
rate = Sub(one, keep)
again = Identity(keep)
back = Sub(one, rate)
scale = RealDiv(one, back)
inverse = Reciprocal(again)
doubled = Add(keep, keep)
twice = Mul(two, keep)
nothing = Sub(one, one)
infinite = RealDiv(one, nothing)
"""


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        ("keep", "again", True),
        ("keep", "back", True),
        ("scale", "inverse", True),
        ("doubled", "twice", True),
        ("keep", "rate", False),
        ("keep", "other", False),
        ("half", "two", False),
        ("keep", "half", False),
        ("infinite", "infinite", False),
    ],
)
def test_equal_expressions(left: str, right: str, same: bool) -> None:
    graph = Graph(parse(TEXT))
    assert are_equal(samples(graph.value(left)), samples(graph.value(right))) == same


def test_constants_are_compared_up_to_float16() -> None:
    assert are_equal((0.7, 0.7), (0.7001, 0.7001))
    assert not are_equal((0.7, 0.7), (0.71, 0.7))
