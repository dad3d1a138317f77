"""Folded batch norms that add one number to all channels."""

from __future__ import annotations

import pytest
from planning import integer_plan

from configs import contrib
from fqrewrite.ir.graph import Graph
from fqrewrite.ir.text import parse
from fqrewrite.plans.build import build_plan
from fqrewrite.plans.offsets import find_uniform_offsets

TEXT = """
x = Placeholder {shape: [1, 4, 4, 3]}
s = Const {value: [1, 1, 3, 2]}
flat = Const {value: [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]}
w = Reshape(flat, s)
gamma = Const {value: [2.0, 4.0]}
c = Conv2D(x, w)
"""


def _net(beta: str, mean: str, variance: str, bias: str = "") -> str:
    text = TEXT + f"beta = {beta}\nmean = {mean}\nvariance = {variance}\n"
    data = "c"
    if bias:
        text, data = text + f"b = {bias}\nbiased = BiasAdd(c, b)\n", "biased"
    return text + f"n = FusedBatchNorm({data}, gamma, beta, mean, variance) {{is_training: false, epsilon: 0.0}}\n"


def _vector(first: float, second: float) -> str:
    return f"Const {{value: [{first}, {second}]}}"


@pytest.mark.parametrize(
    ("net", "offset"),
    [
        (_net(_vector(0.5, 0.5), _vector(0.0, 0.0), _vector(1.0, 4.0)), 0.5),
        (_net(_vector(0.0, 0.0), _vector(-1.0, -1.0), _vector(1.0, 4.0)), 2.0),
        (_net(_vector(1.0, 3.0), _vector(0.0, 1.0), _vector(1.0, 4.0)), 1.0),
        (_net(_vector(1.0, 1.0), _vector(3.0, 3.0), _vector(1.0, 1.0), _vector(3.0, 3.0)), 1.0),
        (_net(_vector(1.0, 1.0), _vector(0.0, 0.0), _vector(1.0, 1.0), _vector(0.0, 3.0)), None),
        (_net(_vector(0.5, 0.25), _vector(0.0, 0.0), _vector(1.0, 4.0)), None),
        (_net(_vector(0.0, 0.0), _vector(0.0, 0.0), _vector(1.0, 4.0)), None),
        (_net("VariableV2 {shape: [2]}", _vector(0.0, 0.0), _vector(1.0, 4.0)), None),
    ],
)
def test_offsets_of_one_number(net: str, offset: float | None) -> None:
    found = find_uniform_offsets(integer_plan(net), Graph(parse(net))).uniform_offsets
    assert [(entry.node, entry.offset, entry.channels) for entry in found] == ([("n", offset, 2)] if offset else [])


def test_with_one_range_for_the_weights_any_bias_is_right() -> None:
    graph = Graph(parse(_net(_vector(0.5, 0.5), _vector(0.0, 0.0), _vector(1.0, 4.0))))
    plan = build_plan(graph, contrib(), source_sha256="0")
    assert find_uniform_offsets(plan, graph).uniform_offsets == ()


BIASED = (
    TEXT
    + """
b = Const {value: [%s, %s]}
biased = BiasAdd(c, b)
more = Const {value: 3.0}
y = AddV2(biased, more)
r = Relu6(y)
"""
)


@pytest.mark.parametrize(
    ("first", "second", "offset"),
    # One that is uniform by itself is known before, and has a quantizer in front of it (rules/_site.py).
    [(0.0, 0.0, 3.0), (1.0, 1.0, None), (0.0, 1.0, None), (-3.0, -3.0, None)],
)
def test_biases_that_add_up_to_one_number(first: float, second: float, offset: float | None) -> None:
    """A bias that was never trained, and the 3 of a hard sigmoid."""
    net = BIASED % (first, second)
    found = find_uniform_offsets(integer_plan(net), Graph(parse(net))).uniform_offsets
    assert [(entry.node, entry.offset, entry.channels) for entry in found] == (
        [("biased", offset, 2)] if offset else []
    )
