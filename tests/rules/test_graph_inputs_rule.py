from __future__ import annotations

import pytest

from configs import contrib
from fqrewrite.ir.graph import Graph
from fqrewrite.ir.text import parse
from fqrewrite.plans.build import build_plan

INPUTS = """
x = Placeholder {shape: [?, 8, 8, 3]}
labels = Placeholder {shape: [?, 4]}
w = VariableV2 {shape: [1, 1, 3, 4]}
w/read = Identity(w)
"""


def _listed(text: str) -> list[str]:
    plan = build_plan(Graph(parse(INPUTS + text)), contrib(), source_sha256="0", public_outputs=("out",))
    return [entry.name for entry in plan.left_out if entry.code == "input-not-quantized"]


@pytest.mark.parametrize(
    "text",
    [
        "out = Conv2D(x, w/read)\n",
        "sizes = Const {value: [[0, 0], [1, 1], [1, 1], [0, 0]]}\np = Pad(x, sizes)\nout = Conv2D(p, w/read)\n",
        "i = Identity(x)\nout = Conv2D(i, w/read)\n",
    ],
)
def test_lists_an_input_that_a_layer_reads(text: str) -> None:
    assert _listed(text) == ["x:0"]


@pytest.mark.parametrize(
    "text",
    [
        "s = Sigmoid(x)\nout = Conv2D(s, w/read)\n",  # the layer does not read the input itself
        "q = FakeQuantWithMinMaxArgs(x)\nout = Conv2D(q, w/read)\n",
        "out = Sub(x, labels)\n",
    ],
)
def test_lists_no_other(text: str) -> None:
    assert _listed(text) == []
