"""Loops, conditionals and calls that took a variable's handle compute the same with its value."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numeric import session_config, tf1

from fqrewrite.errors import Refusal
from fqrewrite.ir.editor import Editor
from fqrewrite.ir.functions import drop_unused_functions
from fqrewrite.ir.graph import Graph
from fqrewrite.ir.verify import verify_links
from fqrewrite.match.reach import ancestors
from fqrewrite.proto import GraphDef
from fqrewrite.transform.freeze import freeze
from fqrewrite.transform.prune import prune

X = np.random.RandomState(3).normal(0.2, 1.0, (2, 3)).astype(np.float32)
W = np.random.RandomState(4).normal(0.0, 0.5, (3, 3)).astype(np.float32)


@contextmanager
def _building() -> Iterator[tuple[Any, Any, Any]]:
    """A graph with v2 control flow, its input and its variable."""
    tf1.enable_control_flow_v2()
    try:
        with tf.Graph().as_default() as graph:
            x = tf1.placeholder(tf.float32, X.shape, name="x")
            w = tf1.get_variable("w", (3, 3), initializer=tf1.constant_initializer(W), use_resource=True)
            yield graph, x, w
    finally:
        tf1.disable_control_flow_v2()


def _loop(x: Any, w: Any) -> Any:
    def body(i: Any, y: Any) -> Any:
        return i + 1, tf.tanh(tf.matmul(y, w)) + tf.gather(w, [0, 1])

    return tf.while_loop(lambda i, y: (i < 3) & (tf.reduce_sum(w) < 1e9), body, (tf.constant(0), x))[1]


def _conditional(x: Any, w: Any) -> Any:
    return tf.cond(tf.reduce_sum(x) > 0, lambda: tf.matmul(x, w), lambda: x - tf.gather(w, [1, 2]))


def _case(x: Any, w: Any) -> Any:
    return tf.switch_case(tf.constant(1), [lambda: x, lambda: tf.matmul(x, w)])


def _call(x: Any, w: Any) -> Any:
    inner = tf.function(lambda y: tf.matmul(y, w))
    return tf.function(lambda y: inner(y) + tf.cast(tf.shape(w)[0], tf.float32))(x)


def _twice(x: Any, w: Any) -> Any:
    """One function that is called with a frozen variable twice, and a loop in a conditional."""
    function = tf.function(lambda y: tf.matmul(y, w))
    return tf.cond(tf.reduce_sum(x) > 0, lambda: _loop(function(x), w), lambda: function(x))


@pytest.mark.parametrize("build", [_loop, _conditional, _case, _call, _twice])
def test_values_in_place_of_handles(build: Callable[[Any, Any], Any]) -> None:
    with _building() as (graph, x, w):
        tf.identity(build(x, w), "out")
        with tf1.Session(graph=graph, config=session_config()) as session:
            session.run(tf1.global_variables_initializer())
            expected = session.run("out:0", {"x:0": X})
    frozen = Graph(GraphDef.FromString(graph.as_graph_def().SerializeToString()))
    editor = Editor(frozen)
    prune(editor, ancestors([frozen.node("out")]))
    freeze(frozen, editor, {"w": W}, [frozen.value("out")])
    editor.commit()
    verify_links(frozen)
    drop_unused_functions(frozen.graph_def)
    ops = {node.op for node in frozen} | {
        node.op for function in frozen.graph_def.library.function for node in function.node_def
    }
    assert not ops & {"VarHandleOp", "ReadVariableOp", "ResourceGather", "VariableShape"}
    with tf.Graph().as_default() as again:
        tf.import_graph_def(tf1.GraphDef.FromString(frozen.graph_def.SerializeToString()), name="")
        with tf1.Session(graph=again, config=session_config()) as session:
            np.testing.assert_array_equal(session.run("out:0", {"x:0": X}), expected)


def test_a_function_that_writes_is_refused() -> None:
    with _building() as (graph, x, w):

        def write(y: Any) -> Any:
            w.assign_add(tf.ones((3, 3)))
            return tf.matmul(y, w)

        tf.identity(tf.function(write)(x), "out")
    frozen = Graph(GraphDef.FromString(graph.as_graph_def().SerializeToString()))
    editor = Editor(frozen)
    prune(editor, ancestors([frozen.node("out")]))
    with pytest.raises(Refusal) as caught:
        freeze(frozen, editor, {"w": W}, [frozen.value("out")])
    assert caught.value.code == "variable-not-frozen"
    assert (caught.value.where or "").startswith("__inference_write_")
    assert "AssignAddVariableOp" in str(caught.value)
