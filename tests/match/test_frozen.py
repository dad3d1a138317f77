"""Which constants count as trained parameters."""

from __future__ import annotations

import pytest

from fqrewrite.errors import GraphError
from fqrewrite.ir.graph import Graph
from fqrewrite.ir.text import parse
from fqrewrite.match.frozen import NotThawed, trainable_constants

CONV = """
x = Placeholder {shape: [2, 8, 8, 3]}
w = Const {value: 0.1, shape: [3, 3, 3, 4]}
y = Conv2D(x, w)
"""
VECTOR = "c = Const {value: 0.5, shape: [4]}\n"
VARIANCE = """
variance = Const {value: 1.0, shape: [4]}
epsilon = Const {value: 0.001}
plus = AddV2(variance, epsilon)
"""


def found(text: str) -> list[str]:
    constants, left = trainable_constants(Graph(parse(text)))
    assert left == []
    return [node.name for node in constants]


def left_out(text: str) -> list[NotThawed]:
    return trainable_constants(Graph(parse(text)))[1]


@pytest.mark.parametrize(
    ("shape", "layer"),
    [
        ([3, 3, 4, 2], "DepthwiseConv2dNative(x, w)"),
        ([1, 3, 3, 4, 2], "Conv3D(x, w)"),
        ([4, 2], "MatMul(x, w)"),
        ([4, 2], "MatMul(w, x)"),
        ([5, 4, 2], "BatchMatMulV2(x, w)"),
        ([4, 2, 3], 'Einsum(x, w) {equation: "abc,cde->abde"}'),
        ([3, 3, 2, 4], "Conv2DBackpropInput(size, w, x)"),
        ([1, 1, 1, 1], "Conv2D(x, w)"),
    ],
)
def test_weights_of_layers(shape: list[int], layer: str) -> None:
    text = f"""
x = Placeholder
size = Const {{value: [2, 8, 8, 2]}}
w = Const {{value: 0.1, shape: {shape}}}
y = {layer}
"""
    assert found(text) == ["w"]


def test_weights_behind_other_operations() -> None:
    text = """
x = Placeholder {shape: [2, 8, 8, 3]}
v = Const {value: 0.1, shape: [36, 3]}
g = Const {value: 0.1, shape: [4]}
shape = Const {value: [3, 3, 3, 4]}
order = Const {value: [0, 1]}
low = Const {value: [-1.0, -1.0]}
high = Const {value: [1.0, 1.0]}
read = Identity(v)
t = Transpose(read, order)
r = Reshape(t, shape)
scaled = Mul(r, g)
quantized = FakeQuantWithMinMaxVarsPerChannel(scaled, low, high)
y = Conv2D(x, quantized)
"""
    assert found(text) == ["v", "g"]


@pytest.mark.parametrize(
    "text",
    [
        VECTOR + "z = BiasAdd(y, c)",
        VECTOR + "z = Add(y, c)",
        VECTOR + "z = Sub(c, y)",
        VECTOR + "r = Relu(y)\nz = Mul(c, r)",
        "c = Const {value: 0.5, shape: [1, 1, 1, 4]}\nz = AddV2(c, y)",
        "c = Const {value: 0.5, shape: [1, 1, 4]}\nn = Neg(y)\nr = Relu(n)\nneg = Neg(c)\nz = Mul(neg, r)",
        "c = Const {value: 0.5, shape: [8, 8, 4]}\nn = Neg(y)\nr = Relu(n)\nneg = Neg(c)\nz = Mul(neg, r)",
    ],
)
def test_biases_scales_and_slopes(text: str) -> None:
    assert found(CONV + text) == ["w", "c"]


@pytest.mark.parametrize(
    "text",
    [
        "c = Const {value: 3.0}\nz = AddV2(y, c)",  # hard swish
        "c = Const {value: 3.0, shape: [1]}\nz = AddV2(y, c)",
        VECTOR + "z = Sub(x, c)",  # the input's mean
        VECTOR + "s = Softmax(y)\nz = Mul(s, c)",  # decoding
        "c = Const {value: 0.5, shape: [2, 8, 8, 4]}\nz = Add(y, c)",  # anchors
        "c = Const {value: 0.5, shape: [1, 4, 1, 1]}\nz = Add(y, c)",  # channels are last here
        "c = Const {value: [16, 16]}\nz = ResizeBilinear(y, c)",
        "a = Const {value: 0.5, shape: [4]}\nb = Const {value: 0.5, shape: [4]}\nz = Mul(a, b)",
        "l = Const {value: -1.0}\nh = Const {value: 1.0}\nz = FakeQuantWithMinMaxVars(y, l, h)",
    ],
)
def test_constants_that_are_not_trained(text: str) -> None:
    assert found(CONV + text) == ["w"]


def test_bias_of_one_channel() -> None:
    text = """
x = Placeholder
size = Const {value: [2, 8, 8, 1]}
w = Const {value: 0.1, shape: [2, 2, 1, 16]}
y = Conv2DBackpropInput(size, w, x)
b = Const {value: 0.1, shape: [1]}
z = Add(y, b)
"""
    assert found(text) == ["w", "b"]


