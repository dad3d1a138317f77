"""Frozen graphs against sessions that hold the variables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numeric import session_config, tf1

from fqrewrite.errors import InputError, Refusal
from fqrewrite.ir.editor import Editor
from fqrewrite.ir.graph import Graph
from fqrewrite.ir.text import parse as parse_text
from fqrewrite.ir.verify import verify_links
from fqrewrite.proto import GraphDef
from fqrewrite.transform.freeze import VARIABLE_OPS, Frozen, freeze, needed_variables

FEED = {"x:0": np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)}
Build = Callable[[Any, bool], Any]


def parse(text: str) -> Graph:
    return Graph(parse_text(text))


def _variable(name: str, value: Any, resource: bool) -> Any:
    return tf1.get_variable(name, initializer=tf.constant(value), use_resource=resource)


def _run_both(build: Build, resource: bool) -> tuple[Frozen, Any]:
    """Builds a graph, runs it with its variables, freezes, prunes and runs again.

    Returns:
        What was frozen, and the frozen and pruned GraphDef.
    """
    graph = tf1.Graph()
    with graph.as_default():
        x = tf1.placeholder(tf.float32, (3, 4), name="x")
        output = tf.identity(build(x, resource), name="output")
        with tf1.Session(config=session_config()) as session:
            session.run(tf1.global_variables_initializer())
            want = session.run(output, FEED)
            values = {v.op.name: session.run(v) for v in tf1.global_variables()}
    source = Graph(GraphDef.FromString(graph.as_graph_def(add_shapes=True).SerializeToString()))
    editor = Editor(source)
    frozen = freeze(source, editor, values, [source.value("output:0")])
    editor.commit()
    verify_links(source)
    pruned = tf1.graph_util.extract_sub_graph(
        tf1.GraphDef.FromString(source.graph_def.SerializeToString(deterministic=True)), ["output"]
    )
    assert not [node.name for node in pruned.node if node.op in VARIABLE_OPS or node.op.startswith("Ref")]
    with tf1.Graph().as_default():
        tf.import_graph_def(pruned, name="")
        with tf1.Session(config=session_config()) as session:
            np.testing.assert_array_equal(session.run("output:0", FEED), want)
    return frozen, pruned


def _layers(x: Any, resource: bool) -> Any:
    w = _variable("w", np.arange(8, dtype=np.float32).reshape(4, 2) / 8, resource)
    b = _variable("b", np.array([1.0, -2.0], np.float32), resource)
    unneeded = _variable("unneeded", np.float32(3.0), resource)
    tf1.assign_add(b, [1.0, 1.0])  # nothing that the output needs
    tf1.assign(unneeded, 1.0)
    with tf1.control_dependencies([tf1.identity(b)]):  # a variable read for its time only
        y = tf1.matmul(x, w)
    return y + b


def _after_control(x: Any, resource: bool) -> Any:
    w = _variable("w", np.float32(2.0), resource)
    with tf1.control_dependencies([tf1.Assert(tf.reduce_all(x > -5), [x], name="checked")]):
        return x * w.read_value()


def _other_dtypes(x: Any, resource: bool) -> Any:
    i = _variable("i", np.array([2, 0], np.int64), resource)
    k = _variable("k", np.int32(1), resource)
    flag = _variable("flag", True, resource)
    half = _variable("half", np.array([0.5, 0.25], np.float16), resource)
    b16 = tf1.get_variable("b16", initializer=tf.constant([0.5, 3.0], tf.bfloat16), use_resource=resource)
    text = _variable("text", [["a", "bc"]], resource)
    lengths = tf.cast(tf.strings.length(text), tf.float32)
    y = tf.gather(x, i)[:, : k + 1] * tf.cast(half, tf.float32) * tf.cast(b16, tf.float32)
    return tf1.where(flag, y, -y) + lengths


def _gathers(x: Any, resource: bool) -> Any:
    table = _variable("table", np.arange(24, dtype=np.float32).reshape(3, 4, 2), resource)
    rows = tf1.gather(table, [[2, 0], [1, 1]])
    nested = tf1.gather(table, tf.constant([[3], [0], [2]], tf.int64), batch_dims=1, axis=1)
    points = tf1.gather_nd(table, [[0, 1], [2, 3]])
    total = tf.cast(tf.reduce_prod(tf1.shape(table)), tf.float32)
    return tf.reduce_sum(rows, [0, 2]) + tf.reduce_sum(nested, [0, 2]) * tf.reduce_sum(points) + total + x[0, :1]


def _while_loop(x: Any, resource: bool) -> Any:
    w = _variable("w", np.eye(4, dtype=np.float32) * 1.25, resource)
    table = _variable("table", np.array([0.5, 1.5, 2.5], np.float32), resource)
    handle = w.handle if resource else w

    def body(i: Any, y: Any) -> Any:
        read = tf1.raw_ops.ReadVariableOp(resource=handle, dtype=tf.float32) if resource else w
        return i + 1, tf1.matmul(y, read) + tf1.gather(table, i)

    return tf1.while_loop(lambda i, _: i < 3, body, (tf.constant(0), x))[1]


def _condition(x: Any, resource: bool) -> Any:
    w = _variable("w", np.float32(2.0), resource)
    table = _variable("table", np.array([0.5, 1.5, 2.5], np.float32), resource)
    positive = tf.reduce_sum(x) > 5
    return tf1.cond(positive, lambda: x * w, lambda: x - w * tf1.gather(table, [1]))


def _initialized(x: Any, resource: bool) -> Any:
    w = _variable("w", np.float32(2.0), resource)
    return x * tf1.cond(tf1.is_variable_initialized(w), w.read_value, lambda: tf.constant(7.0))


@pytest.mark.parametrize("resource", [False, True], ids=["reference", "resource"])
@pytest.mark.parametrize(
    "build", [_layers, _after_control, _other_dtypes, _gathers, _while_loop, _condition, _initialized]
)
def test_frozen_graphs_compute_the_same(build: Build, resource: bool) -> None:
    frozen, pruned = _run_both(build, resource)
    assert "unneeded" not in frozen.variables
    assert {node.name for node in pruned.node if node.op == "Const"} >= set(frozen.variables)
    assert (frozen.readers != ()) is (resource or build is _initialized)


def _reference_flow(x: Any, _: bool) -> Any:
    """A loop in which the reference itself goes round, and a conditional that it goes through."""
    w = _variable("w", np.float32(2.0), False)._ref()
    entered = tf1.raw_ops.RefEnter(data=tf1.raw_ops.RefIdentity(input=w), frame_name="f")
    limit = tf1.raw_ops.Enter(data=tf.constant(50.0), frame_name="f", is_constant=True)
    y_in = tf1.raw_ops.Enter(data=tf.reduce_sum(tf.abs(x)), frame_name="f")
    w_merge, _ = tf1.raw_ops.RefMerge(inputs=[entered, entered])
    y_merge, _ = tf1.raw_ops.Merge(inputs=[y_in, y_in])
    go = tf1.raw_ops.LoopCond(input=tf.less(y_merge, limit))
    w_out, w_body = tf1.raw_ops.RefSwitch(data=w_merge, pred=go)
    y_out, y_body = tf1.raw_ops.Switch(data=y_merge, pred=go)
    w_merge.op._update_input(1, tf1.raw_ops.RefNextIteration(data=w_body))
    y_merge.op._update_input(1, tf1.raw_ops.NextIteration(data=y_body * w_body))
    return x * tf1.raw_ops.Exit(data=y_out) + tf1.raw_ops.RefExit(data=w_out)


def test_a_reference_that_goes_round_a_loop() -> None:
    frozen, _ = _run_both(_reference_flow, False)
    assert len(frozen.readers) == 6


def _handle_flow(x: Any, _: bool) -> Any:
    """A handle through Identity, and through a conditional whose result is one of two handles."""
    one, two = _variable("one", np.float32(2.0), True), _variable("two", np.float32(3.0), True)
    go = tf.reduce_sum(x) > -100
    no, _ = tf1.raw_ops.Switch(data=tf1.raw_ops.Identity(input=one.handle), pred=go)
    _, yes = tf1.raw_ops.Switch(data=two.handle, pred=go)
    chosen, _ = tf1.raw_ops.Merge(inputs=[no, yes])
    return x * tf1.raw_ops.ReadVariableOp(resource=chosen, dtype=tf.float32)


def test_a_handle_that_is_one_of_two() -> None:
    frozen, pruned = _run_both(_handle_flow, True)
    assert frozen.variables == ("one", "two")
    assert {node.attr["T"].type for node in pruned.node if node.op in ("Switch", "Merge")} == {1}


def test_large_values_are_packed() -> None:
    graph = parse("w = VariableV2 {dtype: float32, shape: [300]}\ny = Identity(w)\n")
    freeze(graph, Editor(graph), {"w": np.arange(300, dtype=np.float32)}, [graph.node("y")])
    tensor = graph.node("w").proto.attr["value"].tensor
    assert len(tensor.tensor_content) == 1200
    assert graph.node("w").proto.attr["dtype"].type == 1
    assert set(graph.node("w").proto.attr) == {"dtype", "value"}


def test_needed_variables_follow_control_edges() -> None:
    graph = parse(
        "a = VariableV2\nb = VarHandleOp\nc = Variable\nd = VarHandleOp\n"
        "r = ReadVariableOp(d)\nx = Placeholder(^r)\ny = Add(x, a)\nz = Identity(c)\n"
    )
    assert [node.name for node in needed_variables(graph, [graph.value("y:0")])] == ["a", "d"]
    assert [node.name for node in needed_variables(graph, [graph.node("z"), graph.node("b")])] == ["b", "c"]


HANDLE = "v = VarHandleOp {dtype: float32, shape: []}\nx = Placeholder\n"
REFERENCE = "v = VariableV2 {dtype: float32, shape: []}\nx = Placeholder\n"


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (HANDLE + "f = StatefulPartitionedCall(x, v)\ny = Identity(f)", "f"),
        (HANDLE + "f = While(v)\ny = Identity(f)", "f"),
        (HANDLE + "f = IdentityN(v, x)\ny = Identity(f:1)", "f"),
        (HANDLE + "a = AssignVariableOp(v, x)\nr = ReadVariableOp(v, ^a)\ny = Identity(r)", "a"),
        (HANDLE + "p = Placeholder\nm = Merge(v, p)\ny = ReadVariableOp(m)", "m"),
        (HANDLE + "e = Enter(v)\ny = VarIsInitializedOp(e)", "y"),
        (REFERENCE + "a = AssignSub(v, x)\ny = Identity(a)", "a"),
        (REFERENCE + "a = ApplyGradientDescent(v, x, x)\ny = Identity(x, ^a)", "a"),
        (REFERENCE + "a = ScatterAdd(v, x, x)\ny = Identity(a)", "a"),
    ],
)
def test_what_cannot_be_frozen_is_refused(text: str, where: str) -> None:
    graph = parse(text + "\n")
    with pytest.raises(Refusal) as caught:
        freeze(graph, Editor(graph), {"v": np.zeros((), np.float32)}, [graph.node("y")])
    assert caught.value.code == "variable-not-frozen"
    assert caught.value.where == where
    assert "'v'" in caught.value.what


def test_writers_that_the_roots_do_not_need_are_no_hindrance() -> None:
    graph = parse(HANDLE + "y = ReadVariableOp(v)\na = AssignVariableOp(v, y)\nf = PartitionedCall(v)\n")
    assert freeze(graph, Editor(graph), {"v": np.zeros((), np.float32)}, [graph.node("y")]).readers == ("y",)
    assert graph.node("a").op == "AssignVariableOp"


@pytest.mark.parametrize(
    ("values", "code", "says"),
    [
        ({}, "variable-value-missing", "2 variables have no value: v, w"),
        ({"v": np.zeros((2, 3), np.float32)}, "variable-value-missing", "1 variable has no value: w"),
        (
            {"v": np.zeros((3, 3), np.float32), "w": np.zeros(3)},
            "variable-value-mismatch",
            r"float32\[-1, 2\] and its value float32\[3, 3\]",
        ),
        ({"v": np.zeros((3,), np.float32), "w": np.zeros(3)}, "variable-value-mismatch", r"float32\[3\]"),
        (
            {"v": np.zeros((3, 2), np.float32), "w": np.zeros(3)},
            "variable-value-mismatch",
            r"float32 and its value float64\[3\]",
        ),
    ],
)
def test_values_must_fit(values: dict[str, Any], code: str, says: str) -> None:
    graph = parse(
        "v = VariableV2 {dtype: float32, shape: [-1, 2]}\nw = Variable {dtype: float32, shape: []}\ny = Add(v, w)\n"
    )
    with pytest.raises(InputError, match=says) as caught:
        freeze(graph, Editor(graph), values, [graph.node("y")])
    assert caught.value.code == code


def _names(nodes: Sequence[Any]) -> list[str]:
    return [node.name for node in nodes]


def test_new_nodes_take_free_names() -> None:
    graph = parse(HANDLE + "g/axis = Const {value: 1}\ng = ResourceGather(v, x) {Tindices: int64}\n")
    freeze(graph, Editor(graph), {"v": np.zeros((), np.float32)}, [graph.node("g")])
    assert _names([value.node for value in graph.node("g").inputs]) == ["v", "x", "g/axis_1"]
