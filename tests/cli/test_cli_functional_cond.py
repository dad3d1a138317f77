"""A model whose batch norm is switched by functional conditionals, from training to the frozen eval graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from command_line import run_in
from numeric import deviation, quantizers_out, session_config, tf1

X = np.random.RandomState(0).normal(0.0, 1.0, (4, 6, 6, 3)).astype(np.float32)


def build() -> None:
    """conv, batch norm in an If, relu; its moving averages are updated by UPDATE_OPS, in a conditional again."""
    x, training = tf1.placeholder(tf.float32, [None, 6, 6, 3], "x"), tf1.placeholder_with_default(False, [], "training")
    y = tf.nn.conv2d(x, tf1.get_variable("w", [3, 3, 3, 4]), 1, "SAME")
    gamma, beta = tf1.get_variable("gamma", [4]), tf1.get_variable("beta", [4])
    mean = tf1.get_variable("moving_mean", [4], trainable=False, initializer=tf1.zeros_initializer())
    variance = tf1.get_variable("moving_variance", [4], trainable=False, initializer=tf1.ones_initializer())

    def batch() -> tuple[Any, ...]:
        return tuple(tf1.nn.fused_batch_norm(y, gamma, beta, is_training=True))

    def moving() -> tuple[Any, ...]:
        normed, *_ = tf1.nn.fused_batch_norm(y, gamma, beta, mean, variance, is_training=False)
        return normed, tf.identity(mean), tf.identity(variance)

    normed, batch_mean, batch_variance = tf.cond(training, batch, moving)
    for average, statistic in ((mean, batch_mean), (variance, batch_variance)):
        rate = tf.cond(training, lambda: 0.1, lambda: 0.0)
        tf1.add_to_collection(tf1.GraphKeys.UPDATE_OPS, tf1.assign_sub(average, (average - statistic) * rate))
    tf1.losses.mean_squared_error(tf.ones([4, 4]), tf.reduce_mean(tf.nn.relu(normed, "y"), [1, 2]))


@pytest.fixture
def control_flow_v2() -> Any:
    tf1.enable_control_flow_v2()
    yield
    tf1.disable_control_flow_v2()


@pytest.mark.usefixtures("control_flow_v2")
def test_trained_and_evaluated(tmp_path: Path) -> None:
    with tf.Graph().as_default() as source:
        build()
        with tf1.Session(config=session_config()) as session:
            session.run(tf1.global_variables_initializer())
            tf1.train.Saver().save(session, str(tmp_path / "float"))
    assert any(node.type == "If" for node in source.get_operations())
    done = run_in(tmp_path, "train", "float.meta", "--outputs", "y:0", "-o", "train.meta")
    assert done.status == 0, done.err
    done = run_in(tmp_path, "warm-start", "float", "train.meta", "-o", "warm")
    assert done.status == 0, done.err

    with tf.Graph().as_default() as training:
        saver = tf1.train.import_meta_graph(str(tmp_path / "train.meta"))
        assert not any(node.type in ("If", "StatelessIf") for node in training.get_operations())
        with tf1.control_dependencies(tf1.get_collection(tf1.GraphKeys.UPDATE_OPS)):
            step = tf1.train.GradientDescentOptimizer(0.1).minimize(tf1.losses.get_total_loss())
        with tf1.Session(config=session_config()) as session:
            saver.restore(session, str(tmp_path / "warm"))
            for _ in range(3):
                session.run(step, {"x:0": X})
            trained = {v.op.name: session.run(v) for v in tf1.global_variables()}
            tf1.train.Saver().save(session, str(tmp_path / "ckpt"))
    assert (trained["moving_mean"] != 0).all()

    done = run_in(tmp_path, "eval", "ckpt", "-o", "eval.meta")
    assert done.status == 0, done.err
    with source.as_default(), tf1.Session(config=session_config()) as session:
        session.run(tf1.global_variables_initializer())
        for variable in tf1.global_variables():
            variable.load(trained[variable.op.name], session)
        want = session.run("y:0", {"x:0": X})
    frozen = quantizers_out(tf1.MetaGraphDef.FromString((tmp_path / "eval.meta").read_bytes()))
    assert not {node.op for node in frozen.graph_def.node} & {"If", "StatelessIf", "VarHandleOp", "VariableV2"}
    with tf.Graph().as_default(), tf1.Session(config=session_config()) as session:
        tf1.import_graph_def(frozen.graph_def, name="")
        assert deviation(session.run("y:0", {"x:0": X}), want) < 1e-5
