"""Small networks that a placeholder switches between training and inference, as TensorFlow 1.15 makes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from graphs import EPSILON, MOMENTUM, layer, variable
from numeric import tf1

SHAPE = (4, 6, 6, 3)
PHASE = "is_training"


class Switched(NamedTuple):
    """A serialized MetaGraphDef: ``input:0`` and ``labels:0`` to ``output:0`` and ``loss:0``.

    Attributes:
        phase: what to feed for training, and for inference.
    """

    meta: bytes
    phase: tuple[dict[str, Any], dict[str, Any]]

    def feed(self, *, training: bool) -> dict[str, Any]:
        """The same random batch whenever it is called."""
        return {**self.data(), **self.phase[0 if training else 1]}

    def data(self) -> dict[str, Any]:
        """The batch without the phase."""
        random = np.random.RandomState(1)
        batch = random.normal(0.3, 1.0, SHAPE).astype(np.float32)
        return {"input:0": batch, "labels:0": np.array([0, 1, 2, 0], np.int32)}


def fused(y: Any, training: Any) -> Any:
    """As `tf.layers.batch_normalization` with a tensor: conditionals on the result and on each statistic."""
    gamma, beta, mean, variance = _parameters(y)

    def norm(is_training: bool) -> Any:
        stored = (None, None) if is_training else (mean, variance)
        return tf1.nn.fused_batch_norm(y, gamma, beta, *stored, EPSILON, is_training=is_training)

    result, batch_mean, batch_variance = tf1.cond(training, lambda: norm(True), lambda: norm(False))
    momentum = tf1.cond(training, lambda: MOMENTUM, lambda: 1.0)
    for moving, value in ((mean, batch_mean), (variance, batch_variance)):
        _update(tf1.assign_sub(moving, (moving - value) * (1.0 - momentum)))
    return result


def unfused(y: Any, training: Any) -> Any:
    """As `tf.layers.batch_normalization` with `fused=False`: conditionals on the moments, updates in others."""
    gamma, beta, mean, variance = _parameters(y)
    moments = tf1.nn.moments(y, [0, 1, 2])
    used = []
    for moving, value in zip((mean, variance), moments, strict=True):
        used.append(tf1.cond(training, lambda value=value: value, lambda moving=moving: tf1.identity(moving)))
        _update(
            tf1.cond(
                training,
                lambda moving=moving, value=value: tf1.assign_sub(moving, (moving - value) * (1.0 - MOMENTUM)),
                lambda moving=moving: tf1.identity(moving),
            )
        )
    return tf1.nn.batch_normalization(y, *used, beta, gamma, EPSILON)


def selected(y: Any, training: Any) -> Any:
    """By hand, with `tf.where` on scalars, the updates forced."""
    gamma, beta, mean, variance = _parameters(y)
    moments = tf1.nn.moments(y, [0, 1, 2])
    updates, used = [], []
    for moving, value in zip((mean, variance), moments, strict=True):
        used.append(tf1.where_v2(training, value, moving))
        new = tf1.where_v2(training, moving * MOMENTUM + value * (1.0 - MOMENTUM), moving)
        updates.append(tf1.assign(moving, new))
    with tf1.control_dependencies(updates):
        return tf1.nn.batch_normalization(y, *used, beta, gamma, EPSILON)


def whole(y: Any, training: Any) -> Any:
    """Everything twice, on both sides of one conditional."""
    gamma, beta, mean, variance = _parameters(y)
    weights = variable("inner", (3, 3, int(y.shape[-1]), 4), tf1.control_flow_v2_enabled())

    def net(is_training: bool) -> Any:
        stored = (None, None) if is_training else (mean, variance)
        normed, batch_mean, batch_variance = tf1.nn.fused_batch_norm(
            y, gamma, beta, *stored, EPSILON, is_training=is_training
        )
        updates = []
        if is_training:
            for moving, value in ((mean, batch_mean), (variance, batch_variance)):
                updates.append(tf1.assign_sub(moving, (moving - value) * (1.0 - MOMENTUM)))
        with tf1.control_dependencies(updates):
            normed = tf1.nn.relu(normed)
        result = tf1.nn.conv2d(normed, weights, 1, "SAME")
        return _dropout(result) if is_training else result

    return tf1.cond(training, lambda: net(True), lambda: net(False))


def dropout(y: Any, training: Any) -> Any:
    """No batch norm."""
    return tf1.cond(training, lambda: _dropout(y), lambda: tf1.identity(y))


def nested(y: Any, training: Any) -> Any:
    """A dropout in the branch of a conditional on something else, which is in every feed."""
    scaled = tf1.placeholder(tf1.bool, [], name="scaled")
    return tf1.cond(scaled, lambda: dropout(y, training) * 2.0, lambda: y)


def looped(y: Any, training: Any) -> Any:
    """A dropout in a while loop of three steps."""
    weights = variable("recurrent", (1, 1, int(y.shape[-1]), int(y.shape[-1])), tf1.control_flow_v2_enabled())

    def step(count: Any, state: Any) -> tuple[Any, Any]:
        return count + 1, dropout(tf1.nn.relu(tf1.nn.conv2d(state, weights, 1, "SAME")), training)

    return tf1.while_loop(lambda count, _: count < 3, step, (0, y))[1]


Body = Callable[[Any, Any], Any]
BODIES: dict[str, Body] = {body.__name__: body for body in (fused, unfused, selected, whole, dropout, nested, looped)}


def switched(body: Body, *, form: str = "bool", v2: bool = False) -> Switched:
    """conv -> body -> relu -> dense -> output, and a cross entropy with labels.

    Args:
        body: what depends on the phase.
        form: of the placeholder: "bool", "default", "inverted" or "int".
        v2: whether conditionals and loops are calls of functions, and variables resources.
    """
    graph = tf1.Graph()
    with graph.as_default(), _control_flow(v2):
        tf1.set_random_seed(1)
        x = tf1.placeholder(tf1.float32, SHAPE, name="input")
        labels = tf1.placeholder(tf1.int32, SHAPE[:1], name="labels")
        training = _phase(form)
        with tf1.variable_scope("first"):
            y = layer("conv", x, 4, v2)
            y = tf1.nn.relu(body(y, training), name="Relu")
        with tf1.variable_scope("logits"):
            weights = variable("weights", (SHAPE[1] * SHAPE[2] * 4, 3), v2)
            y = tf1.matmul(tf1.reshape(y, [SHAPE[0], -1]), weights, name="MatMul")
            y = tf1.nn.bias_add(y, variable("biases", (3,), v2), name="BiasAdd")
        output = tf1.identity(y, name="output")
        cross_entropy = tf1.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=output)
        tf1.losses.add_loss(tf1.reduce_mean(cross_entropy, name="loss"))
        meta = tf1.train.export_meta_graph(graph=graph)
    fed: tuple[Any, Any] = {"inverted": (False, True), "int": (1, 0)}.get(form, (True, False))
    also = {"first/scaled:0": True} if body is nested else {}
    on, off = ({f"{PHASE}:0": value, **also} for value in fed)
    return Switched(meta.SerializeToString(), (on, off))


def _phase(form: str) -> Any:
    if form == "default":
        return tf1.placeholder_with_default(False, [], name=PHASE)
    if form == "int":
        return tf1.equal(tf1.placeholder(tf1.int32, [], name=PHASE), 1)
    training = tf1.placeholder(tf1.bool, [], name=PHASE)
    return tf1.logical_not(training) if form == "inverted" else training


@contextmanager
def _control_flow(v2: bool) -> Iterator[None]:
    if not v2:
        yield
        return
    tf1.enable_control_flow_v2()
    try:
        yield
    finally:
        tf1.disable_control_flow_v2()


def _parameters(y: Any) -> list[Any]:
    channels, resource = (int(y.shape[-1]),), tf1.control_flow_v2_enabled()
    return [
        variable("gamma", channels, resource, value=1.0),
        variable("beta", channels, resource),
        variable("moving_mean", channels, resource, trainable=False, value=0.0),
        variable("moving_variance", channels, resource, trainable=False, value=1.0),
    ]


def _update(update: Any) -> None:
    tf1.add_to_collection(tf1.GraphKeys.UPDATE_OPS, update)


def _dropout(y: Any) -> Any:
    return tf1.nn.dropout(y, rate=0.4, seed=3)
