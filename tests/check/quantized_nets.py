"""Small float graphs that the package itself quantizes: preset tflite-int8 on ops and nets up to five layers.

For each: the ops that must stay float, and how far the integer model may be from the fake-quantized graph. Needs
TensorFlow to build.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from fqrewrite.config.resolve import resolve
from fqrewrite.model.container import load
from fqrewrite.plans.ranges import RangeSources
from fqrewrite.verbs.evaluate import evaluate_model
from fqrewrite.verbs.recovery import recover_model

v1 = tf.compat.v1
SHAPE = (1, 8, 8, 4)


class Net(NamedTuple):
    """A float graph.

    Attributes:
        build: from its input, float32[1, 8, 8, 4] with standard normal numbers, to its output or outputs.
        lsb: the greatest difference allowed, in steps of the output.
        left: codes of what stays float.
    """

    build: Callable[[Any], Any]
    lsb: float
    left: frozenset[str]


NETS: dict[str, Net] = {}
_RANDOM = np.random.default_rng(7)


def _add(name: str, build: Callable[[Any], Any], lsb: float = 1, left: str = "") -> None:
    assert name not in NETS
    NETS[name] = Net(build, lsb, frozenset(left.split()))


def made(name: str) -> tuple[Any, list[str], str]:
    """The eval graph of a net, its outputs, and its target."""
    message, outputs, _ = quantized(name)
    return message, outputs, "tflite-int8"


def quantized(name: str) -> tuple[Any, list[str], Any]:
    """The eval graph of a net with ranges from three inputs, its outputs, and its plan."""
    generator = np.random.default_rng(0)
    with tf.Graph().as_default() as graph, TemporaryDirectory() as folder:
        x = v1.placeholder(tf.float32, SHAPE, name="x")
        result = NETS[name].build(x)
        outputs = [value.name for value in (result if isinstance(result, list) else [result])]
        path = Path(folder, "float.pb")
        path.write_bytes(graph.as_graph_def().SerializeToString())
        model, config = load(path), resolve(None, preset="tflite-int8", outputs=outputs)
        found = recover_model(model, config)
        tensors = [item.tensor for item in found.plan.quantizers if item.range.source == "ema"]
        ranges = {}
        with v1.Session() as session:
            values = [session.run(tensors, {x: generator.normal(size=SHAPE)}) for _ in range(3)]
        for number, tensor in enumerate(tensors):
            seen = [batch[number] for batch in values]
            low, high = min(float(v.min()) for v in seen), max(float(v.max()) for v in seen)
            ranges[tensor] = ((min(low, 0.0),), (max(high, 0.0),))
        sources = RangeSources(config=config, file=ranges, file_name="ranges")
        evaluated = evaluate_model(model, found, config, sources, None, freezes=True)
        assert evaluated.rewritten is not None, name
        return model.graph_def, list(evaluated.rewritten.outputs), evaluated.plan


def w(*shape: int) -> Any:
    """Weights that keep the variance (He et al. 2015)."""
    return (_RANDOM.normal(size=shape) * np.sqrt(2 / np.prod(shape[:-1]))).astype(np.float32)


def b(channels: int = 4) -> Any:
    """Biases."""
    return (_RANDOM.normal(size=channels) * 0.1).astype(np.float32)


def conv(x: Any, channels: int = 4, size: int = 3, *, bias: bool = True) -> Any:
    """A convolution."""
    y = tf.nn.conv2d(x, w(size, size, int(x.shape[-1]), channels), 1, "SAME")
    return tf.nn.bias_add(y, b(channels)) if bias else y


def depthwise(x: Any, multiplier: int = 1) -> Any:
    """A depthwise convolution."""
    kernel = _RANDOM.normal(size=(3, 3, int(x.shape[-1]), multiplier)).astype(np.float32) / 3
    return tf.nn.bias_add(tf.nn.depthwise_conv2d(x, kernel, [1, 1, 1, 1], "SAME"), b(4 * multiplier))


def transposed(x: Any) -> Any:
    """A transposed convolution by 2."""
    return tf.nn.bias_add(tf.nn.conv2d_transpose(x, w(3, 3, 5, 4), [1, 16, 16, 5], 2), b(5))


def dense(x: Any, channels: int = 5) -> Any:
    """A fully connected layer on each row."""
    return tf.matmul(tf.reshape(x, [-1, 4]), w(4, channels)) + b(channels)


def norm(x: Any, offset: float | None = None) -> Any:
    """A batch norm for inference; with an offset, that is all that it adds to any channel."""
    scale, mean, beta = (0.5 + np.abs(b())).astype(np.float32), b(), b()
    if offset is not None:
        mean, beta = np.zeros_like(mean), np.full_like(beta, offset)
    return v1.nn.fused_batch_norm(x, scale, beta, mean, scale, is_training=False)[0]


def _single() -> None:
    relu, relu6 = tf.nn.relu, tf.nn.relu6
    alpha = np.full((1, 1, 4), 0.2, np.float32)
    for name, op in {
        "conv": lambda x: conv(x, bias=False),
        "conv with bias": conv,
        "conv, bias, relu": lambda x: relu(conv(x)),
        "conv, bias, relu6": lambda x: relu6(conv(x)),
        "conv, bias, scalar, relu6": lambda x: relu6(conv(x) + 3.0),
        "conv, batch norm": lambda x: norm(conv(x, bias=False)),
        "conv, batch norm of one offset": lambda x: norm(conv(x, bias=False), offset=1.5),
        "batch norm": norm,
        "batch norm of one offset": lambda x: norm(x, offset=-0.5),
        "batch norm, relu": lambda x: relu(norm(x)),
        "conv of one channel, bias": lambda x: conv(x, 1),
        "conv of transposed weights": lambda x: tf.nn.conv2d(x, tf.transpose(w(4, 3, 3, 5), [1, 2, 0, 3]), 1, "SAME"),
        "conv, bias of equal numbers": lambda x: tf.nn.bias_add(conv(x, bias=False), [0.5] * 4),
        "depthwise": lambda x: relu6(depthwise(x)),
        "depthwise by 2": lambda x: depthwise(x, 2),
        "transposed conv": lambda x: relu(transposed(x)),
        "conv1d": lambda x: relu(tf.nn.bias_add(tf.nn.conv1d(x[:, 0], w(3, 4, 4), 1, "SAME"), b())),
        "dilated conv": lambda x: tf.nn.conv2d(x, w(3, 3, 4, 4), 1, "SAME", dilations=2),
        "dense": dense,
        "dense, scalar": lambda x: dense(x) + 0.5,
        "tensordot": lambda x: relu(tf.nn.bias_add(tf.tensordot(x, w(4, 5), 1), b(5))),
        "einsum": lambda x: tf.einsum("abcd,de->abce", x, w(4, 5)),
        "batch matmul": lambda x: tf.matmul(x, x, transpose_b=True),
        "add": lambda x: x + x[:, ::-1],
        "sub": lambda x: x - tf.nn.max_pool2d(x, 3, 1, "SAME"),
        "mul": lambda x: x * tf.nn.max_pool2d(x, 3, 1, "SAME"),
        "add a vector, relu6": lambda x: relu6(x + b()),
        "subtract from one": lambda x: 1.0 - x,
        "divide by a number": lambda x: x / 3.0,
        "square": tf.square,
        "neg": tf.negative,
        "sum of two": lambda x: tf.add_n([x, tf.nn.max_pool2d(x, 3, 1, "SAME")]),
        "squared difference": lambda x: tf.math.squared_difference(x, x[:, ::-1]),
        "relu": relu,
        "relu6": relu6,
        "leaky relu": tf.nn.leaky_relu,
        "max(a * x, x)": lambda x: tf.maximum(x * 0.2, x),
        "prelu": lambda x: relu(x) + -alpha * relu(-x),
        "sigmoid": tf.sigmoid,
        "tanh": tf.tanh,
        "softmax": tf.nn.softmax,
        "log softmax": tf.nn.log_softmax,
        "hard swish": lambda x: x * relu6(x + 3.0) * (1 / 6),
        "hard sigmoid": lambda x: relu6(x + 3.0) * (1 / 6),
        "gelu": tf.nn.gelu,
        "gelu by tanh": lambda x: tf.nn.gelu(x, approximate=True),
        "abs": tf.abs,
        "exp": tf.exp,
        "sum": lambda x: tf.reduce_sum(x, [1, 2]),
        "mean": lambda x: tf.reduce_mean(x, [1, 2]),
        "greatest": lambda x: tf.reduce_max(x, [1, 2]),
        "l2 norm": lambda x: tf.nn.l2_normalize(x, -1),
        "concat": lambda x: tf.concat([x, relu(x)], 3),
        "stack": lambda x: tf.stack([x, tf.nn.max_pool2d(x, 3, 1, "SAME")], 1),
        "maximum": lambda x: tf.maximum(x, x[:, ::-1]),
        "clip": lambda x: tf.clip_by_value(x, -1.0, 1.0),
        "select": lambda x: tf.where(x > 0, x, x[:, ::-1]),
        "average pool": lambda x: tf.nn.avg_pool2d(x, 3, 1, "SAME"),
        "bilinear": lambda x: v1.image.resize_bilinear(x, [16, 16], half_pixel_centers=True),
        "nearest": lambda x: v1.image.resize_nearest_neighbor(x, [16, 16]),
        "pad": lambda x: tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]]),
        "transpose": lambda x: tf.transpose(x, [0, 3, 1, 2]),
        "depth to space": lambda x: tf.nn.depth_to_space(x, 2),
        "tile": lambda x: tf.tile(x, [1, 1, 2, 1]),
        "gather": lambda x: tf.gather(x, [0, 2], axis=3),
        "reverse": lambda x: tf.reverse(x, [2]),
    }.items():
        _add(name, op)


# The step of the output is much smaller than that of what goes into these, and one step of rounding there, which
# every integer kernel may be off by, is several behind them: up to scale of the input * slope / scale of the output.
_STEEP = 4.0


def _nets() -> None:
    relu, relu6 = tf.nn.relu, tf.nn.relu6
    for name, net, lsb in (
        ("residual", lambda x: relu(conv(x) + x), 2),
        ("two convs", lambda x: relu(conv(relu(conv(x)))), 2),
        ("separable", lambda x: relu6(norm(conv(depthwise(x), size=1, bias=False))), 2),
        ("five convs", lambda x: conv(relu(conv(relu(conv(relu(conv(relu(conv(x))))))))), 2),
        ("conv, relu, batch norm, conv", lambda x: conv(norm(relu(conv(x)))), 2),
        ("conv, leaky relu", lambda x: tf.nn.leaky_relu(conv(x)), 2),
        ("conv, prelu by pieces", lambda x: (lambda y: relu(y) - np.full(4, 0.2, "f") * relu(-y))(conv(x)), 2),
        ("conv, max pool, dense", lambda x: dense(tf.nn.max_pool2d(relu(conv(x)), 2, 2, "SAME")), 2),
        ("conv, mean, dense", lambda x: dense(tf.reduce_mean(relu(conv(x)), [1, 2])), 2),
        ("resize and conv", lambda x: conv(v1.image.resize_bilinear(relu(conv(x)), [16, 16])), 2),
        ("concat of convs", lambda x: conv(tf.concat([relu(conv(x)), x], 3)), 2),
        ("shuffle", lambda x: tf.reshape(tf.transpose(tf.reshape(conv(x), [1, 64, 2, 2]), [0, 1, 3, 2]), SHAPE) + x, 2),
        ("split, one part unused", lambda x: (lambda p: p[0] * p[2])(tf.split(conv(x), 4, 3)), 2),
        ("unstack, most parts unused", lambda x: (lambda p: p[0] + p[5])(tf.unstack(conv(x), axis=1)), 2),
        ("groups", lambda x: relu(tf.concat([conv(part) for part in tf.split(x, 2, 3)], 3)), 2),
        ("atrous", lambda x: relu(_atrous(x)), 2),
        ("layer norm", lambda x: _layer_norm(conv(x)), _STEEP),
        ("conv, hard swish", lambda x: (lambda y: y * relu6(y + 3.0) * (1 / 6))(conv(x)), 2),
        ("conv, hard sigmoid", lambda x: relu6(conv(x) + 3.0) / 6.0, 2),
        ("conv, swish", lambda x: tf.nn.silu(conv(x)), 2),
        ("conv, gelu", lambda x: tf.nn.gelu(conv(x)), 2),
        ("conv, sigmoid", lambda x: tf.sigmoid(conv(x)), _STEEP),
        ("conv, tanh", lambda x: tf.tanh(conv(x)), _STEEP),
        ("conv, softmax", lambda x: tf.nn.softmax(conv(x)), _STEEP),
        ("conv, l2 norm", lambda x: tf.nn.l2_normalize(conv(x), -1), _STEEP),
        ("squeeze and excite", lambda x: _excited(relu6(conv(x))), 2),
        ("attention", lambda x: _attention(tf.reshape(conv(x), [1, 64, 4])), 2),
        ("lstm cells", lambda x: _lstm(x[:, :2, 0]), 2),
        ("two heads", lambda x: (lambda y: [conv(y, 3), relu(conv(y))])(relu(conv(x))), 2),
        ("an output that is read on", lambda x: (lambda y: [y, conv(y)])(relu6(conv(x))), 2),
    ):
        _add(name, net, lsb)


def _floats() -> None:
    for name, op in {
        "elu": tf.nn.elu,
        "softplus": lambda x: tf.raw_ops.Softplus(features=x),
        "sin": tf.sin,
        "cumsum": lambda x: tf.cumsum(x, 1),
        "lrn": tf.nn.lrn,
        "sum of three": lambda x: tf.add_n([x, x[:, ::-1], conv(x)]),
        "cube": lambda x: tf.pow(x, 3.0),
    }.items():
        _add(f"float: {name}", _in_front_of_a_conv(op), 1e9, "float-in-runtime")
    _add(
        "float: quotient",
        lambda x: conv(relu_of(x / (tf.abs(x) + 1.0))),
        1e9,
        "float-in-runtime operand-stays-float",
    )


def _in_front_of_a_conv(op: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda x: conv(relu_of(op(x)))


def relu_of(x: Any) -> Any:
    """Keeps ranges finite behind anything."""
    return tf.nn.relu(x)


def _atrous(x: Any) -> Any:
    y = tf.nn.conv2d(tf.space_to_batch(x, [2, 2], [[2, 2], [2, 2]]), w(3, 3, 4, 4), 1, "VALID")
    return tf.nn.bias_add(tf.batch_to_space(y, [2, 2], [[0, 0], [0, 0]]), b())


def _layer_norm(x: Any) -> Any:
    mean, variance = tf.nn.moments(x, [3], keepdims=True)
    return (x - mean) * tf.math.rsqrt(variance + 1e-1)


def _excited(x: Any) -> Any:
    gate = tf.nn.relu(conv(tf.reduce_mean(x, [1, 2], keepdims=True), 2, 1))
    return x * tf.sigmoid(conv(gate, 4, 1))


def _attention(x: Any) -> Any:
    return tf.matmul(tf.nn.softmax(tf.matmul(x, x, transpose_b=True) * 0.5), x)


def _lstm(x: Any) -> Any:
    output, cell, kernel, bias = tf.zeros([1, 4]), tf.zeros([1, 4]), w(8, 16), b(16)
    for step in range(2):
        gates = tf.nn.bias_add(tf.matmul(tf.concat([x[:, step], output], 1), kernel), bias)
        i, j, f, o = tf.split(gates, 4, 1)
        cell = cell * tf.sigmoid(f) + tf.sigmoid(i) * tf.tanh(j)
        output = tf.sigmoid(o) * tf.tanh(cell)
    return output


_single()
_nets()
_floats()
