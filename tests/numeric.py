"""Runs graphs in TensorFlow, for tests that compare numbers.

Everything is deterministic: one thread, no graph optimiser, no oneDNN (its kernels crash on some graphs and
shift numbers on others). Import this module, not TensorFlow: it has to set the environment first.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import zlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

tf1 = tf.compat.v1
tf1.disable_eager_execution()
tf1.disable_control_flow_v2()  # gradients of imported while loops need the TensorArrays of v1
tf1.logging.set_verbosity(tf1.logging.ERROR)

Arrays = dict[str, Any]
FAKE_QUANTS = ("FakeQuantWithMinMaxVars", "FakeQuantWithMinMaxVarsPerChannel")
RTOL_EVAL = 1e-5
RTOL_TRAIN = 1e-4


class Step(NamedTuple):
    """What one run gave.

    Attributes:
        values: fetched tensors by name.
        variables: all variables after the run, by name.
        gradients: d loss / d trainable variable before the first step, by the variable's name; else empty.
    """

    values: Arrays
    variables: Arrays
    gradients: Arrays


def session_config() -> Any:
    """One thread, and the graph as it is: what runs is what was written."""
    config = tf1.ConfigProto(inter_op_parallelism_threads=1, intra_op_parallelism_threads=1)
    config.graph_options.optimizer_options.opt_level = -1
    config.graph_options.rewrite_options.disable_meta_optimizer = True
    return config


def parse(serialized: bytes) -> Any:
    """TensorFlow's own MetaGraphDef of the bytes of one."""
    return tf1.MetaGraphDef.FromString(serialized)


def quantizers_out(meta: Any) -> Any:
    """A copy whose fake quants hand their input on, but still wait for their ranges to be updated."""
    copy = tf1.MetaGraphDef.FromString(meta.SerializeToString())
    for node in copy.graph_def.node:
        if node.op in FAKE_QUANTS:
            tensor, *ranges = node.input
            waits = dict.fromkeys("^" + name.lstrip("^").split(":")[0] for name in ranges)
            node.op = "Identity"
            del node.input[:]
            node.input.extend([tensor, *waits])
            node.attr.clear()
            node.attr["T"].type = tf.float32.as_datatype_enum
    return copy


def channels_last(meta: Any) -> Any:
    """A copy whose NCHW ops run as NHWC between transposes: the CPU has no kernels for NCHW convolutions."""
    copy = tf1.MetaGraphDef.FromString(meta.SerializeToString())
    added = []

    def transposed(tensor: str, name: str, order: Sequence[int]) -> str:
        axes = tf1.NodeDef(name=f"{name}/axes", op="Const")
        axes.attr["dtype"].type = tf.int32.as_datatype_enum
        axes.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(list(order), tf.int32))
        move = tf1.NodeDef(name=name, op="Transpose", input=[tensor, axes.name])
        move.attr["T"].type = tf.float32.as_datatype_enum
        move.attr["Tperm"].type = tf.int32.as_datatype_enum
        added.extend([axes, move])
        return name

    moved = {}
    for node in copy.graph_def.node:
        if node.op == "BiasAdd" or "data_format" not in node.attr or node.attr["data_format"].s != b"NCHW":
            continue
        node.attr["data_format"].s = b"NHWC"
        for key in ("strides", "ksize", "dilations"):
            if key in node.attr:
                n, c, h, w = node.attr[key].list.i
                node.attr[key].list.i[:] = [n, h, w, c]
        node.input[0] = transposed(node.input[0], f"{node.name}/nhwc", (0, 2, 3, 1))
        moved[node.name] = transposed(node.name, f"{node.name}/nchw", (0, 3, 1, 2))
    for node in copy.graph_def.node:
        node.attr.pop("_output_shapes", None)
        for slot, tensor in enumerate(node.input):
            if tensor in moved:
                node.input[slot] = moved[tensor]
    for node in added:
        if node.op == "Transpose" and node.input[0] in moved and node.name != moved[node.input[0]]:
            node.input[0] = moved[node.input[0]]
    copy.graph_def.node.extend(added)
    return copy


