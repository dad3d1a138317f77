"""Flat graphs compute what the calls did, under names that can be foretold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numeric import session_config, tf1
from tensorflow.python.framework import function as v1_function

from fqrewrite.ir.editor import Editor
from fqrewrite.ir.functions import drop_unused_functions, function_of
from fqrewrite.ir.graph import Graph
from fqrewrite.ir.text import parse
from fqrewrite.ir.verify import verify_links
from fqrewrite.proto import GraphDef
from fqrewrite.proto.attrs import type_attr
from fqrewrite.proto.dtypes import DT_RESOURCE
from fqrewrite.transform.flatten import Flattened, flatten_calls

X = np.random.RandomState(3).normal(0.2, 1.0, (2, 3)).astype(np.float32)


def _build(build: Callable[[Any], Any]) -> Any:
    """GraphDef of a graph from `x` to `out`, whose variables the op `init` initializes."""
    with tf.Graph().as_default() as graph:
        x = tf1.placeholder(tf.float32, X.shape, name="x")
        out = build(x)
        if out is not None:
            tf.identity(out, "out")
        tf.group(tf1.global_variables_initializer(), name="init")
    return GraphDef.FromString(graph.as_graph_def().SerializeToString())


def _run(graph_def: Any, *fetches: str) -> list[Any]:
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(tf1.GraphDef.FromString(graph_def.SerializeToString()), name="")
        with tf1.Session(graph=graph, config=session_config()) as session:
            session.run("init")
            return list(session.run(list(fetches), {"x:0": X}))


def _same(got: list[Any], want: list[Any]) -> None:
    for one, other in zip(got, want, strict=True):
        np.testing.assert_array_equal(one, other)


def _flatten(graph_def: Any, *roots: str, wanted: Callable[[str], bool] = lambda name: True) -> tuple[Graph, Flattened]:
    graph = Graph(graph_def)
    found = flatten_calls(Editor(graph), [graph.node(name) for name in roots], wanted)
    verify_links(graph)
    return Graph(graph_def), found


def _variable(value: float) -> Any:
    return tf1.get_variable("w", (3, 3), initializer=tf1.constant_initializer(value), use_resource=True)


def _nested(x: Any) -> Any:
    w = _variable(0.5)

    @tf.function  # type: ignore[untyped-decorator]
    def inner(y: Any) -> Any:
        with tf.name_scope("layer"):
            return tf.nn.relu(tf.matmul(y, w))

    @tf.function  # type: ignore[untyped-decorator]
    def outer(y: Any) -> Any:
        with tf.name_scope("block"):
            return inner(y) + inner(-y)

    with tf.name_scope("net"):
        return outer(x)


def test_nested_calls() -> None:
    graph_def = _build(_nested)
    expected = _run(graph_def, "out:0")
    graph, found = _flatten(graph_def, "out")
    assert found.calls == 3
    np.testing.assert_array_equal(_run(graph_def, "out:0"), expected)
    assert not graph.by_op("PartitionedCall", "StatefulPartitionedCall")
    assert {node.name for node in graph.by_op("Identity")} == {"net/StatefulPartitionedCall", "out"}
    drop_unused_functions(graph_def)
    assert not graph_def.library.function


def test_names_are_those_of_the_body_in_the_scope_of_the_call() -> None:
    graph, found = _flatten(_build(_nested), "out")
    layers = graph.by_op("MatMul")
    # The second call of one function finds the names taken, and has its own name as scope.
    assert [node.name for node in layers] == [
        "net/block/layer/MatMul",
        "net/block/StatefulPartitionedCall_1/layer/MatMul",
    ]
    assert {"net/block/layer/Relu", "net/block/StatefulPartitionedCall_1/layer/Relu", "net/block/add"} <= {
        *found.inserted
    }
    assert {function_of(node).partition("_inner_")[0] for node in layers} == {"__inference"}
    assert function_of(graph.node("net/block/add")).startswith("__inference_outer_")
    assert function_of(graph.node("out")) == ""


def test_layers_read_each_other_without_anything_between() -> None:
    graph, _ = _flatten(_build(_nested), "out")
    add = graph.node("net/block/add")
    assert [value.node.op for value in add.inputs] == ["Relu", "Relu"]
    assert graph.node("out").inputs[0].node is add
    assert not any(node.controls for node in graph if node.name.startswith("net/block"))


def test_a_group_of_names_stays_together() -> None:
    """Where one name is taken, all that share its first component move; others do not."""

    def build(x: Any) -> Any:
        tf.identity(x, "a/scope/Relu")

        @tf.function  # type: ignore[untyped-decorator]
        def body(y: Any) -> Any:
            with tf.name_scope("scope"):
                y = tf.exp(tf.nn.relu(y))
            return tf.sin(y)

        with tf.name_scope("a/"):
            return body(x)

    graph_def = _build(build)
    expected = _run(graph_def, "out:0")
    graph, found = _flatten(graph_def, "out")
    assert set(found.inserted) == {"a/PartitionedCall/scope/Relu", "a/PartitionedCall/scope/Exp", "a/Sin"}
    np.testing.assert_array_equal(_run(graph_def, "out:0"), expected)
    assert graph.node("a/scope/Relu").op == "Identity"


def test_effects_happen_in_their_order() -> None:
    def build(x: Any) -> Any:
        w = _variable(1.0)

        @tf.function  # type: ignore[untyped-decorator]
        def step(y: Any) -> Any:
            before = tf.matmul(y, w)
            w.assign_add(tf.ones((3, 3)))
            return before, tf.matmul(y, w)

        before, after = step(x)
        with tf.control_dependencies([before]):
            tf.identity(w.read_value(), "after_call")
        tf.identity(before, "before")
        return after

    graph_def = _build(build)
    expected = _run(graph_def, "before:0", "out:0", "after_call:0")
    _flatten(graph_def, "before", "out", "after_call")
    _same(_run(graph_def, "before:0", "out:0", "after_call:0"), expected)
    assert expected[2][0, 0] == 2.0


def test_an_assignment_waits_for_readings_before_it() -> None:
    def build(x: Any) -> Any:
        w = _variable(1.0)
        read = tf.function(lambda y: tf.matmul(y, w))(x)
        with tf.control_dependencies([read]):
            tf.identity(w.assign(tf.zeros((3, 3))), "write")
        return read

    graph_def = _build(build)
    expected = _run(graph_def, "out:0", "write:0")
    _flatten(graph_def, "out", "write")
    for _ in range(5):
        _same(_run(graph_def, "out:0", "write:0"), expected)


def test_what_the_roots_do_not_need_stays_as_it_is() -> None:
    def build(x: Any) -> Any:
        tf.identity(tf.function(tf.exp)(x), "other")
        return tf.function(tf.sin)(x)

    graph, found = _flatten(_build(build), "out")
    assert (found.calls, [node.name for node in graph.by_op("PartitionedCall")]) == (1, ["PartitionedCall"])
    assert graph.node("other").inputs[0].node.op == "PartitionedCall"


def test_only_wanted_functions() -> None:
    graph_def = _build(lambda x: tf.function(tf.exp)(tf.function(tf.sin)(x)))
    name = next(f.signature.name for f in graph_def.library.function if any(n.op == "Sin" for n in f.node_def))
    graph, found = _flatten(graph_def, "out", wanted=lambda function: function == name)
    assert (found.calls, found.inserted) == (1, ("Sin",))
    assert len(graph.by_op("PartitionedCall")) == 1


def test_functions_called_by_their_name() -> None:
    def build(x: Any) -> Any:
        called = v1_function.Defun(tf.float32, func_name="twice")(lambda y: tf.nn.relu(y) * 2.0)
        return called(x)

    graph_def = _build(build)
    expected = _run(graph_def, "out:0")
    graph, found = _flatten(graph_def, "out")
    assert found.calls == 1
    assert not graph.by_op("twice")
    np.testing.assert_array_equal(_run(graph_def, "out:0"), expected)


@pytest.mark.parametrize("key", ["api_implements", "_implements"])
def test_functions_that_stand_for_an_operation_stay_calls(key: str) -> None:
    graph_def = _build(_nested)
    for function in graph_def.library.function:
        if "inner" in function.signature.name:
            function.attr[key].s = b"lstm"
    expected = _run(graph_def, "out:0")
    graph, found = _flatten(graph_def, "out")
    assert found.calls == 1
    calls = graph.by_op("PartitionedCall", "StatefulPartitionedCall")
    assert [node.name for node in calls] == ["net/block/StatefulPartitionedCall", "net/block/StatefulPartitionedCall_1"]
    np.testing.assert_array_equal(_run(graph_def, "out:0"), expected)


def test_functions_that_call_themselves_stay_calls() -> None:
    graph_def = parse("x = Placeholder\ncall = PartitionedCall(x)\nout = Identity(call)\n")
    for name, called in (("f", "g"), ("g", "f")):
        function = graph_def.library.function.add()
        function.signature.name = name
        function.node_def.add(name="call", op="PartitionedCall").attr["f"].func.name = called
    graph_def.node[1].attr["f"].func.name = "f"
    _, found = _flatten(graph_def, "out")
    assert (found.calls, found.inserted) == (0, ())


def test_handles_are_read_from_the_variable_itself() -> None:
    """An Identity on a handle makes the TFLite converter leave islands."""
    graph_def = _build(_nested)
    function = next(f for f in graph_def.library.function if "inner" in f.signature.name)
    handle = function.signature.input_arg[1].name
    read = next(node for node in function.node_def if node.op == "ReadVariableOp")
    read.input[0] = "hand:output:0"
    function.node_def.add(name="hand", op="Identity", input=[handle]).attr["T"].CopyFrom(type_attr(DT_RESOURCE))
    graph, _ = _flatten(graph_def, "out")
    reads = [node for node in graph.by_op("ReadVariableOp") if node.name.startswith("net/")]
    assert [node.inputs[0].node.name for node in reads] == ["w", "w"]
    assert not any(node.name.endswith("hand") for node in graph)


def test_nothing_to_inline_changes_nothing() -> None:
    graph_def = _build(lambda x: tf.nn.relu(x))
    before = graph_def.SerializeToString(deterministic=True)
    _, found = _flatten(graph_def, "out")
    assert found == Flattened(calls=0, inserted=())
    assert graph_def.SerializeToString(deterministic=True) == before


def test_same_input_same_bytes() -> None:
    data = _build(_nested).SerializeToString(deterministic=True)
    made = []
    for _ in range(2):
        graph_def = GraphDef.FromString(data)
        _flatten(graph_def, "out")
        made.append(graph_def.SerializeToString(deterministic=True))
    assert made[0] == made[1] != data
