"""Inlined calls compute what the calls did, in TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from numeric import session_config, tf1
from tensorflow.python.framework import function as v1_function

from fqrewrite.errors import GraphError
from fqrewrite.ir.editor import Editor
from fqrewrite.ir.functions import drop_unused_functions, functions_of
from fqrewrite.ir.graph import Graph, Node
from fqrewrite.ir.inline import CALLS, called_function, in_scope, inline_call, replace_call, resolve_case, resolve_if
from fqrewrite.ir.topology import topological_order
from fqrewrite.ir.verify import verify_links
from fqrewrite.proto import GraphDef

X = np.random.RandomState(3).normal(0.2, 1.0, (2, 4, 4, 3)).astype(np.float32)


@contextmanager
def _building() -> Iterator[Any]:
    """A graph to build in, with conditionals of v2."""
    tf1.enable_control_flow_v2()
    try:
        with tf.Graph().as_default() as graph:
            tf1.placeholder(tf.float32, X.shape, name="x")
            tf1.placeholder(tf.bool, (), name="phase")
            yield graph
    finally:
        tf1.disable_control_flow_v2()


def _tensor(name: str) -> Any:
    return tf1.get_default_graph().get_tensor_by_name(name)


def _graph(built: Any) -> Graph:
    return Graph(GraphDef.FromString(built.as_graph_def().SerializeToString()))


def _run(graph: Any, fetches: Sequence[str], *, phase: bool = True) -> list[Any]:
    """Imports the graph, runs its op `init` if there is one, then fetches."""
    with tf.Graph().as_default() as imported:
        serialized = graph.graph_def if isinstance(graph, Graph) else graph.as_graph_def()
        tf.import_graph_def(tf1.GraphDef.FromString(serialized.SerializeToString()), name="")
        with tf1.Session(graph=imported, config=session_config()) as session:
            if "init" in {op.name for op in imported.get_operations()}:
                session.run("init")
            return list(session.run(list(fetches), {"x:0": X, "phase:0": phase}))


def _edit(graph: Graph, edit: Callable[[Editor], object]) -> None:
    """Edits, and looks whether links and order are sound and no function is left that nothing calls."""
    editor = Editor(graph)
    edit(editor)
    editor.commit()
    verify_links(graph)
    topological_order(graph)
    drop_unused_functions(graph.graph_def)


def _inline_calls(editor: Editor) -> None:
    """Replaces every plain call, also those in inlined bodies, each in a scope called like it."""
    graph = editor.graph
    library = functions_of(graph.graph_def)
    while calls := graph.by_op(*CALLS, *library):
        for node in calls:
            function = called_function(node, library)
            replace_call(editor, node, function, list(node.inputs), library, in_scope(node.name))
        editor.commit()


def _resolve(built: Any, taken: bool) -> Graph:
    """Resolves every conditional, also those in branches."""
    graph = _graph(built)
    while graph.by_op("If", "StatelessIf"):
        node = graph.by_op("If", "StatelessIf")[0]
        _edit(graph, lambda editor, node=node: resolve_if(editor, node, taken))  # type: ignore[misc]
    assert not graph.graph_def.library.function
    return graph


def _same(got: Sequence[Any], want: Sequence[Any]) -> None:
    assert len(got) == len(want) > 0
    for one, other in zip(got, want, strict=True):
        np.testing.assert_array_equal(one, other)


def _many_outputs(x: Any) -> tuple[Any, ...]:
    """Operations with several outputs, read at others than the first, and one output that is read twice."""
    y, mean, variance = tf1.nn.fused_batch_norm(x, tf.ones([3]), tf.zeros([3]), is_training=True)
    _, second, _ = tf.split(y, 3, axis=-1)
    rows = tf.unstack(tf.reshape(second, [4, -1]), axis=0)
    values, indices = tf.nn.top_k(rows[2] + rows[3], 3)
    return values, tf.cast(indices, tf.float32) + variance, mean


def _variable(value: float = 1.7) -> Any:
    variable = tf1.get_variable("variable", (), initializer=tf1.constant_initializer(value), use_resource=True)
    tf.group(variable.initializer, name="init")
    return variable


@pytest.mark.parametrize("taken", [True, False])
def test_the_branch_computes_what_the_conditional_did(taken: bool) -> None:
    with _building() as built:
        scale, x = _variable(), _tensor("x:0")
        returned = tf.cond(
            _tensor("phase:0"),
            lambda: _many_outputs(x * scale),
            lambda: (scale * [1.0, 2.0, 3.0], x[0, 0, 0], tf.fill([3], scale)),
        )
        for number, tensor in enumerate(returned):
            tf.exp(tensor, name=f"out_{number}")
    graph = _resolve(built, taken)
    # What was returned stays under its old name: names of outputs are public.
    node = next(node for node in graph if node.op == "IdentityN")
    assert built.get_operation_by_name(node.name).type in ("If", "StatelessIf")
    assert [str(value) for value in node.inputs] == [str(value) for value in _read_by_users(graph)]
    names = [*(f"out_{number}:0" for number in range(3)), *(f"{node.name}:{number}" for number in range(3))]
    _same(_run(graph, names, phase=not taken), _run(built, names, phase=taken))


def _read_by_users(graph: Graph) -> list[Any]:
    """What the three exponentials read, behind the Identity that `tf.cond` puts before each."""
    return [graph.node(f"out_{number}").inputs[0].node.inputs[0] for number in range(3)]


@pytest.mark.parametrize("taken", [True, False])
def test_conditionals_within_branches(taken: bool) -> None:
    with _building() as built:
        x, phase = _tensor("x:0"), _tensor("phase:0")

        def outer() -> Any:
            inner = tf.cond(phase, lambda: tf.nn.relu(x) * 2.0, lambda: x - 5.0)
            return tf.cond(phase, lambda: inner + 1.0, lambda: inner)

        tf.identity(tf.cond(phase, outer, lambda: tf.cond(phase, lambda: x, lambda: -x)), "out")
    graph = _resolve(built, taken)
    _same(_run(graph, ["out:0"], phase=not taken), _run(built, ["out:0"], phase=taken))


@pytest.mark.parametrize("outputs", [0, 1, 2])
def test_side_effects_stay_and_in_their_order(outputs: int) -> None:
    """A branch reads after what its conditional waits for; who reads or awaits the conditional sees what it did."""
    with _building() as built:
        variable, x = _variable(), _tensor("x:0")

        def branch() -> Any:
            before = tf.identity(variable)
            update = variable.assign_add(2.0, read_value=False)
            return (before, x)[:outputs] or update

        def step(phase: Any) -> Any:
            variable.assign(3.0)
            returned = tf.cond(phase, branch, lambda: (0.0, -x)[:outputs] or tf.no_op())
            return [variable.read_value(), *(tf.nest.flatten(returned) if outputs else [])]

        # In a function TensorFlow runs everything in the order in which it was written.
        returned = tf.function(step)(_tensor("phase:0"))
        fetches = [tensor.name for tensor in returned]
    graph = _graph(built)
    _edit(graph, _inline_calls)
    conditional = graph.by_op("If")[0]
    assert conditional.controls
    _edit(graph, lambda editor: resolve_if(editor, conditional, True))
    got = _run(graph, fetches, phase=False)
    _same(got, _run(built, fetches))
    assert got[:2] == [5.0, 3.0][: 1 + outputs]


def test_an_argument_handed_through_waits_as_the_call_did() -> None:
    with _building() as built:
        variable, x = _variable(), _tensor("x:0")
        with tf.control_dependencies([tf1.assign(variable, 3.0)]):
            y = tf.cond(_tensor("phase:0"), lambda: x, lambda: -x)
        with tf.control_dependencies([y]):
            after = variable.read_value()
    _same(_run(_resolve(built, True), [after.name]), [np.float32(3.0)])


@pytest.mark.parametrize("index", [0, 1, 2, -1, 7])
def test_cases(index: int) -> None:
    with _building() as built:
        x = _tensor("x:0")
        which = tf1.placeholder_with_default(index, (), name="which")
        branches = (lambda: x + 1.0, lambda: x * 2.0, lambda: x)
        tf.identity(tf.switch_case(which, branches), "out")
    graph = _graph(built)
    node = graph.by_op("Case", "StatelessCase")[0]
    _edit(graph, lambda editor: resolve_case(editor, node, index))
    assert node.op == "Identity"
    assert not graph.graph_def.library.function
    _same(_run(graph, ["out:0"]), _run(built, ["out:0"]))


def test_calls_within_calls() -> None:
    with _building() as built:
        variable, x = _variable(), _tensor("x:0")

        def inner_body(y: Any, add: bool) -> Any:
            if add:
                variable.assign_add(1.0)
            return y * variable, tf.nn.moments(y, [0, 1, 2])[1]

        inner = tf.function(inner_body)

        def outer(y: Any) -> Any:
            z, variance = inner(y, True)
            return inner(z + variance, False)

        for number, tensor in enumerate(tf.function(outer)(x)):
            tf.identity(tensor, f"out_{number}")
    graph = _graph(built)
    _edit(graph, _inline_calls)
    assert not graph.graph_def.library.function
    assert not graph.by_op("PartitionedCall", "StatefulPartitionedCall")
    _same(_run(graph, ["out_0:0", "out_1:0"]), _run(built, ["out_0:0", "out_1:0"]))


def test_a_call_without_outputs() -> None:
    with _building() as built:
        variable = _variable()

        def update() -> None:
            variable.assign_add(2.0)

        tf.function(update)()
        call = next(op for op in built.get_operations() if op.type == "StatefulPartitionedCall")
        assert not call.outputs
        with tf.control_dependencies([call]):
            after = variable.read_value()
    graph = _graph(built)
    _edit(graph, _inline_calls)
    assert graph.node(call.name).op == "NoOp"
    _same(_run(graph, [after.name]), [np.float32(1.7) + np.float32(2.0)])


def test_a_function_called_by_name_with_a_v1_loop_within() -> None:
    with _building() as built:
        tf1.disable_control_flow_v2()

        def power(y: Any) -> Any:
            start = (tf.constant(0), y)
            return tf1.while_loop(lambda i, _: i < 3, lambda i, z: (i + 1, z * y), start)[1]

        called_by_name = v1_function.Defun(tf.float32, func_name="power")
        tf.identity(called_by_name(power)(_tensor("x:0")), "out")
    assert "power" in {op.type for op in built.get_operations()}
    graph = _graph(built)
    _edit(graph, _inline_calls)
    assert len(graph.by_op("NextIteration")) == 2
    assert not graph.by_op("power")
    _same(_run(graph, ["out:0"]), _run(built, ["out:0"]))


@pytest.mark.parametrize("phase", [True, False])
def test_calls_within_v1_control_flow(phase: bool) -> None:
    """Nodes without inputs must run in the loop, and only when the conditional runs them."""
    with _building() as built:
        tf1.disable_control_flow_v2()
        variable, x = _variable(), _tensor("x:0")

        def step(y: Any) -> Any:
            return y * tf.constant(1.5) + tf.random.stateless_uniform([3], [1, 2])

        def update(y: Any) -> Any:
            variable.assign_add(2.0)
            return y

        looped = tf1.while_loop(lambda i, _: i < 3, lambda i, y: (i + 1, tf.function(step)(y)), (tf.constant(0), x))[1]
        switched = tf1.cond(_tensor("phase:0"), lambda: tf.function(update)(looped), lambda: -looped)
        with tf.control_dependencies([tf.identity(switched, "out")]):
            tf.identity(variable.read_value(), "after")
    graph_def = _graph(built).graph_def
    for node in graph_def.node:
        if node.op in ("PartitionedCall", "StatefulPartitionedCall"):  # their inputs are enough to hold them there
            data = [text for text in node.input if not text.startswith("^")]
            del node.input[:]
            node.input.extend(data)
    graph = Graph(graph_def)
    _edit(graph, _inline_calls)
    assert graph.by_op("Enter")
    assert graph.by_op("Switch")
    got = _run(graph, ["out:0", "after:0"], phase=phase)
    _same(got, _run(built, ["out:0", "after:0"], phase=phase))
    assert got[1] == np.float32(1.7) + np.float32(2.0 if phase else 0.0)


PLACEHOLDERS = """
node { name: "x" op: "Placeholder" device: "/device:CPU:0" attr { key: "dtype" value { type: DT_FLOAT } } }
node { name: "phase" op: "Placeholder" attr { key: "dtype" value { type: DT_BOOL } } }
node { name: "call" op: "PartitionedCall" input: "x" input: "x:0" input: "phase" device: "/device:CPU:0"
  attr { key: "Tin" value { list { type: [DT_FLOAT, DT_FLOAT, DT_BOOL] } } }
  attr { key: "Tout" value { list { type: [DT_FLOAT, DT_FLOAT] } } }
  attr { key: "f" value { func { name: "f" attr { key: "T" value { type: DT_FLOAT } }
                                           attr { key: "n" value { i: 2 } } } } } }
