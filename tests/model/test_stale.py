from __future__ import annotations

from typing import Any

import pytest

from fqrewrite.ir.text import parse
from fqrewrite.model.stale import drop_output_shapes, drop_stale
from fqrewrite.proto import MetaGraphDef, message_class

GRAPH = """
p = Placeholder {dtype: bool, shape: []}
x = Placeholder
cond/Switch = Switch(p, p) {T: bool}
cond/pivot = Identity(cond/Switch:1) {T: bool}
cond/in = Switch(x, p)
enter = Enter(x) {frame_name: "f"}
merge = Merge(enter, next)
less = Less(merge, merge)
loop = LoopCond(less)
switch = Switch(merge, loop)
body = Identity(switch:1)
next = NextIteration(body)
exit = Exit(switch)
v = VariableV2
v/Assign = Assign(v, x)
v/read = Identity(v)
"""


def meta(text: str = GRAPH) -> Any:
    return MetaGraphDef(graph_def=parse(text))


def cond_context(pivot: str = "cond/pivot:0", values: tuple[str, ...] = ()) -> Any:
    context = message_class("tensorflow.CondContextDef")(
        context_name="cond/", pred_name="p:0", pivot_name=pivot, branch=1
    )
    context.values_def.values.extend(values)
    context.values_def.SetInParent()
    return context


def while_context(**changes: object) -> Any:
    names = {"pivot_for_pred_name": "loop:0", "pivot_for_body_name": "body:0", "pivot_name": "loop:0", **changes}
    context = message_class("tensorflow.WhileContextDef")(context_name="while/", **names)
    context.loop_exit_names.append("exit:0")
    context.loop_enter_names.append("enter:0")
    context.values_def.SetInParent()  # as TensorFlow writes it
    return context


def contexts(meta_graph: Any, key: str) -> list[Any]:
    message = message_class(f"tensorflow.{'CondContextDef' if key == 'cond_context' else 'WhileContextDef'}")
    return [message.FromString(entry) for entry in meta_graph.collection_def[key].bytes_list.value]


def test_node_lists() -> None:
    meta_graph = meta()
    meta_graph.collection_def["some"].node_list.value.extend(["x", "gone:0", "^v/Assign", "v/read:0"])
    meta_graph.collection_def["none"].node_list.value.append("gone")
    meta_graph.collection_def["other"].int64_list.value.append(3)
    assert drop_stale(meta_graph) == {"none": 1, "some": 1}
    assert list(meta_graph.collection_def["some"].node_list.value) == ["x", "^v/Assign", "v/read:0"]
    assert "none" not in meta_graph.collection_def
    assert list(meta_graph.collection_def["other"].int64_list.value) == [3]


@pytest.mark.parametrize(
    ("changes", "stays"),
    [
        ({}, True),
        ({"snapshot_name": "gone:0"}, False),
        ({"initializer_name": "gone"}, False),
        ({"variable_name": "gone:0"}, False),
        ({"initial_value_name": ""}, True),
    ],
)
def test_variables(changes: dict[str, str], stays: bool) -> None:
    meta_graph = meta()
    names = {
        "variable_name": "v:0",
        "initializer_name": "v/Assign",
        "snapshot_name": "v/read:0",
        "initial_value_name": "x:0",
        **changes,
    }
    variable = message_class("tensorflow.VariableDef")(**names)
    meta_graph.collection_def["variables"].bytes_list.value.append(variable.SerializeToString())
    assert bool(drop_stale(meta_graph)) is not stays
    assert ("variables" in meta_graph.collection_def) is stays


@pytest.mark.parametrize(("names", "stays"), [(("x", "x", "x"), True), (("x", "gone", "x"), False)])
def test_savers_and_queue_runners(names: tuple[str, str, str], stays: bool) -> None:
    meta_graph = meta()
    saver = meta_graph.saver_def
    saver.filename_tensor_name, saver.save_tensor_name, saver.restore_op_name = names
    runner = message_class("tensorflow.QueueRunnerDef")(queue_name=names[0], close_op_name=names[1])
    runner.enqueue_op_name.append(names[2])
    meta_graph.collection_def["savers"].bytes_list.value.append(saver.SerializeToString())
    meta_graph.collection_def["queue_runners"].bytes_list.value.append(runner.SerializeToString())
    assert drop_stale(meta_graph) == ({} if stays else {"savers": 1, "queue_runners": 1, "saver_def": 1})
    assert meta_graph.HasField("saver_def") is stays


