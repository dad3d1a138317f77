"""Small networks, built with TensorFlow, to rewrite in tests."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from numeric import tf1

Kind = Literal[
    "conv",
    "conv_dilated",
    "conv_explicit_padding",
    "depthwise",
    "matmul",
    "matmul_transposed",
    "atrous",
    "conv_nchw",
]
KINDS: tuple[Kind, ...] = (
    "conv",
    "conv_dilated",
    "conv_explicit_padding",
    "depthwise",
    "matmul",
    "matmul_transposed",
    "atrous",
)
MOMENTUM = 0.9
EPSILON = 1e-3


class Net(NamedTuple):
    """A serialized MetaGraphDef: ``input:0`` to ``output:0`` and ``loss:0``, and its update ops.

    Attributes:
        differentiable: whether the CPU has the kernels for its gradients; not those of dilated convolutions.
    """

    meta: bytes
    updates: tuple[str, ...]
    input_shape: tuple[int, ...]
    differentiable: bool = True

    @property
    def graph_def(self) -> bytes:
        """The GraphDef alone."""
        return bytes(tf1.MetaGraphDef.FromString(self.meta).graph_def.SerializeToString())

    def feeds(self, steps: int) -> list[dict[str, Any]]:
        """The same random batches whenever it is called."""
        random = np.random.RandomState(1)
        return [{"input:0": random.normal(0.3, 1.0, self.input_shape).astype(np.float32)} for _ in range(steps)]


def variable(name: str, shape: tuple[int, ...], resource: bool, *, trainable: bool = True, value: float = 0.1) -> Any:
    """A variable and nothing but the variable: its reading is made where it is used."""
    start = (
        tf1.constant_initializer(value) if not trainable or len(shape) < 2 else tf1.glorot_uniform_initializer(seed=3)
    )
    return tf1.get_variable(name, shape, initializer=start, trainable=trainable, use_resource=resource)


def layer(kind: Kind, x: Any, channels: int, resource: bool) -> Any:
    """A layer op in the current variable scope, on float32[N, H, W, C] (float32[N, C] for a matmul)."""
    last = 1 if kind == "conv_nchw" else -1
    inputs = int(x.shape[last])
    if kind == "depthwise":
        weights = variable("weights", (3, 3, inputs, 2), resource)
        return tf1.nn.depthwise_conv2d_native(x, weights, strides=[1, 2, 2, 1], padding="SAME", name="depthwise")
    if kind == "matmul":
        return tf1.matmul(x, variable("weights", (inputs, channels), resource), name="MatMul")
    if kind == "matmul_transposed":
        weights = variable("weights", (channels, inputs), resource)
        return tf1.matmul(x, weights, transpose_b=True, name="MatMul")
    weights = variable("weights", (3, 3, inputs, channels), resource)
    if kind == "atrous":
        spread = tf1.space_to_batch_nd(x, [2, 2], [[2, 2], [2, 2]])
        y = tf1.nn.conv2d(spread, weights, strides=1, padding="VALID", name="Conv2D")
        return tf1.batch_to_space_nd(y, [2, 2], [[0, 0], [0, 0]])
    if kind == "conv_dilated":
        return tf1.nn.conv2d(x, weights, strides=1, padding="SAME", dilations=2, name="Conv2D")
    if kind == "conv_explicit_padding":
        padding = [[0, 0], [2, 1], [0, 3], [0, 0]]
        return tf1.nn.conv2d(x, weights, strides=2, padding=padding, name="Conv2D")
    data_format = "NCHW" if kind == "conv_nchw" else "NHWC"
    return tf1.nn.conv2d(x, weights, strides=1, padding="SAME", data_format=data_format, name="Conv2D")


def batch_norm(
    y: Any,
    resource: bool,
    *,
    fused: bool,
    training: bool,
    gamma: bool = True,
    beta: bool = True,
    keep_dims: bool = False,
    assign: bool = False,
    data_format: str = "NHWC",
) -> Any:
    """A batch norm in the current variable scope; its updates (AssignSub, or Assign) go into UPDATE_OPS."""
    channels = int(y.shape[1] if data_format == "NCHW" else y.shape[-1])
    scale = variable("gamma", (channels,), resource, value=1.0) if gamma else None
    shift = variable("beta", (channels,), resource) if beta else None
    rank = len(y.shape)
    shape = (1,) * (rank - 1) + (channels,) if keep_dims else (channels,)
    mean = variable("moving_mean", shape, resource, trainable=False, value=0.0)
    variance = variable("moving_variance", shape, resource, trainable=False, value=1.0)
    if fused:
        x = tf1.reshape(y, [-1, 1, 1, channels]) if rank == 2 else y
        normed, batch_mean, batch_variance = tf1.nn.fused_batch_norm(
            x,
            tf1.ones([channels]) if scale is None else scale,
            tf1.zeros([channels]) if shift is None else shift,
            None if training else mean,
            None if training else variance,
            EPSILON,
            is_training=training,
            data_format=data_format,
        )
        normed = tf1.reshape(normed, [-1, channels]) if rank == 2 else normed
    else:
        batch_mean, batch_variance = tf1.nn.moments(y, list(range(rank - 1)), keepdims=keep_dims)
        used = (batch_mean, batch_variance) if training else (mean, variance)
        normed = tf1.nn.batch_normalization(y, *used, shift, scale, EPSILON)
    if training:
        for moving, value in ((mean, batch_mean), (variance, batch_variance)):
            if assign:
                update = tf1.assign(moving, moving * MOMENTUM + value * (1.0 - MOMENTUM))
            else:
                update = tf1.assign_sub(moving, (moving - value) * (1.0 - MOMENTUM))
            tf1.add_to_collection(tf1.GraphKeys.UPDATE_OPS, update)
    return normed


def one_layer(
    kind: Kind = "conv",
    *,
    norm: Literal["none", "fused", "unfused"] = "none",
    training: bool = True,
    resource: bool = False,
    bias: bool = False,
    gamma: bool = True,
    beta: bool = True,
    keep_dims: bool = False,
    assign: bool = False,
    activation: Literal["relu", "none"] = "relu",
    force_updates: bool = False,
) -> Net:
    """input -> layer [-> bias] [-> batch norm] [-> relu] -> output, in the scope ``net/layer``."""
    data_format = "NCHW" if kind == "conv_nchw" else "NHWC"
    shape = (6, 5) if kind.startswith("matmul") else (2, 3, 8, 8) if kind == "conv_nchw" else (2, 8, 8, 3)
    graph = tf1.Graph()
    with graph.as_default():
        tf1.set_random_seed(1)
        x = tf1.placeholder(tf1.float32, shape, name="input")
        with tf1.variable_scope("net"), tf1.variable_scope("layer"):
            y = layer(kind, x, 4, resource)
            if bias:
                y = tf1.nn.bias_add(y, variable("biases", (int(y.shape[-1]),), resource), name="BiasAdd")
            if norm != "none":
                with tf1.variable_scope("BatchNorm"):
                    y = batch_norm(
                        y,
                        resource,
                        fused=norm == "fused",
                        training=training,
                        gamma=gamma,
                        beta=beta,
                        keep_dims=keep_dims,
                        assign=assign,
                        data_format=data_format,
                    )
            if activation == "relu":
                y = tf1.nn.relu(y, name="Relu")
        updates = tf1.get_collection(tf1.GraphKeys.UPDATE_OPS)
        with tf1.control_dependencies(updates if force_updates else []):
            output = tf1.identity(y, name="output")
        return _finish(graph, output, updates, shape)._replace(differentiable=kind != "conv_dilated")


def two_layers(*, resource: bool, training: bool = True) -> Net:
    """conv, fused batch norm, relu; depthwise, unfused batch norm, relu; mean; matmul, bias."""
    shape = (4, 8, 8, 3)
    graph = tf1.Graph()
    with graph.as_default():
        tf1.set_random_seed(1)
        y = tf1.placeholder(tf1.float32, shape, name="input")
        for scope, kind, fused in (("conv", "conv", True), ("dw", "depthwise", False)):
            with tf1.variable_scope(scope):
                y = layer("conv" if kind == "conv" else "depthwise", y, 4, resource)
                with tf1.variable_scope("BatchNorm"):
                    y = batch_norm(y, resource, fused=fused, training=training)
                y = tf1.nn.relu(y, name="Relu")
        y = tf1.reduce_mean(y, [1, 2])
        with tf1.variable_scope("logits"):
            y = layer("matmul", y, 3, resource)
            y = tf1.nn.bias_add(y, variable("biases", (3,), resource), name="BiasAdd")
        output = tf1.identity(y, name="output")
        return _finish(graph, output, tf1.get_collection(tf1.GraphKeys.UPDATE_OPS), shape)


def _finish(graph: Any, output: Any, updates: list[Any], shape: tuple[int, ...]) -> Net:
    target = np.random.RandomState(7).normal(0.5, 1.0, output.shape.as_list()).astype(np.float32)
    tf1.reduce_mean(tf1.squared_difference(output, target), name="loss")
    tf1.add_to_collection("outputs", output)
    meta = tf1.train.export_meta_graph(graph=graph)
    return Net(meta.SerializeToString(), tuple(update.op.name for update in updates), shape)