def stand_in(name: str, shape: Sequence[int]) -> Any:
    """float32 values for a variable, the same wherever a variable of this name and shape occurs."""
    random = np.random.RandomState(zlib.crc32(name.encode()) & 0x7FFFFFFF)
    if name.endswith(("moving_variance", "gamma", "variance")):
        return random.uniform(0.6, 1.4, shape).astype(np.float32)
    if len(shape) < 2:
        return random.normal(0.0, 0.3, shape).astype(np.float32)
    deviation = np.sqrt(2.0 / max(1, int(np.prod(shape[:-1]))))
    return random.normal(0.0, deviation, shape).astype(np.float32)


def run(
    meta: Any,
    feeds: Sequence[Mapping[str, Any]],
    fetches: Sequence[str],
    *,
    updates: Sequence[str] = (),
    values: Mapping[str, Any] | None = None,
    only: frozenset[str] | None = None,
    loss: str | None = None,
) -> list[Step]:
    """Imports a MetaGraphDef, sets its variables and runs it once for each feed.

    Args:
        meta: MetaGraphDef.
        feeds: tensor name -> array, one mapping a step.
        fetches: names of the tensors that are returned.
        updates: names of ops that are run along in each step.
        values: values of variables by name; those without one get a `stand_in`.
        only: the names of the variables that get a stand-in; the others keep what their initializers give.
            None: all that are float32.
        loss: name of a scalar; with it the gradients of all trainable variables are returned too, from a run
            of their own before the first step.
    """
    graph = tf.Graph()
    with graph.as_default():
        tf1.train.import_meta_graph(meta)
        variables = {v.name: v for v in tf1.global_variables()}
        trainable = {v.name: v for v in tf1.trainable_variables()}
        gradients = {}
        if loss is not None:
            found = tf1.gradients(graph.get_tensor_by_name(loss), list(trainable.values()))
            reached = [(n, g) for n, g in zip(trainable, found, strict=True) if g is not None]
            gradients = {name: tf.convert_to_tensor(gradient) for name, gradient in reached}
        with tf1.Session(graph=graph, config=session_config()) as session:
            session.run(tf1.global_variables_initializer())
            for name, variable in variables.items():
                if values is not None and name in values:
                    variable.load(values[name], session)
                elif (only is None or name in only) and variable.dtype.base_dtype == tf.float32:
                    variable.load(stand_in(variable.op.name, variable.shape.as_list()), session)
            steps: list[Step] = []
            for feed in feeds:
                slopes = session.run(gradients, feed) if gradients and not steps else {}
                got = session.run({"fetches": list(fetches), "updates": list(updates)}, feed)["fetches"]
                after = session.run({name: v.read_value() for name, v in variables.items()})
                steps.append(Step(dict(zip(fetches, got, strict=True)), after, slopes))
    return steps


def deviation(got: Any, want: Any, floor: float = 0.0) -> float:
    """Largest |got - want|, in standard deviations of `want` (of its magnitude when it is a single number).

    Args:
        floor: a least value of that scale, where `want` is rounding noise around zero.

    Raises:
        AssertionError: different shapes, or numbers that are not finite where they should be.
    """
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    assert got.shape == want.shape, (got.shape, want.shape)
    assert np.isfinite(got[np.isfinite(want)]).all()
    if want.size == 0:
        return 0.0
    scale = max(float(np.std(want)) if want.size > 1 else abs(float(want.reshape(()))), floor, 1e-7)
    return float(np.max(np.abs(got - want))) / scale


def worst_gradient(got: Mapping[str, Any], want: Mapping[str, Any]) -> float:
    """Worst deviation of gradients, each by its own largest entry; noise far below the largest counts less.

    Raises:
        AssertionError: a gradient is there in only one of the two.
    """
    assert set(got) == set(want), set(got) ^ set(want)
    largest = max((float(np.max(np.abs(g))) for g in want.values() if np.size(g)), default=0.0)
    worst = 0.0
    for name, gradient in want.items():
        scale = float(np.max(np.abs(gradient))) + 1e-2 * largest + 1e-12
        worst = max(worst, float(np.max(np.abs(np.asarray(got[name]) - gradient))) / scale)
    return worst
