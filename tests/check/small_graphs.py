"""Small fake-quantized graphs, and what TensorFlow 2.21's converter makes of each: the facts of `check.operations`.

What is expected was measured first, and written down here; the static check follows it. Needs TensorFlow to build.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from fqrewrite.proto import GraphDef

v1 = tf.compat.v1
FULL = (-1.0, 127 / 128)
BIAS = [0.1, 0.2, 0.3, 0.4, 0.5]


class Case(NamedTuple):
    """A graph.

    Attributes:
        name: of the case.
        expected: "integer", "float", "wrong" or "fails".
        build: adds it to the default graph, and returns its output or outputs.
        heavy: whether it is left to the long run, as three graphs of five are.
        target: the route.
    """

    name: str
    expected: str
    build: Callable[[], Any]
    heavy: bool
    target: str


CASES: dict[str, Case] = {}


def made(name: str) -> tuple[Any, list[str], str]:
    """The graph of a case, its outputs, and its target."""
    case = CASES[name]
    with tf.Graph().as_default() as built:
        result = case.build()
    outputs = [output.name for output in (result if isinstance(result, list) else [result])]
    return GraphDef.FromString(built.as_graph_def().SerializeToString()), outputs, case.target


def _add(name: str, expected: str, build: Callable[[], Any], target: str = "int8") -> None:
    assert name not in CASES
    CASES[name] = Case(name, expected, build, len(CASES) % 5 >= 2, f"tflite-{target}")


def fq(x: Any, low: float = FULL[0], high: float = FULL[1], bits: int = 8, narrow: bool = False) -> Any:
    """A fake quantizer."""
    return tf.quantization.fake_quant_with_min_max_vars(x, low, high, num_bits=bits, narrow_range=narrow)


def source(*shape: int | None, name: str = "x") -> Any:
    """A float input."""
    return v1.placeholder(tf.float32, shape or (1, 8, 8, 4), name=name)


def image(low: float = FULL[0], high: float = FULL[1], name: str = "x") -> Any:
    """A quantized input, float32[1, 8, 8, 4]."""
    return fq(source(name=name), low, high)


def constant(*shape: int) -> Any:
    """Random weights in [-0.5, 0.5]."""
    return tf.constant(np.random.default_rng(1).uniform(-0.5, 0.5, shape).astype(np.float32))


def per_tensor(weights: Any, bits: int = 8) -> Any:
    """Weights with one symmetric range."""
    return fq(weights, -0.5, 0.5, bits, True)


def per_channel(weights: Any, bits: int = 8, low: float = -1.0, narrow: bool = True) -> Any:
    """Weights with a range for each channel on the last axis, [low * x, x] with different x."""
    highs = [0.4 + 0.02 * channel for channel in range(weights.shape[-1])]
    return tf.quantization.fake_quant_with_min_max_vars_per_channel(
        weights, [low * high for high in highs], highs, num_bits=bits, narrow_range=narrow
    )


def conv(x: Any, weights: Any = None, channels: int = 5) -> Any:
    """A 3 x 3 convolution; by default with weights quantized per channel."""
    weights = per_channel(constant(3, 3, x.shape[-1], channels)) if weights is None else weights
    return tf.nn.conv2d(x, weights, 1, "SAME")


def depthwise(x: Any, weights: Any) -> Any:
    """A 3 x 3 depthwise convolution."""
    return tf.nn.depthwise_conv2d(x, weights, [1, 1, 1, 1], "SAME")


def transposed(x: Any, weights: Any) -> Any:
    """A transposed convolution by 2."""
    return tf.nn.conv2d_transpose(x, weights, [1, 16, 16, 5], 2)


def pool(x: Any) -> Any:
    """Max pooling by 2."""
    return tf.nn.max_pool2d(x, 2, 2, "VALID")


def rows() -> Any:
    """A quantized input, float32[1, 16]."""
    return fq(source(1, 16))


def two() -> tuple[Any, Any]:
    """Two quantized inputs with different ranges."""
    return image(), image(-2, 2, "y")


# op, its range, and what comes of it: with a quantizer behind it, without one, and with one behind a pooling behind it.
_UNARY: tuple[tuple[str, Callable[[Any], Any], float, float, str], ...] = (
    ("relu", tf.nn.relu, 0, 1, "own"),
    ("relu6", tf.nn.relu6, 0, 6, "own"),
    ("leaky_relu", tf.nn.leaky_relu, -0.2, 1, "own"),
    ("abs", tf.abs, 0, 1, "own"),
    ("exp", tf.exp, 0, 3, "own"),
    ("gelu", tf.nn.gelu, -0.2, 1, "own"),
    ("gelu_tanh", lambda x: tf.nn.gelu(x, approximate=True), -0.2, 1, "own"),
    ("hard_swish", lambda x: x * tf.nn.relu6(x + 3.0) * (1 / 6), -0.4, 1, "own"),
    ("hard_swish_divided", lambda x: x * (tf.nn.relu6(x + 3.0) / 6.0), -0.4, 1, "own"),
    ("leaky_relu_by_maximum", lambda x: tf.maximum(x * 0.2, x), -0.2, 1, "own"),
    ("times_constant", lambda x: x * 2.0, -2, 2, "own"),
    ("plus_constant", lambda x: x + 0.5, -1, 2, "own"),
    ("minus_constant", lambda x: x - 0.5, -2, 1, "own"),
    ("divided_by_constant", lambda x: x / 2.0, -1, 1, "own"),
    ("bias_add", lambda x: tf.nn.bias_add(x, [0.1, 0.2, 0.3, 0.4]), -2, 2, "own"),
    ("power_of_2", lambda x: tf.pow(x, 2.0), 0, 1, "own"),
    ("reverse", lambda x: tf.reverse(x, [1]), *FULL, "own"),
    ("sigmoid", tf.sigmoid, 0, 255 / 256, "passes"),
    ("tanh", tf.tanh, *FULL, "passes"),
    ("softmax", tf.nn.softmax, 0, 255 / 256, "passes"),
    ("log_softmax", tf.nn.log_softmax, -8, 0, "passes"),
    ("l2_normalize", lambda x: tf.nn.l2_normalize(x, -1), -1, 1, "passes"),
    ("reshape", lambda x: tf.reshape(x, [1, 8, 16, 2]), *FULL, "passes"),
    ("transpose", lambda x: tf.transpose(x, [0, 2, 1, 3]), *FULL, "passes"),
    ("pad", lambda x: tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]]), *FULL, "passes"),
    ("pad_with", lambda x: tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], constant_values=0.5), *FULL, "passes"),
    ("mirror_pad", lambda x: tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], "REFLECT"), *FULL, "passes"),
    ("max_pool", pool, *FULL, "passes"),
    ("average_pool", lambda x: tf.nn.avg_pool2d(x, 2, 2, "VALID"), *FULL, "passes"),
    ("strided_slice", lambda x: x[:, 1:7, :6], *FULL, "passes"),
    ("slice", lambda x: tf.slice(x, [0, 1, 1, 0], [1, 6, 6, 4]), *FULL, "passes"),
    ("gather", lambda x: tf.gather(x, [0, 2], axis=2), *FULL, "passes"),
    ("tile", lambda x: tf.tile(x, [1, 2, 1, 1]), *FULL, "passes"),
    ("resize_bilinear", lambda x: v1.image.resize_bilinear(x, [16, 16], half_pixel_centers=True), *FULL, "passes"),
    ("resize_nearest", lambda x: v1.image.resize_nearest_neighbor(x, [16, 16]), *FULL, "passes"),
    ("depth_to_space", lambda x: tf.nn.depth_to_space(x, 2), *FULL, "passes"),
    ("space_to_depth", lambda x: tf.nn.space_to_depth(x, 2), *FULL, "passes"),
    ("space_to_batch", lambda x: tf.space_to_batch(x, [2, 2], [[0, 0], [0, 0]]), *FULL, "passes"),
    ("expand_and_squeeze", lambda x: tf.squeeze(tf.expand_dims(x, 0), 0), *FULL, "passes"),
    ("identity", tf.identity, *FULL, "passes"),
    ("clip", lambda x: tf.clip_by_value(x, -0.5, 0.5), -0.5, 0.5, "passes"),
    ("broadcast", lambda x: tf.broadcast_to(x, [2, 8, 8, 4]), *FULL, "passes"),
    ("top_k", lambda x: tf.math.top_k(x, 2)[0], *FULL, "passes"),
    ("pack", lambda x: tf.reshape(tf.stack([x, x], 3), [1, 8, 8, 8]), *FULL, "passes"),
    ("elu", tf.nn.elu, -1, 1, "float"),
    ("selu", tf.nn.selu, -2, 2, "float"),
    ("softplus", lambda x: tf.raw_ops.Softplus(features=x), 0, 1.5, "float"),
    ("neg", tf.negative, -1, 1, "float"),
    ("floor", tf.floor, -1, 1, "float"),
    ("square", tf.square, 0, 1, "float"),
    ("sin", tf.sin, -1, 1, "float"),
    ("cumsum", lambda x: tf.cumsum(x, 1), -8, 8, "float"),
    ("lrn", tf.nn.lrn, -1, 1, "float"),
    ("sign", tf.sign, -1, 1, "float"),
    ("power_of_3", lambda x: tf.pow(x, 3.0), -1, 1, "float"),
    ("cast_and_back", lambda x: tf.cast(tf.cast(x, tf.int32), tf.float32), -1, 1, "float"),
    (
        "batch_norm_alone",
        lambda x: v1.nn.fused_batch_norm(x, [1.0] * 4, [0.1] * 4, [0.1] * 4, [1.0] * 4, is_training=False)[0],
        -4,
        4,
        "float",
    ),
    ("affine_with_one_quantizer", lambda x: x * tf.constant([1.0, 2.0, 3.0, 4.0]) + 0.1, -5, 5, "float"),
    ("hard_sigmoid_with_one_quantizer", lambda x: tf.nn.relu6(x + 3.0) * (1 / 6), 0, 1, "float"),
)
_PLACEMENTS = {
    "own": ("integer", "float", "integer"),
    "passes": ("integer", "integer", "integer"),
    "float": ("float", "float", "float"),
}


def _placed(op: Callable[[Any], Any], finish: Callable[[Any], Any]) -> Callable[[], Any]:
    return lambda: finish(op(image()))


def _pooled(op: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda x: pool(op(x))


def _unary() -> None:
    for name, op, low, high, kind in _UNARY:
        behind, bare, passed = _PLACEMENTS[kind]
        quantize = partial(fq, low=low, high=high)
        _add(f"{name}: quantizer behind it", behind, _placed(op, quantize))
        _add(f"{name}: none", bare, _placed(op, lambda x: x))
        if kind != "float":
            _add(f"{name}: quantizer behind a pooling", passed, _placed(_pooled(op), quantize))


def _layers() -> None:
    w = constant
    _add("conv", "integer", lambda: fq(conv(image()), -4, 4))
    _add("conv: bias and relu", "integer", lambda: fq(tf.nn.relu(tf.nn.bias_add(conv(image()), BIAS)), 0, 4))
    _add("conv: no range behind it", "float", lambda: conv(image()))
    _add("conv: no range in front", "float", lambda: fq(conv(source()), -4, 4))
    _add("conv: weights not quantized", "integer", lambda: fq(conv(image(), w(3, 3, 4, 5)), -4, 4))
    _add("conv: per tensor", "integer", lambda: fq(conv(image(), per_tensor(w(3, 3, 4, 5))), -4, 4))
    _add("conv: asymmetric weights", "fails", lambda: fq(conv(image(), fq(w(3, 3, 4, 5), -0.4, 0.5)), -4, 4))
    _add("conv: asymmetric channels", "fails", lambda: fq(conv(image(), per_channel(w(3, 3, 4, 5), low=-0.8)), -4, 4))
    _add(
        "conv: symmetric weights, whole grid",
        "integer",
        lambda: fq(conv(image(), per_channel(w(3, 3, 4, 5), narrow=False)), -4, 4),
    )
    for bits, expected in ((3, "wrong"), (4, "integer"), (16, "fails")):
        _add(
            f"conv: weights of {bits} bits",
            expected,
            partial(_weights_of, bits),
        )
    _add("conv: input of 4 bits", "fails", lambda: fq(conv(fq(source(), -1, 1, 4)), -4, 4))
    _add("add: output of 6 bits", "wrong", lambda: (lambda x: fq(x + x, -2, 2, 6))(image()))
    _add("conv: 16-bit activations", "wrong", lambda: fq(conv(fq(source(), -1, 1, 16)), -4, 4, 16))
    _add(
        "conv: quantizer between bias and relu, too",
        "integer",
        lambda: fq(tf.nn.relu(fq(tf.nn.bias_add(conv(image()), BIAS), -4, 4)), 0, 4),
    )
    _add("conv: quantizer in front of the relu only", "float", lambda: tf.nn.relu(fq(conv(image()), -4, 4)))
    _add(
        "conv: quantized bias", "float", lambda: fq(tf.nn.bias_add(conv(image()), fq(tf.constant(BIAS), -1, 1)), -4, 4)
    )
    _add(
        "conv: bias behind a reshape",
        "integer",
        lambda: fq(tf.nn.bias_add(tf.reshape(conv(image()), [1, 64, 5]), BIAS), -4, 4),
    )
    _add("conv: scale and bias", "integer", lambda: fq(conv(image()) * tf.constant(BIAS) + tf.constant(BIAS), -4, 4))
    _add("conv: scalar factor", "float", lambda: fq(conv(image()) * 2.0, -8, 8))
    _add(
        "conv: batch norm",
        "integer",
        lambda: fq(v1.nn.fused_batch_norm(conv(image()), *[BIAS] * 4, is_training=False)[0], -4, 4),
    )
    _add("conv: leaky relu, one quantizer", "float", lambda: fq(tf.nn.leaky_relu(conv(image())), -1, 4))
    _add("conv: leaky relu, two quantizers", "integer", lambda: fq(tf.nn.leaky_relu(fq(conv(image()), -4, 4)), -1, 4))
    _add("conv: sigmoid without a range", "float", lambda: tf.sigmoid(conv(image())))
    _add("conv: sigmoid", "integer", lambda: tf.sigmoid(fq(conv(image()), -4, 4)))
    _add(
        "conv: relu6 by maximum and minimum",
        "integer",
        lambda: fq(tf.minimum(tf.maximum(conv(image()), 0.0), 6.0), 0, 6),
    )
    _add("conv: mean, quantizer behind the mean", "float", lambda: fq(tf.reduce_mean(conv(image()), [1, 2]), -1, 1))
    _add("conv: mean, quantizer in front", "integer", lambda: tf.reduce_mean(fq(conv(image()), -4, 4), [1, 2]))
    _add("conv: sum, quantizer behind the sum", "float", lambda: fq(tf.reduce_sum(conv(image()), [1, 2]), -99, 99))
    _add(
        "conv: range through a chain",
        "integer",
        lambda: fq(tf.reshape(tf.pad(pool(conv(image())), [[0, 0], [1, 1], [1, 1], [0, 0]]), [1, -1]), -4, 4),
    )
    _add(
        "conv: dilated",
        "integer",
        lambda: fq(tf.nn.conv2d(image(), per_channel(w(3, 3, 4, 5)), 1, "SAME", dilations=2), -4, 4),
    )
    _add(
        "conv1d: channels in front of ExpandDims",
        "fails",
        lambda: fq(tf.nn.conv1d(fq(source(1, 16, 4)), per_channel(w(3, 4, 5)), 1, "SAME"), -4, 4),
    )
    _add(
        "conv1d: per tensor",
        "integer",
        lambda: fq(tf.nn.conv1d(fq(source(1, 16, 4)), per_tensor(w(3, 4, 5)), 1, "SAME"), -4, 4),
    )
    _add(
        "conv3d",
        "float",
        lambda: fq(tf.nn.conv3d(fq(source(1, 4, 4, 4, 2)), per_channel(w(3, 3, 3, 2, 5)), [1] * 5, "SAME"), -4, 4),
    )
    _add(
        "depthwise: channels through a reshape",
        "integer",
        lambda: fq(depthwise(image(), tf.reshape(per_channel(w(3, 3, 1, 8)), [3, 3, 4, 2])), -3, 3),
    )
    _add("depthwise: per tensor", "integer", lambda: fq(depthwise(image(), per_tensor(w(3, 3, 4, 1))), -3, 3))
    _add("depthwise: asymmetric weights", "wrong", lambda: fq(depthwise(image(), fq(w(3, 3, 4, 1), -0.4, 0.5)), -3, 3))
    _add("matmul", "integer", lambda: fq(tf.matmul(rows(), per_tensor(w(16, 5))), -4, 4))
    _add(
        "matmul: bias and relu",
        "integer",
        lambda: fq(tf.nn.relu(tf.matmul(rows(), per_tensor(w(16, 5))) + tf.constant(BIAS)), 0, 4),
    )
    _add("matmul: per channel", "fails", lambda: fq(tf.matmul(rows(), per_channel(w(16, 5))), -4, 4))
    _add(
        "matmul: per channel, transposed",
        "wrong",
        lambda: fq(tf.matmul(rows(), per_channel(w(5, 16)), transpose_b=True), -4, 4),
    )
    _add("matmul: asymmetric weights", "integer", lambda: fq(tf.matmul(rows(), fq(w(16, 5), -0.4, 0.5)), -4, 4))
    _add("matmul: no range behind it", "float", lambda: tf.matmul(rows(), per_tensor(w(16, 5))))
    _add(
        "matmul: factor for each channel",
        "float",
        lambda: fq(tf.matmul(rows(), per_tensor(w(16, 5))) * tf.constant(BIAS), -4, 4),
    )
    _add("matmul: of two tensors", "integer", lambda: fq(tf.matmul(rows(), fq(source(16, 5, name="y"))), -4, 4))
    _add(
        "tensordot with bias",
        "integer",
        lambda: fq(tf.nn.bias_add(tf.tensordot(fq(source(2, 4, 16)), per_tensor(w(16, 5)), 1), BIAS), -8, 8),
    )
    _add("batch matmul", "integer", lambda: fq(tf.matmul(*_batches()), -8, 8))
    _add("batch matmul: no range behind it", "float", lambda: tf.matmul(*_batches()))
    _add("batch matmul: relu", "float", lambda: fq(tf.nn.relu(tf.matmul(*_batches())), 0, 8))
    _add("transposed conv", "integer", lambda: fq(transposed(image(), per_tensor(w(3, 3, 5, 4))), -4, 4))
    _add(
        "transposed conv: bias and relu",
        "integer",
        lambda: fq(tf.nn.relu(tf.nn.bias_add(transposed(image(), per_tensor(w(3, 3, 5, 4))), BIAS)), 0, 4),
    )
    _add("transposed conv: per channel", "fails", lambda: fq(transposed(image(), per_channel(w(3, 3, 5, 4))), -4, 4))
    _add("transposed conv: asymmetric", "wrong", lambda: fq(transposed(image(), fq(w(3, 3, 5, 4), -0.4, 0.5)), -4, 4))
    _add("transposed conv: no range behind it", "float", lambda: transposed(image(), per_tensor(w(3, 3, 5, 4))))


def _weights_of(bits: int) -> Any:
    return fq(conv(image(), per_channel(constant(3, 3, 4, 5), bits)), -4, 4)


def _within(low: float, high: float) -> Any:
    return fq(conv(image()), low, high)


def _batches() -> tuple[Any, Any]:
    return fq(source(2, 4, 16)), fq(source(2, 16, 5, name="y"))


def _several() -> None:
    _add("add", "integer", lambda: fq(tf.add(*two()), -3, 3))
    _add("add: no range behind it", "float", lambda: tf.add(*two()))
    _add("add: an input without a range", "float", lambda: fq(image() + source(name="y"), -3, 3))
    _add("add: of two convs without ranges", "float", lambda: fq(conv(image()) + conv(image(name="y")), -4, 4))
    _add("add: relu", "integer", lambda: fq(tf.nn.relu(tf.add(*two())), 0, 3))
    _add("sub", "integer", lambda: fq(tf.subtract(*two()), -3, 3))
    _add("mul: relu6", "integer", lambda: fq(tf.nn.relu6(tf.multiply(*two())), 0, 2))
    _add("mul: no range behind it", "float", lambda: tf.multiply(*two()))
    _add("div", "fails", lambda: fq(tf.divide(image(), fq(tf.exp(image(name="y")), 0, 2.8)), -3, 3))
    _add("div_no_nan", "fails", lambda: fq(tf.math.divide_no_nan(image(), image(name="y")), -3, 3))
    _add("div_no_nan: no range behind it", "float", lambda: tf.math.divide_no_nan(*two()))
    _add("div: no range behind it", "float", lambda: tf.divide(*two()))
    _add("squared difference", "integer", lambda: fq(tf.math.squared_difference(*two()), 0, 9))
    _add("maximum", "integer", lambda: fq(tf.maximum(*two()), -2, 2))
    _add("maximum: the first range is smaller", "wrong", lambda: tf.maximum(*two()))
    _add("maximum: the first range is greater", "integer", lambda: tf.maximum(*two()[::-1]))
    _add("pack: the first range is smaller", "wrong", lambda: tf.stack(two(), 3))
    _add("add_n", "float", lambda: fq(tf.add_n(list(two())), -3, 3))
    _add("concat: one range", "integer", lambda: fq(tf.concat([image(-2, 2), image(-2, 2, "y")], 3), -2, 2))
    _add("concat: other ranges, none behind it", "integer", lambda: tf.concat(two(), 3))
    _add(
        "concat: convs without ranges",
        "integer",
        lambda: fq(tf.concat([conv(image()), conv(image(name="y"))], 3), -4, 4),
    )
    _add("concat: an elu", "float", lambda: fq(tf.concat([tf.nn.elu(image()), image(name="y")], 3), -1, 1))
    _add("select", "integer", lambda: (lambda x, y: fq(tf.where(x > y, x, y), -2, 2))(*two()))
    _add("split", "integer", lambda: [fq(part) for part in tf.split(image(), 2, axis=3)])
    _add(
        "split: no range in front",
        "float",
        lambda: (lambda a, b: fq(a * tf.sigmoid(b), -2, 2))(*tf.split(conv(image(), channels=4), 2, 3)),
    )
    _add(
        "unstack: an output unused, a quantizer behind another",
        "integer",
        lambda: (lambda parts: fq(tf.stack([fq(parts[0]), parts[2]], 1)))(tf.unstack(image(), axis=1)),
    )
    _add(
        "split: an output unused, a quantizer behind another",
        "integer",
        lambda: (lambda parts: fq(parts[0] + fq(parts[2]), -2, 2))(tf.split(image(), 4, 3)),
    )
    _add("conv: bias of equal numbers", "wrong", lambda: fq(tf.nn.bias_add(conv(image()), [2.0] * 5), -4, 4))
    _add("conv: scalar bias", "wrong", lambda: fq(conv(image()) + 2.0, -4, 4))
    _add(
        "conv: two biases, one of equal numbers",
        "integer",
        lambda: fq(tf.nn.relu6(tf.nn.bias_add(conv(image()), BIAS) + 3.0), 0, 6),
    )
    _add(
        "conv: scalar bias, per tensor",
        "integer",
        lambda: fq(conv(image(), per_tensor(constant(3, 3, 4, 5))) + 2.0, -4, 4),
    )
    _add(
        "conv: scalar bias behind a quantizer",
        "integer",
        lambda: fq(tf.nn.relu6(fq(conv(image()), -4, 4) + 3.0), 0, 6),
    )
    _add(
        "transposed conv: scalar bias",
        "fails",
        lambda: fq(transposed(image(), per_tensor(constant(3, 3, 5, 4))) + 2.0, -4, 4),
    )
    _add("matmul: scalar bias", "integer", lambda: fq(tf.matmul(rows(), per_tensor(constant(16, 5))) + 2.0, -4, 4))
    for name, move in _MOVES:
        for behind, expected in (("bias", "float" if name == "expand" else "integer"), ("relu", "integer")):
            _add(f"conv: {name}, {behind} behind it", expected, partial(_moved, move, behind))
    _add("conv: atrous, bias and relu", "integer", partial(_atrous, "VALID"))
    _add("conv: atrous and not VALID", "float", partial(_atrous, "SAME"))
    _add("l2 norm along the last of two axes", "integer", lambda: fq(tf.nn.l2_normalize(rows(), 1)))
    _add("l2 norm along another axis", "float", lambda: fq(tf.nn.l2_normalize(image(), 1)))
    _add("argmax", "integer", lambda: tf.argmax(fq(conv(image()), -4, 4), -1))
    _add("argmax: no range in front", "float", lambda: tf.argmax(conv(image()), -1))
    _add("greater, cast to float", "float", lambda: tf.cast(tf.greater(*two()), tf.float32))
    _add("greater, cast to int", "integer", lambda: tf.cast(tf.greater(image(), 0.5), tf.int32))
    _add("readers: one beside the quantizer", "float", lambda: (lambda y: [fq(y, -4, 4), pool(y)])(conv(image())))
    _add(
        "readers: two quantizers that differ",
        "float",
        lambda: (lambda y: [fq(conv(fq(y, -4, 4)), -8, 8), fq(pool(fq(y, -3, 3)), -3, 3)])(conv(image())),
    )
    _add(
        "readers: the input beside its quantizer",
        "float",
        lambda: (lambda x: [fq(conv(fq(x)), -4, 4), pool(x)])(source()),
    )
    _add(
        "readers: range by way of a pooling",
        "integer",
        lambda: (lambda y: [fq(pool(y), -4, 4), fq(conv(y, channels=3), -8, 8)])(conv(image())),
    )
    _add("readers: output and quantizer", "integer", lambda: (lambda y: [fq(y, -4, 4), y])(conv(image())))
    _add("input: range by way of a pooling", "integer", lambda: fq(conv(fq(pool(source()))), -4, 4))
    _add("prelu", "integer", lambda: _prelu((1, 1, 4)))
    _add("prelu: alpha of rank 1", "float", lambda: _prelu((4,)))
    _add("swish", "integer", lambda: fq(tf.nn.silu(image()), -0.3, 1))
    _add("swish: no range behind it", "float", lambda: tf.nn.silu(image()))
    _add(
        "hard swish: a quantizer inside",
        "float",
        lambda: (lambda x: fq(x * (fq(tf.nn.relu6(x + 3.0), 0, 6) * (1 / 6)), -0.4, 1))(image()),
    )
    _add(
        "hard swish: quantizers everywhere",
        "integer",
        lambda: (lambda x: fq(x * fq(fq(tf.nn.relu6(x + 3.0), 0, 6) * (1 / 6), 0, 1), -0.4, 1))(image()),
    )
    _add(
        "softplus: step by step",
        "integer",
        lambda: fq(tf.math.log(fq(fq(tf.exp(image()), 0, 2.8) + 1.0, 0, 3.8)), 0, 1.5),
    )
    _add("sqrt", "integer", lambda: fq(tf.sqrt(image(0, 1)), 0, 1))
    _add("rsqrt", "integer", lambda: fq(tf.math.rsqrt(fq(tf.exp(image()), 0, 2.8)), 0, 2))
    _add("lstm cell", "integer", _lstm_cell)
    _add(
        "squeeze and excite: no range in the gate",
        "float",
        lambda: (lambda x: fq(x * tf.sigmoid(conv(tf.reduce_mean(x, [1, 2], keepdims=True), channels=4)), -1, 1))(
            image()
        ),
    )
    _add("mean of a tensor that passes its range on", "float", lambda: tf.reduce_mean(tf.sigmoid(image()), [1, 2]))
    _add(
        "dynamic shape",
        "integer",
        lambda: (lambda y: fq(tf.reshape(fq(y, -4, 4), [tf.shape(y)[0], -1]), -4, 4))(conv(fq(source(None, 8, 8, 4)))),
    )


_MOVES: tuple[tuple[str, Callable[[Any], Any]], ...] = (
    ("squeeze", lambda y: tf.squeeze(y, [0])),
    ("reshape", lambda y: tf.reshape(y, [64, 5])),
    ("expand", lambda y: tf.expand_dims(y, 0)),
)


def _moved(move: Callable[[Any], Any], behind: str) -> Any:
    y = move(conv(image()))
    return fq(y + tf.constant(BIAS), -4, 4) if behind == "bias" else fq(tf.nn.relu(y), 0, 4)


def _atrous(padding: str) -> Any:
    x = tf.space_to_batch(image(), [2, 2], [[2, 2], [2, 2]])
    y = tf.nn.conv2d(x, per_channel(constant(3, 3, 4, 5)), 1, padding)
    return fq(tf.nn.relu(tf.nn.bias_add(tf.batch_to_space(y, [2, 2], [[0, 0], [0, 0]]), BIAS)), 0, 4)


def _gate(x: Any) -> Any:
    return tf.nn.relu6(x + 3.0)


def _alpha() -> Any:
    return tf.constant(np.array([0.1, 0.2, 0.3, 0.4], np.float32).reshape(1, 1, 4))


def _square_sum(x: Any) -> Any:
    return tf.reduce_sum(tf.square(x), -1, keepdims=True)


# The converter replaces groups of ops when it recognises them, which depends on their order.
_FORMS: tuple[tuple[str, str, Callable[[Any], Any]], ...] = (
    ("c * (x * r)", "integer", lambda x: (1 / 6) * (x * _gate(x))),
    ("(r * x) * c", "float", lambda x: (_gate(x) * x) * (1 / 6)),
    ("(x * c) * r", "float", lambda x: (x * (1 / 6)) * _gate(x)),
    ("(c * r) * x", "integer", lambda x: ((1 / 6) * _gate(x)) * x),
    ("x * (r * 0.16667)", "float", lambda x: x * (_gate(x) * 0.16667)),
    ("x * (r * [c])", "integer", lambda x: x * (_gate(x) * tf.constant([1 / 6], tf.float32))),
    ("(x * r) * [c]", "float", lambda x: (x * _gate(x)) * tf.constant([1 / 6], tf.float32)),
    ("(x * r) / 6", "integer", lambda x: (x * _gate(x)) / 6.0),
    ("gelu, half first", "integer", lambda x: (x * 0.5) * (tf.math.erf(x * 0.70710678) + 1.0)),
    ("gelu, half last", "fails", lambda x: (x * (1.0 + tf.math.erf(x * 0.70710678))) * 0.5),
    (
        "gelu by tanh without a power",
        "float",
        lambda x: 0.5 * x * (1.0 + tf.tanh(0.79788456 * (x + 0.044715 * x * x * x))),
    ),
    ("max(x, a * x)", "integer", lambda x: tf.maximum(x, x * 0.2)),
    ("prelu, products swapped", "integer", lambda x: tf.nn.relu(x) + tf.nn.relu(-x) * -_alpha()),
    ("prelu, negative side first", "float", lambda x: -_alpha() * tf.nn.relu(-x) + tf.nn.relu(x)),
    ("prelu, subtracted", "float", lambda x: tf.nn.relu(x) - _alpha() * tf.nn.relu(-x)),
    ("l2 norm, swapped", "float", lambda x: tf.math.rsqrt(tf.maximum(_square_sum(x), 1e-6)) * x),
    ("l2 norm with x * x", "float", lambda x: x * tf.math.rsqrt(tf.reduce_sum(x * x, -1, keepdims=True) + 1e-6)),
    ("l2 norm, divided", "integer", lambda x: x / tf.sqrt(_square_sum(x) + 1e-6)),
)


def _prelu(shape: tuple[int, ...]) -> Any:
    x, alpha = image(), np.array([0.1, 0.2, 0.3, 0.4], np.float32).reshape(shape)
    return fq(tf.nn.relu(x) + (-tf.constant(alpha)) * tf.nn.relu(-x), -1, 1)


def _lstm_cell() -> Any:
    gates = fq(image() + image(name="y"), -2, 2)
    new = fq(tf.sigmoid(gates) * fq(tf.tanh(gates)), -1, 1)
    return fq(new + image(name="c"), -2, 2)


def _ranges() -> None:
    for low, high, expected in (
        (-4, np.inf, "fails"),
        (-4, np.nan, "wrong"),
        (1, 1, "wrong"),
        (0, 0, "wrong"),
        (4, -4, "wrong"),
    ):
        _add(f"range [{low}, {high}]", expected, partial(_within, low, high))
    _add("weights: range nan", "fails", lambda: fq(conv(image(), fq(constant(3, 3, 4, 5), np.nan, np.nan)), -4, 4))
    _add("weights: a channel of zeros", "integer", lambda: fq(conv(image(), _zero_channel()), -4, 4))
    _add("activation per channel", "fails", lambda: per_channel(conv(image())))
    _add("variable", "fails", lambda: fq(image() * v1.get_variable("v", [4], use_resource=False), -2, 2))
    _add("resize bicubic", "fails", lambda: fq(v1.image.resize_bicubic(image(), [16, 16])))
    _add("erf", "fails", lambda: fq(tf.math.erf(image()), -1, 1))
    _add("nothing quantized", "float", lambda: conv(source(), constant(3, 3, 4, 5)))


def _zero_channel() -> Any:
    ranges = [0.5, 0.5, 0.5, 0.5, 0.0]
    weights = constant(3, 3, 4, 5) * tf.constant([1.0, 1, 1, 1, 0])
    return tf.quantization.fake_quant_with_min_max_vars_per_channel(
        weights, [-end for end in ranges], ranges, narrow_range=True
    )


def _uint8() -> None:
    _add(
        "uint8: asymmetric weights",
        "integer",
        lambda: fq(conv(image(), fq(_kernel(), -0.4, 0.5)), -4, 4),
        target="uint8",
    )
    _add(
        "uint8: input without a quantizer",
        "integer",
        lambda: fq(conv(source(), fq(_kernel(), -0.5, 0.5)), -4, 4),
        target="uint8",
    )
    _add("uint8: per channel", "fails", lambda: fq(conv(image()), -4, 4), target="uint8")
    _add("uint8: no range behind it", "float", lambda: conv(image(), fq(_kernel(), -0.4, 0.5)), target="uint8")
    _add("uint8: batch matmul", "fails", lambda: fq(tf.matmul(*_batches()), -8, 8), target="uint8")
    _add("uint8: abs", "fails", lambda: fq(tf.abs(image()), 0, 1), target="uint8")
    _add("uint8: squared difference", "fails", lambda: fq(tf.math.squared_difference(*two()), 0, 9), target="uint8")
    _add("uint8: log", "fails", lambda: fq(tf.math.log(fq(tf.exp(image()), 0, 3)), -1, 1), target="uint8")
    _add("uint8: add", "integer", lambda: fq(tf.add(*two()), -3, 3), target="uint8")
    _add(
        "uint8: hard swish",
        "integer",
        lambda: (lambda x: fq(x * tf.nn.relu6(x + 3.0) * (1 / 6), -0.4, 1))(image()),
        target="uint8",
    )


def _kernel() -> Any:
    """Weights of a convolution."""
    return constant(3, 3, 4, 5)


_unary()
_layers()
_several()
_ranges()
_uint8()
