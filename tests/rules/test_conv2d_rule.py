from __future__ import annotations

import pytest
from planning import declined

from configs import contrib
from fqrewrite.ir.graph import Graph
from fqrewrite.ir.text import parse
from fqrewrite.plans.build import build_plan
from fqrewrite.plans.items import Plan

X = "x = Placeholder {shape: [?, 8, 8, 3]}\n"
REF = "net/conv/w = VariableV2 {shape: [3, 3, 3, 4]}\nnet/conv/w/read = Identity(net/conv/w)\n"
CONV = "net/conv/Conv2D = Conv2D(x, net/conv/w/read)\n"


def _plan(text: str) -> Plan:
    return build_plan(Graph(parse(text)), contrib(), source_sha256="0")


def _weights(plan: Plan) -> dict[str, tuple[str, tuple[str, ...] | None]]:
    return {item.scope: (item.tensor, item.edges) for item in plan.quantizers if item.role == "weights"}


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        (X + REF + CONV, "net/conv/w/read:0"),
        (X + REF + "again = Identity(net/conv/w/read)\n" + CONV.replace("net/conv/w/read", "again"),
         "again:0"),
        (X + "h = VarHandleOp {shape: [3, 3, 3, 4]}\nr = ReadVariableOp(h)\n"
         "net/conv/Conv2D = Conv2D(x, r)\n", "r:0"),
        (X + "p0 = VariableV2 {shape: [3, 3, 3, 2]}\nr0 = Identity(p0)\n"
         "p1 = VariableV2 {shape: [3, 3, 3, 2]}\nr1 = Identity(p1)\naxis = Const {value: 3}\n"
         "w = ConcatV2(r0, r1, axis)\nnet/conv/Conv2D = Conv2D(x, w)\n", "w:0"),
        (X + "w = Const {value: 0.5, shape: [3, 3, 3, 4]}\nnet/conv/Conv2D = Conv2D(x, w)\n", "w:0"),
        (X + REF + CONV.replace("read)", "read) {dilations: [1, 2, 2, 1]}"), "net/conv/w/read:0"),
        (X + REF + CONV.replace("read)", "read) {padding: EXPLICIT, explicit_paddings: "
                                "[0, 0, 1, 1, 1, 1, 0, 0]}"), "net/conv/w/read:0"),
        (X + REF + CONV.replace("read)", "read) {data_format: NCHW}"), "net/conv/w/read:0"),
        # weight normalisation: whatever depends on variables alone is weights
        (X + REF + "g = VariableV2 {shape: [4]}\nv = Mul(net/conv/w/read, g)\n"
         "net/conv/Conv2D = Conv2D(x, v)\n", "v:0"),
        # a 1-D convolution
        ("s = Placeholder {shape: [?, 8, 3]}\none = Const {value: 1}\nzero = Const {value: 0}\n"
         "x = ExpandDims(s, one)\nw = VariableV2 {shape: [3, 3, 4]}\nr = Identity(w)\n"
         "k = ExpandDims(r, zero)\nnet/conv/Conv2D = Conv2D(x, k)\n"
         "squeezed = Squeeze(net/conv/Conv2D) {squeeze_dims: [1]}\n", "k:0"),
    ],
)  # fmt: skip
def test_takes(text: str, weights: str) -> None:
    plan = _plan(text)
    assert _weights(plan) == {"net/conv/weights_quant": (weights, ("net/conv/Conv2D:in1",))}
    assert (plan.layers, declined(plan)) == (1, ())


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (X + "n = Neg(x)\nnet/conv/Conv2D = Conv2D(x, n)\n", "weights-are-data"),
        (X + "w = VariableV2 {shape: [3, 3, 3, 4], dtype: half}\nr = Identity(w) {T: half}\n"
         "c = Cast(x) {DstT: half}\nnet/conv/Conv2D = Conv2D(c, r) {T: half}\n", "dtype-not-float32"),
        (X + REF + "p = Placeholder {dtype: bool, shape: []}\ns = Switch(x, p)\n"
         "net/conv/Conv2D = Conv2D(s:1, net/conv/w/read)\nm = Merge(s, net/conv/Conv2D)\nout = Neg(m)\n",
         "inside-control-flow"),
        (X + REF + "start = Enter(x) {frame_name: f}\nm = Merge(start, n)\nc = Placeholder {dtype: bool}\n"
         "lc = LoopCond(c)\ns = Switch(m, lc)\nnet/conv/Conv2D = Conv2D(s:1, net/conv/w/read)\n"
         "n = NextIteration(net/conv/Conv2D)\ne = Exit(s)\nout = Neg(e)\n", "inside-control-flow"),
    ],
)  # fmt: skip
def test_declines(text: str, code: str) -> None:
    plan = _plan(text)
    assert plan.quantizers == ()
    found = [(entry.kind, entry.name, entry.op, entry.code) for entry in declined(plan)]
    assert found == [("layer", "net/conv/Conv2D", "Conv2D", code)]
    assert plan.layers == 1


def test_a_convolution_that_computes_weights_is_no_layer() -> None:
    text = X + REF + "k = Conv2D(net/conv/w/read, net/conv/w/read)\nout = Conv2D(x, k)\n"
    plan = _plan(text)
    assert _weights(plan) == {"weights_quant": ("k:0", ("out:in1",))}
    assert (plan.layers, declined(plan)) == (1, ())


def test_shared_weights_have_one_quantizer_with_two_edges() -> None:
    text = X + REF + CONV + "d/Conv2D = Conv2D(x, net/conv/w/read) {strides: [1, 2, 2, 1]}\n"
    pooled = text + "p = MaxPool(net/conv/Conv2D)\nout = Sub(d/Conv2D, p)\n"
    plan = _plan(pooled)
    edges = ("net/conv/Conv2D:in1", "d/Conv2D:in1")
    assert _weights(plan) == {"net/conv/weights_quant": ("net/conv/w/read:0", edges)}
    assert plan.layers == 2


def test_reads_of_one_variable_have_their_own_quantizers() -> None:
    text = X + REF + CONV + "r2 = Identity(net/conv/w)\nd/Conv2D = Conv2D(x, r2)\n"
    plan = _plan(text + "out = Sub(net/conv/Conv2D, d/Conv2D)\n")
    assert set(_weights(plan)) == {"net/conv/weights_quant", "d/weights_quant"}
