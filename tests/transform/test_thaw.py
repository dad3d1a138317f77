"""Constants made variables: the same numbers, and something to train."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numeric import session_config, tf1

from fqrewrite.errors import Refusal
from fqrewrite.ir.editor import Editor
from fqrewrite.ir.graph import Graph
from fqrewrite.ir.text import format_graph, parse
from fqrewrite.ir.verify import verify_links
from fqrewrite.model.collections import add_variables, reconstruct, variable_def
from fqrewrite.proto import GraphDef, MetaGraphDef
from fqrewrite.transform.thaw import Thawed, thaw

X = np.random.RandomState(0).normal(0.0, 1.0, (2, 6, 6, 3)).astype(np.float32)


def thawed(graph_def: Any) -> Thawed:
    graph = Graph(graph_def)
    result = thaw(graph, Editor(graph))
    verify_links(graph)
    verify_links(Graph(graph_def))
    return result


def constant(shape: tuple[int, ...], name: str, seed: int = 1) -> Any:
    return tf1.constant(np.random.RandomState(seed).normal(0.0, 0.4, shape).astype(np.float32), name=name)


def convolution(x: Any) -> Any:
    """A network as TensorFlow's freezing leaves it: constants behind their old readings."""
    y = tf.nn.conv2d(x, tf.identity(constant((3, 3, 3, 4), "w"), name="w/read"), 1, "SAME")
    y = tf.nn.relu(tf.nn.bias_add(y, constant((4,), "b")))
    ones = tf.ones([4])
    normed, *_ = tf1.nn.fused_batch_norm(
        y, constant((4,), "gamma"), constant((4,), "beta"), constant((4,), "mean"), ones, is_training=False
    )
    return tf.nn.depthwise_conv2d(normed, constant((3, 3, 4, 1), "depthwise"), [1, 1, 1, 1], "SAME")


def shared(x: Any) -> Any:
    """One kernel for two layers."""
    w = constant((3, 3, 3, 3), "w")
    y = tf.nn.relu(tf.nn.conv2d(x, w, 1, "SAME") + constant((3,), "b"))
    return tf.nn.conv2d(y, w, 1, "SAME")


def dense(x: Any) -> Any:
    """A dense layer on every position, by way of reshapes."""
    return tf.nn.bias_add(tf.tensordot(x, constant((3, 5), "w"), [[3], [0]]), constant((5,), "b"))


def built(build: Callable[[Any], Any]) -> bytes:
    with tf.Graph().as_default() as graph:
        x = tf1.placeholder(tf.float32, X.shape, name="x")
        tf.identity(build(x), name="y")
        return bytes(graph.as_graph_def(add_shapes=True).SerializeToString())


def built_by_tensorflow_2() -> bytes:
    """A function with variables, frozen by TensorFlow 2."""
    from tensorflow.python.eager.context import eager_mode
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    def start(*shape: int) -> Any:
        return tf.Variable(np.random.RandomState(3).normal(0.0, 0.4, shape).astype(np.float32))

    with eager_mode():
        kernel, weights, bias = start(3, 3, 3, 4), start(4, 5), start(5)

        def call(x: Any) -> Any:
            y = tf.reduce_mean(tf.nn.relu6(tf.nn.conv2d(x, kernel, 2, "SAME")), [1, 2])
            return tf.identity(tf.matmul(y, weights) + bias, name="y")

        function = tf.function(call).get_concrete_function(tf.TensorSpec(X.shape, tf.float32, name="x"))
        frozen = convert_variables_to_constants_v2(function)
        return bytes(frozen.graph.as_graph_def(add_shapes=True).SerializeToString())