node { name: "out" op: "AddV2" input: "call:1" input: "call" attr { key: "T" value { type: DT_FLOAT } } }
library {
  function {
    signature { name: "f"
      input_arg { name: "xs" type_attr: "T" number_attr: "n" } input_arg { name: "p" type: DT_BOOL }
      output_arg { name: "ys" type_attr: "T" number_attr: "n" }
      attr { name: "T" type: "type" } attr { name: "n" type: "int" } }
    node_def { name: "packed" op: "Pack" input: "xs"
      attr { key: "N" value { placeholder: "n" } } attr { key: "T" value { placeholder: "T" } }
      attr { key: "_class" value { list { s: ["loc:@rows", "loc:@xs", "loc:@gone"] } } }
      attr { key: "_output_shapes" value { list { shape { dim { size: 9 } } } } } }
    node_def { name: "chosen" op: "StatelessIf" input: "p" input: "packed:output:0"
      attr { key: "Tcond" value { type: DT_BOOL } }
      attr { key: "Tin" value { list { type: DT_FLOAT } } } attr { key: "Tout" value { list { type: DT_FLOAT } } }
      attr { key: "then_branch" value { func { name: "g" attr { key: "U" value { placeholder: "T" } } } } }
      attr { key: "else_branch" value { func { name: "g" attr { key: "U" value { placeholder: "T" } } } } } }
    node_def { name: "rows" op: "Unpack" input: "chosen:output:0" device: "/device:CPU:0"
      attr { key: "num" value { placeholder: "n" } } attr { key: "T" value { placeholder: "T" } }
      attr { key: "_class" value { list { s: "loc:@gone" } } } }
    ret { key: "ys" value: "rows:output" } }
  function {
    signature { name: "g" input_arg { name: "a" type_attr: "U" } output_arg { name: "b" type_attr: "U" }
      attr { name: "U" type: "type" } }
    node_def { name: "neg" op: "Neg" input: "a" attr { key: "T" value { placeholder: "U" } } }
    ret { key: "b" value: "neg:y:0" } }
}
"""


# TensorFlow's own importer does not take functions whose arguments have no dtype of their own.
def _placeholders() -> Graph:
    return Graph(text_format.Parse(PLACEHOLDERS, GraphDef()))


def test_attributes_devices_and_colocation() -> None:
    graph = _placeholders()
    _edit(graph, _inline_calls)
    _edit(graph, lambda editor: resolve_if(editor, graph.node("call/chosen"), False))
    _same(_run(graph, ["out:0", "call:1"]), [-2.0 * X, -X])
    assert not graph.graph_def.library.function
    packed, rows = graph.node("call/packed").proto, graph.node("call/rows").proto
    assert list(packed.attr["_class"].list.s) == [b"loc:@call/rows"]
    assert "_class" not in rows.attr
    assert "_output_shapes" not in packed.attr
    assert (packed.device, graph.node("call/chosen/else/neg").proto.device) == ("/device:CPU:0", "/device:CPU:0")
    assert list(graph.node("out").proto.input) == ["call/rows:1", "call/rows"]


def _another_function(call: Any, _: Any) -> None:
    call.attr["f"].func.name = "gone"


def _no_function(call: Any, _: Any) -> None:
    del call.attr["f"]


def _another_input(call: Any, _: Any) -> None:
    call.input.append("x")


def _another_output(_: Any, graph_def: Any) -> None:
    graph_def.node[3].input[0] = "call:2"


def _name_taken(_: Any, graph_def: Any) -> None:
    graph_def.node.add(name="call/rows", op="NoOp")


def _empty_loop(_: Any, graph_def: Any) -> None:
    body = graph_def.library.function[0]
    body.node_def.add(name="merge", op="Merge", input=["next:output:0"])
    body.node_def.add(name="next", op="NextIteration", input=["merge:output:0"])


@pytest.mark.parametrize(
    ("damage", "code", "where"),
    [
        (_another_function, "no-such-function", "call"),
        (_no_function, "function-malformed", "call"),
        (_another_input, "function-malformed", "call"),
        (_another_output, "function-malformed", "call"),
        (_name_taken, "duplicate-node-name", "call/rows"),
        (_empty_loop, "graph-cycle", "call/merge"),
    ],
)
def test_calls_that_cannot_be(damage: Callable[[Any, Any], None], code: str, where: str) -> None:
    graph_def = text_format.Parse(PLACEHOLDERS, GraphDef())
    damage(graph_def.node[2], graph_def)
    with pytest.raises(GraphError) as caught:
        _inline_calls(Editor(Graph(graph_def)))
    assert (caught.value.code, caught.value.where) == (code, where)


@pytest.mark.parametrize("resolve", [resolve_if, resolve_case])
def test_conditionals_without_branches(resolve: Callable[[Editor, Node, bool], object]) -> None:
    graph = _placeholders()
    with pytest.raises(GraphError) as caught:
        resolve(Editor(graph), graph.node("call"), True)
    assert (caught.value.code, caught.value.where) == ("function-malformed", "call")


def test_the_call_itself_stays() -> None:
    """`inline_call` adds the body and leaves the rest to its caller."""
    graph = _placeholders()
    call = graph.node("call")
    before = call.proto.SerializeToString(deterministic=True)
    editor = Editor(graph)
    library = functions_of(graph.graph_def)
    inlined = inline_call(editor, call, call.proto.attr["f"].func, call.inputs, library, in_scope("copy"))
    editor.commit()
    assert call.proto.SerializeToString(deterministic=True) == before
    assert list(map(str, inlined.outputs)) == ["copy/rows:0", "copy/rows:1"]
    assert (inlined.types, inlined.controls) == ([1, 1], [])
    assert {key: node.name for key, node in inlined.nodes.items()} == {
        key: f"copy/{key}" for key in ("packed", "chosen", "rows")
    }
    assert call.uses == [(graph.node("out"), 0), (graph.node("out"), 1)]
    verify_links(graph)
