from __future__ import annotations

import pytest

from fqrewrite.errors import Refusal
from fqrewrite.ir.graph import Graph
from fqrewrite.ir.text import parse
from fqrewrite.match.analysis import Analysis
from fqrewrite.match.refusals import MARKER_NAME, refuse_backward_pass, refuse_rewritten

CONV = """
x = Placeholder {shape: [?, 8, 8, 3]}
w = VariableV2 {shape: [3, 3, 3, 4]}
w/read = Identity(w)
y = Conv2D(x, w/read)
sizes = Const {value: [3, 3, 3, 4]}
"""
MLP = """
x = Placeholder {shape: [?, 4]}
w1 = VariableV2 {shape: [4, 5]}
w1/read = Identity(w1)
w2 = VariableV2 {shape: [5, 2]}
w2/read = Identity(w2)
hidden = MatMul(x, w1/read)
logits = MatMul(hidden, w2/read)
loss = Mean(logits, axes)
axes = Const {value: [0, 1]}
"""
AUTOENCODER = """
x = Placeholder {shape: [?, 4]}
w = VariableV2 {shape: [4, 2]}
w/read = Identity(w)
code = MatMul(x, w/read)
decoded = MatMul(code, w/read) {transpose_b: true}
"""


def _refuse_backward(text: str) -> None:
    refuse_backward_pass(Analysis(Graph(parse(text))))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (CONV + "g = Conv2DBackpropFilter(x, sizes, y)\n", "g (Conv2DBackpropFilter)"),
        (CONV + "r = Relu(y)\ng = ReluGrad(y, r)\n", "g (ReluGrad)"),
        (CONV + "g = Relu6Grad(y, y)\n", "g (Relu6Grad)"),
        (CONV + "g = BiasAddGrad(y)\n", "g (BiasAddGrad)"),
        (CONV + "g = FusedBatchNormGradV3(y, y)\n", "g (FusedBatchNormGradV3)"),
        (CONV + "g = MaxPoolGrad(y, y, y)\n", "g (MaxPoolGrad)"),
        (CONV + "g = FakeQuantWithMinMaxVarsGradient(y, y)\n", "g (FakeQuantWithMinMaxVarsGradient)"),
        (CONV + "g = DepthwiseConv2dNativeBackpropFilter(x, sizes, y)\n", "g (DepthwiseConv2dNativeBack"),
        (CONV + "g = ApplyGradientDescent(w, y, y)\n", "g (ApplyGradientDescent)"),
        (CONV + "g = ResourceApplyAdam(w, y, y)\n", "g (ResourceApplyAdam)"),
        (CONV + "g = ResourceSparseApplyMomentum(w, y, y)\n", "g (ResourceSparseApplyMomentum)"),
        (MLP + "g = MatMul(hidden, logits) {transpose_a: true}\n", "g (MatMul)"),  # hidden^T * d(logits)
        (MLP + "d = Tanh(logits)\nback = MatMul(d, w2/read) {transpose_b: true}\n"
         "g = MatMul(x, back) {transpose_a: true}\n", "g (MatMul)"),  # through the second layer
    ],
)  # fmt: skip
def test_backward_passes_are_refused(text: str, named: str) -> None:
    with pytest.raises(Refusal) as caught:
        _refuse_backward(text)
    assert caught.value.code == "graph-has-gradients"
    assert named in caught.value.what


@pytest.mark.parametrize(
    "text",
    [
        CONV,
        MLP,
        AUTOENCODER,  # the decoder reads the encoder's weights transposed, as a gradient would
        CONV + "s = StopGradient(y)\np = PreventGradient(s)\n",
        CONV + "up = Conv2DBackpropInput(sizes, w/read, y)\n",  # a transposed convolution
        MLP + "attention = MatMul(hidden, logits) {transpose_b: true}\n",
        MLP + "pooled = MatMul(hidden, logits) {transpose_a: true, transpose_b: true}\n",
        MLP + "gram = MatMul(x, x) {transpose_a: true}\n",  # x^T * x depends on no layer
        "x = Placeholder\nw = VariableV2\np = Add(w, w)\nq = MatMul(x, p) {transpose_a: true}\n",
    ],
)
def test_forward_passes_are_not(text: str) -> None:
    _refuse_backward(text)


def test_at_most_three_are_named() -> None:
    gradients = "".join(f"g{index} = ReluGrad(y, y)\n" for index in range(9))
    with pytest.raises(Refusal, match="9 such nodes") as caught:
        _refuse_backward(CONV + gradients)
    assert "g2" in caught.value.what
    assert "g3" not in caught.value.what


def _quantizer(scope: str, low: str = "{scope}/min/read", *, resource: bool = False) -> str:
    variable, read = ("VarHandleOp", "ReadVariableOp") if resource else ("VariableV2", "Identity")
    text = f"x = Placeholder\n{scope}/min = {variable}\n{scope}/max = {variable}\n"
    text += f"{scope}/min/read = {read}({scope}/min)\n{scope}/max/read = {read}({scope}/max)\n"
    low = low.format(scope=scope)
    return text + f"{scope}/FakeQuantWithMinMaxVars = FakeQuantWithMinMaxVars(x, {low}, {scope}/max/read)\n"


@pytest.mark.parametrize(
    "text",
    [
        f'{MARKER_NAME} = Const {{value: "about"}}\n',
        _quantizer("net/conv1/weights_quant"),
        _quantizer("weights_quant"),
        _quantizer("net/conv1/act_quant_1"),
        _quantizer("net/conv_quant", resource=True),
        _quantizer("net/add_quant"),
        _quantizer("net/post_activation_bypass_quant"),
        _quantizer("net/add/activation_Add_quant"),
        _quantizer("net/mul/activation_AddV2_quant_12"),
        _quantizer("net/act_quant", "set").replace(
            "net/act_quant/Fake", "set = Assign(net/act_quant/min, x)\nnet/act_quant/Fake", 1
        ),
    ],
)
def test_rewritten_graphs_are_refused(text: str) -> None:
    with pytest.raises(Refusal) as caught:
        refuse_rewritten(Graph(parse(text)))
    assert caught.value.code == "already-rewritten"
    assert caught.value.where in (MARKER_NAME, text.splitlines()[-1].split(" = ")[0])


@pytest.mark.parametrize(
    "text",
    [
        CONV,
        f"{MARKER_NAME} = NoOp\n",  # something else of that name
        _quantizer("net/my_quantizer"),
        _quantizer("net/quant"),
        _quantizer("net/weights_quantizer"),
        "l = Const {value: -1.0}\nh = Const {value: 1.0}\nx = Placeholder\n"
        "a/act_quant/q = FakeQuantWithMinMaxVars(x, l, h)\n",
        "x = Placeholder\na/act_quant/q = FakeQuantWithMinMaxArgs(x)\n",
    ],
)
def test_a_models_own_quantizers_are_welcome(text: str) -> None:
    refuse_rewritten(Graph(parse(text)))