def as_meta(graph_def: Any) -> tuple[bytes, list[str]]:
    """A MetaGraphDef of the thawed graph, and the names of the variables."""
    meta = MetaGraphDef(graph_def=graph_def)
    reconstruct(meta)
    result = thawed(meta.graph_def)
    definitions = [
        variable_def(
            variable=made.node,
            initializer=made.assign,
            initial_value=f"{made.initial}:0",
            snapshot=f"{made.read}:0",
            is_resource=made.is_resource,
            trainable=True,
        )
        for made in result.variables
    ]
    add_variables(meta, definitions, trainable=True)
    return meta.SerializeToString(), [made.node for made in result.variables]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (lambda: built(convolution), {"w", "b", "gamma", "beta", "depthwise"}),
        (lambda: built(shared), {"w", "b"}),
        (lambda: built(dense), {"w", "b"}),
        (built_by_tensorflow_2, {f"{op}/ReadVariableOp/resource" for op in ("Conv2D", "MatMul", "add")}),
    ],
    ids=["convolution", "shared", "dense", "tensorflow_2"],
)
@pytest.mark.parametrize("resource", [True, False])
def test_thawed_graph_computes_the_same_and_trains(
    source: Callable[[], bytes], expected: set[str], resource: bool, tmp_path: Path
) -> None:
    graph_def = GraphDef.FromString(source())
    if not resource:  # a graph with a reference variable of its own gets more of its kind
        graph_def.MergeFrom(
            parse("n = VariableV2 {shape: [2]}\none = Const {value: [1.0, 2.0]}\nn/Assign = Assign(n, one)")
        )
    with tf.Graph().as_default(), tf1.Session(config=session_config()) as session:
        tf1.import_graph_def(tf1.GraphDef.FromString(graph_def.SerializeToString()), name="")
        want = session.run("y:0", {"x:0": X})
    meta, names = as_meta(graph_def)
    assert set(names) == expected
    with tf.Graph().as_default() as graph, tf1.Session(config=session_config()) as session:
        tf1.train.import_meta_graph(tf1.MetaGraphDef.FromString(meta))
        kernels = [v for v in tf1.trainable_variables() if v.op.name in names]
        assert {v.op.type for v in kernels} == {"VarHandleOp" if resource else "VariableV2"}
        session.run(tf1.global_variables_initializer())
        np.testing.assert_array_equal(session.run("y:0", {"x:0": X}), want)
        loss = tf.reduce_mean(tf.square(graph.get_tensor_by_name("y:0") - 0.5))
        step = tf1.train.GradientDescentOptimizer(0.01).minimize(loss, var_list=kernels)
        before, first = session.run([kernels, loss], {"x:0": X})
        for _ in range(3):
            session.run(step, {"x:0": X})
        after, last = session.run([kernels, loss], {"x:0": X})
        assert last < first
        assert not [v.name for v, a, b in zip(kernels, before, after, strict=True) if np.array_equal(a, b)]
        path = tf1.train.Saver(kernels).save(session, str(tmp_path / "ckpt"))
    assert {name for name, _ in tf.train.list_variables(path)} == expected  # the constants' own names


FROZEN = """
x = Placeholder
ready = NoOp
w = Const(^ready) {value: [[0.5, 1.0]], _output_shapes: [9], _class: ["loc:@x"]} @ /cpu:0
w/read = Identity(w)
w/Assign = NoOp
after = NoOp(^w)
y = MatMul(x, w/read)
z = MatMul(y, w)
"""


def test_resource_variable_as_tensorflow_names_it() -> None:
    graph_def = parse(FROZEN)
    (made,) = thawed(graph_def).variables
    assert made == ("w", "w/Assign_1", "w/Initializer/Const", "w/Read/ReadVariableOp", True)
    assert format_graph(graph_def).splitlines() == [
        "x = Placeholder",
        "ready = NoOp",
        'w = VarHandleOp {shape: [1, 2], shared_name: "w"} @ /cpu:0',
        "w/read = Identity(w/Read/ReadVariableOp)",
        "w/Assign = NoOp",
        "after = NoOp(^w, ^ready)",
        "y = MatMul(x, w/read)",
        "z = MatMul(y, w/Read/ReadVariableOp)",
        "w/Initializer/Const = Const {value: [[0.5, 1.0]]} @ /cpu:0",
        "w/Assign_1 = AssignVariableOp(w, w/Initializer/Const) @ /cpu:0",
        "w/Read/ReadVariableOp = ReadVariableOp(w, ^ready) @ /cpu:0",
    ]


def test_reference_variable_takes_its_old_reading_back() -> None:
    graph_def = parse(FROZEN + "other = VariableV2 {shape: []}\n")
    (made,) = thawed(graph_def).variables
    assert made == ("w", "w/Assign_1", "w/Initializer/Const", "w/read", False)
    lines = format_graph(graph_def).splitlines()
    assert "w = VariableV2 {shape: [1, 2]} @ /cpu:0" in lines
    assert "w/read = Identity(w, ^ready)" in lines
    assert "z = MatMul(y, w/read)" in lines


def test_numbers_are_kept_to_the_bit() -> None:
    """NaN and infinity too, and numbers that are stored in short."""
    graph_def = parse("x = Placeholder\nw = Const {value: [[nan, inf]]}\ny = MatMul(x, w)")
    before = graph_def.node[1].attr["value"].SerializeToString()
    thawed(graph_def)
    initial = next(node for node in graph_def.node if node.name == "w/Initializer/Const")
    assert initial.attr["value"].SerializeToString() == before


def test_nothing_to_thaw() -> None:
    with pytest.raises(Refusal, match="nothing-to-thaw"):
        thawed(parse("x = Placeholder\nc = Const {value: [1.0, 2.0]}\ny = Mul(x, c)"))


def test_what_is_not_thawed_is_told() -> None:
    half = (
        "x = Placeholder\nh = Const {dtype: float16, value: [[0.5]]}\nw = Cast(h) {SrcT: float16}\ny = MatMul(x, w)\n"
    )
    with pytest.raises(Refusal, match="'h', it is float16"):
        thawed(parse(half))
    result = thawed(parse(half + "v = Const {value: [[0.5]]}\nz = MatMul(y, v)"))
    assert [made.node for made in result.variables] == ["v"]
    assert [left.name for left in result.not_thawed] == ["h"]
