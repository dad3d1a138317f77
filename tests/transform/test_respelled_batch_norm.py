"""A batch norm that no layer takes in, written as a depthwise convolution, computes the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numeric import RTOL_EVAL, deviation

from fqrewrite.config.records import Config
from fqrewrite.errors import GraphError
from fqrewrite.ir.editor import Editor
from fqrewrite.ir.graph import Graph
from fqrewrite.plans.build import build_plan
from fqrewrite.plans.offsets import find_uniform_offsets
from fqrewrite.proto import GraphDef
from fqrewrite.transform.emitter import Emitter
from fqrewrite.transform.quantize import Mode
from fqrewrite.transform.respell import respell

v1 = tf.compat.v1
RANDOM = np.random.default_rng(5)
IMAGE = RANDOM.normal(size=(2, 4, 4, 3)).astype(np.float32)
FACTOR, SPREAD = (RANDOM.uniform(0.5, 2, 3).astype(np.float32) for _ in range(2))
NORM = "norm/FusedBatchNormV3"


def _graph(beta: Any, mean: Any, *, training: bool = False) -> Any:
    with tf.Graph().as_default() as graph, v1.name_scope("norm"):
        x = v1.placeholder(tf.float32, IMAGE.shape, "x")
        numbers = [FACTOR, np.float32(beta), np.float32(mean), SPREAD]
        y, batch_mean, _ = v1.nn.fused_batch_norm(x, *numbers, is_training=training)
        tf.add(y, batch_mean, "output")
    return GraphDef.FromString(graph.as_graph_def().SerializeToString())


def _respelled(graph_def: Any, mode: Mode = "eval") -> Any:
    plan = build_plan(Graph(graph_def), Config(outputs=("norm/output:0",)), source_sha256="0")
    uniform = {entry.node: entry for entry in find_uniform_offsets(plan, Graph(graph_def)).uniform_offsets}
    after = GraphDef.FromString(graph_def.SerializeToString())
    editor = Editor(Graph(after))
    with editor.shared():
        respell(editor.graph.node(NORM), Emitter(editor, resource=False), mode, uniform.get(NORM))
    editor.commit()
    return after


def _run(graph_def: Any, tensor: str = "norm/output:0") -> Any:
    with tf.Graph().as_default(), v1.Session() as session:
        tf.import_graph_def(v1.GraphDef.FromString(graph_def.SerializeToString()), name="")
        return session.run(tensor, {"norm/x:0": IMAGE})


@pytest.mark.parametrize(
    ("beta", "mean"), [([1.0, -2.0, 3.0], [0.5, 1.0, -1.0]), ([0.7] * 3, [0.0] * 3), ([0.0] * 3, [0.0] * 3)]
)
def test_computes_the_same(beta: list[float], mean: list[float]) -> None:
    before = _graph(beta, mean)
    after = _respelled(before)
    nodes = Graph(after)
    assert not nodes.by_op("FusedBatchNormV3")
    assert nodes.node(NORM).op == "BiasAdd"
    assert deviation(_run(after), _run(before)) <= RTOL_EVAL


@pytest.mark.parametrize(
    ("beta", "mean", "is_moved"),
    [([0.7] * 3, [0.0] * 3, True), ([0.7, 0.7, 0.6], [0.0] * 3, False), ([0.0] * 3, [0.0] * 3, False)],
)
def test_one_offset_for_all_channels_is_told_apart(beta: list[float], mean: list[float], is_moved: bool) -> None:
    graph = _respelled(_graph(beta, mean))
    offset = _run(graph, str(Graph(graph).node(NORM).inputs[1]))
    assert (f"{NORM}/as_convolution_offset" in Graph(graph).nodes) == is_moved
    assert len(set(offset.tolist())) == (1 if not any(beta) else 2)
    assert np.abs(offset - np.array(beta)).max() < 1e-6


def test_a_training_graph_keeps_it() -> None:
    before = _graph([1.0, 2.0, 3.0], [0.0] * 3)
    assert _respelled(before, "train") == before


def test_statistics_of_the_batch_are_no_weights() -> None:
    with pytest.raises(GraphError) as caught:
        _respelled(_graph([1.0, 2.0, 3.0], [], training=True))
    assert caught.value.code == "plan-mismatch"