def test_signatures() -> None:
    meta_graph = meta()
    for key, name in (("good", "x:0"), ("bad", "gone:0")):
        meta_graph.signature_def[key].inputs["in"].name = "x:0"
        meta_graph.signature_def[key].outputs["out"].name = name
    assert drop_stale(meta_graph) == {"signature_def": 1}
    assert set(meta_graph.signature_def) == {"good"}


def test_a_conditional_that_is_one_still() -> None:
    meta_graph = meta()
    context = cond_context(values=("cond/in:1", "gone:0"))
    context.values_def.external_values["cond/in:1"] = "x:0"
    context.values_def.external_values["gone:0"] = "x:0"
    meta_graph.collection_def["cond_context"].bytes_list.value.append(context.SerializeToString())
    assert drop_stale(meta_graph) == {}
    (left,) = contexts(meta_graph, "cond_context")
    assert list(left.values_def.values) == ["cond/in:1"]
    assert dict(left.values_def.external_values) == {"cond/in:1": "x:0"}


@pytest.mark.parametrize("pivot", ["gone:0", "v/read:0"])  # a resolved conditional's pivot reads no Switch
def test_a_conditional_that_is_none_any_more_frees_what_is_in_it(pivot: str) -> None:
    meta_graph = meta()
    outer = cond_context(pivot)
    outer.nested_contexts.add().cond_ctxt.CopyFrom(cond_context())
    outer.nested_contexts.add().while_ctxt.CopyFrom(while_context())
    outer.nested_contexts.add().cond_ctxt.CopyFrom(cond_context("gone:0"))
    meta_graph.collection_def["cond_context"].bytes_list.value.append(outer.SerializeToString())
    assert drop_stale(meta_graph) == {"cond_context": 1}
    assert contexts(meta_graph, "cond_context") == [cond_context()]
    assert contexts(meta_graph, "while_context") == [while_context()]


def test_a_loop_in_a_conditional_stays_in_it() -> None:
    meta_graph = meta()
    outer = cond_context()
    outer.nested_contexts.add().while_ctxt.CopyFrom(while_context())
    meta_graph.collection_def["cond_context"].bytes_list.value.append(outer.SerializeToString())
    assert drop_stale(meta_graph) == {}
    assert contexts(meta_graph, "cond_context") == [outer]


def test_a_loop_forgets_variables_that_are_gone() -> None:
    meta_graph = meta()
    context = while_context(maximum_iterations_name="gone:0")
    context.loop_exit_names.append("exit_1:0")
    context.loop_enter_names.append("enter_1:0")
    meta_graph.collection_def["while_context"].bytes_list.value.append(context.SerializeToString())
    drop_stale(meta_graph)
    assert contexts(meta_graph, "while_context") == [while_context()]


@pytest.mark.parametrize("name", ["pivot_name", "pivot_for_pred_name", "pivot_for_body_name"])
def test_a_loop_without_its_pivots_is_none(name: str) -> None:
    meta_graph = meta()
    entry = while_context(**{name: "gone:0"}).SerializeToString()
    meta_graph.collection_def["while_context"].bytes_list.value.append(entry)
    assert drop_stale(meta_graph) == {"while_context": 1}
    assert "while_context" not in meta_graph.collection_def


def test_output_shapes() -> None:
    meta_graph = meta("x = Placeholder\ny = Neg(x)\n")
    graph_def = meta_graph.graph_def
    function = graph_def.library.function.add()
    function.signature.name = "f"
    for node in (graph_def.node[1], function.node_def.add(name="n", op="Neg")):
        node.attr["_output_shapes"].list.shape.add()
    assert drop_output_shapes(graph_def) == 2
    assert drop_output_shapes(graph_def) == 0
    assert "_output_shapes" not in graph_def.node[1].attr