def test_channels_first() -> None:
    layer = CONV.replace("Conv2D(x, w)", 'Conv2D(x, w) {data_format: "NCHW"}')
    assert found(layer + "c = Const {value: 0.5, shape: [1, 4, 1, 1]}\nz = Add(y, c)") == ["w", "c"]


def test_fused_batch_norm() -> None:
    text = """
gamma = Const {value: 1.0, shape: [4]}
beta = Const {value: 0.0, shape: [4]}
mean = Const {value: 0.0, shape: [4]}
variance = Const {value: 1.0, shape: [4]}
z = FusedBatchNormV3(y, gamma, beta, mean, variance) {is_training: false}
"""
    assert found(CONV + text) == ["w", "gamma", "beta"]


# As tf.nn.batch_normalization builds it, without beta, and the two written by hand.
EXPANDED = "r = Rsqrt(plus)\ni = Mul(r, gamma)\na = Mul(y, i)\nb = Mul(mean, i)\nd = Sub(beta, b)\nz = AddV2(a, d)"
NO_BETA = "r = Rsqrt(plus)\ni = Mul(r, gamma)\na = Mul(y, i)\nn = Neg(mean)\nb = Mul(n, i)\nz = AddV2(a, b)"
CENTRED = "s = Sub(y, mean)\nr = Rsqrt(plus)\ni = Mul(r, gamma)\na = Mul(s, i)\nz = AddV2(a, beta)"
DIVIDED = "s = Sub(y, mean)\nr = Sqrt(plus)\ni = RealDiv(s, r)\na = Mul(i, gamma)\nz = AddV2(a, beta)"


@pytest.mark.parametrize("pieces", [EXPANDED, NO_BETA, CENTRED, DIVIDED])
def test_batch_norm_in_pieces(pieces: str) -> None:
    text = CONV + VARIANCE + "mean = Const {value: 0.0, shape: [4]}\ngamma = Const {value: 1.0, shape: [4]}\n"
    beta = ["beta"] if "beta" in pieces else []
    assert found(text + "beta = Const {value: 0.0, shape: [4]}\n" + pieces) == ["w", "gamma", *beta]


def test_batch_norm_in_constants() -> None:
    """Folded into weights and bias, and left for a constant folder to compute."""
    text = f"""
x = Placeholder
kernel = Const {{value: 0.1, shape: [3, 3, 3, 4]}}
mean = Const {{value: 0.0, shape: [4]}}
beta = Const {{value: 0.0, shape: [4]}}
{VARIANCE}
r = Rsqrt(plus)
w = Mul(kernel, r)
m = Mul(mean, r)
b = Sub(beta, m)
y = Conv2D(x, w)
z = BiasAdd(y, b)
"""
    assert found(text) == ["kernel", "beta"]


def test_shared_with_a_statistic() -> None:
    """A graph optimiser keeps equal constants once: beta and moving mean of a new batch norm, for instance."""
    text = """
gamma = Const {value: 1.0, shape: [4]}
zeros = Const {value: 0.0, shape: [4]}
variance = Const {value: 1.0, shape: [4]}
z = FusedBatchNormV3(y, gamma, zeros, zeros, variance) {is_training: false}
"""
    (left,) = left_out(CONV + text)
    assert left.name == "zeros"
    assert "statistic" in left.reason


def test_weights_of_another_dtype() -> None:
    text = """
x = Placeholder
half = Const {dtype: float16, value: 0.5, shape: [4, 2]}
w = Cast(half) {SrcT: float16}
y = MatMul(x, w)
"""
    assert left_out(text) == [NotThawed(name="half", reason="it is float16, not float32")]


LOOP = """
zero = Const {value: 0.0, shape: [2, 4]}
limit = Const {value: 3.0}
outside = Const {value: 0.1, shape: [4, 4]}
enter = Enter(zero) {frame_name: "loop"}
invariant = Enter(outside) {frame_name: "loop", is_constant: true}
bound = Enter(limit) {frame_name: "loop", is_constant: true}
merge = Merge(enter, next)
small = Less(merge, bound)
condition = LoopCond(small)
switch = Switch(merge, condition)
body = Identity(switch:1)
inside = Const(^body) {value: 0.1, shape: [4, 4]}
first = MatMul(body, invariant)
second = MatMul(first, inside)
next = NextIteration(second)
exit = Exit(switch)
"""


def test_while_loop() -> None:
    """The loop's invariants are outside of it; only what is made anew in every turn cannot be a variable."""
    constants, left = trainable_constants(Graph(parse(LOOP)))
    assert [node.name for node in constants] == ["outside"]
    assert left == [NotThawed(name="inside", reason="it is inside a conditional or a while loop")]


def test_weights_that_are_variables_are_left_alone() -> None:
    text = """
x = Placeholder
v = VariableV2 {shape: [4, 2]}
mask = Const {value: 1.0, shape: [4, 2]}
w = Mul(v, mask)
y = MatMul(x, w)
"""
    assert found(text) == []


def test_layer_without_its_inputs() -> None:
    with pytest.raises(GraphError, match="wrong-number-of-inputs"):
        trainable_constants(Graph(parse("x = Placeholder\ny = Conv2D(x)")))
    assert found("x = Placeholder\ny = Conv3D(x)") == []
