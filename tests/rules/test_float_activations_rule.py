from __future__ import annotations

import pytest

from configs import contrib
from fqrewrite.ir.graph import Graph
from fqrewrite.ir.text import parse
from fqrewrite.plans.build import build_plan

LAYER = """
x = Placeholder {shape: [?, 8, 8, 3]}
b = VariableV2 {shape: [4]}
b/read = Identity(b)
w = VariableV2 {shape: [1, 1, 3, 4]}
w/read = Identity(w)
c/Conv2D = Conv2D(x, w/read)
y = BiasAdd(c/Conv2D, b/read)
"""


def _listed(text: str) -> dict[str, str]:
    plan = build_plan(Graph(parse(LAYER + text)), contrib(), source_sha256="0", public_outputs=("out",))
    return {entry.name: entry.code for entry in plan.left_out if entry.op != "Placeholder"}


@pytest.mark.parametrize("op", ["LeakyRelu", "Elu", "Selu", "Sigmoid", "Tanh", "Softplus", "Softmax"])
def test_lists_an_activation_of_something_quantized(op: str) -> None:
    assert _listed(f"out = {op}(y)\n") == {"out:0": "no-quantizer-in-preset"}


@pytest.mark.parametrize(
    "text",
    [
        "p = MaxPool(y)\nout = Sub(p, p)\n",
        "r = Identity(y)\naxis = Const {value: 3}\nout = ConcatV2(r, r, axis)\n",
        "a = Relu(y)\nm = Mul(a, a)\nout = Relu6(m)\n",  # the Mul is left to be fused with the Relu6 that follows
    ],
)
def test_lists_what_reads_it_through_others(text: str) -> None:
    assert _listed(text) == {"out:0": "no-quantizer-in-preset"}


@pytest.mark.parametrize(
    "text",
    [
        "out = Relu(y)\n",  # the layer's own activation is quantized
        "out = AvgPool(y)\n",  # keeps the range of its input
        "z = Sigmoid(x)\nout = Tanh(z)\n",  # nothing quantized goes in
        "z = Sigmoid(y)\nout = FakeQuantWithMinMaxArgs(z)\n",  # the model's own quantizer follows
    ],
)
def test_lists_nothing_else(text: str) -> None:
    assert "no-quantizer-in-preset" not in _listed(text + "end = Identity(out)\n").values()
