from __future__ import annotations

import pytest
from planning import declined

from configs import contrib, contrib_weights
from fqrewrite.config.records import Config
from fqrewrite.ir.graph import Graph
from fqrewrite.ir.text import parse
from fqrewrite.plans.build import build_plan
from fqrewrite.plans.items import Plan

X = "x = Placeholder {shape: [?, 8, 8, 3]}\n"
W = "w = VariableV2 {shape: [3, 3, 3, 2]}\nw/read = Identity(w)\n"


def _plan(text: str, config: Config | None = None) -> Plan:
    return build_plan(Graph(parse(text)), config or contrib(), source_sha256="0")


@pytest.mark.parametrize(
    "weights",
    [W, "w = VarHandleOp {shape: [3, 3, 3, 2]}\nw/read = ReadVariableOp(w)\n",
     "w = Const {value: 0.5, shape: [3, 3, 3, 2]}\nw/read = Identity(w)\n"],
)  # fmt: skip
def test_takes(weights: str) -> None:
    plan = _plan(X + weights + "net/dw/depthwise = DepthwiseConv2dNative(x, w/read)\n")
    (item,) = [item for item in plan.quantizers if item.role == "weights"]
    assert (item.scope, item.tensor, item.edges) == (
        "net/dw/weights_quant", "w/read:0", ("net/dw/depthwise:in1",),
    )  # fmt: skip
    assert item.depthwise
    assert declined(plan) == ()


def test_channels_are_those_of_the_last_two_axes() -> None:
    config = contrib(weights=contrib_weights(granularity="per_channel"))
    plan = _plan(X + "w = Const {value: 0.5, shape: [3, 3, 3, 2]}\nd = DepthwiseConv2dNative(x, w)\n", config)
    (item,) = [item for item in plan.quantizers if item.role == "weights"]
    assert (item.scheme.granularity, item.weight_shape) == ("per_channel", (3, 3, 3, 2))
    assert len(item.range.maximum) == 6


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (X + "k = Neg(x)\nd = DepthwiseConv2dNative(x, k)\n", "weights-are-data"),
        (X + W + "d = DepthwiseConv2dNative(x, w/read) {T: double}\n", "dtype-not-float32"),
    ],
)
def test_declines(text: str, code: str) -> None:
    plan = _plan(text)
    assert plan.quantizers == ()
    assert [(entry.kind, entry.name, entry.code) for entry in declined(plan)] == [("layer", "d", code)]


def test_both_halves_of_a_separable_convolution_are_quantized() -> None:
    text = X + W + "p = VariableV2 {shape: [1, 1, 6, 4]}\np/read = Identity(p)\n"
    text += "s/depthwise = DepthwiseConv2dNative(x, w/read)\ns/pointwise = Conv2D(s/depthwise, p/read)\n"
    plan = _plan(text + "s/Relu = Relu(s/pointwise)\n")
    assert {item.scope: item.tensor for item in plan.quantizers} == {
        "s/weights_quant": "p/read:0",  # the longer match goes first, and takes the plain names
        "s/act_quant": "s/Relu:0",
        "s/weights_quant_1": "w/read:0",
        "s/act_quant_1": "s/depthwise:0",
    }
