"""Object graphs, checkpoints' object graphs and savers, without TensorFlow."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import text_format

from fqrewrite.errors import GraphError, Refusal
from fqrewrite.ir.block import BlockVariable
from fqrewrite.ir.graph import Graph
from fqrewrite.outline.compact import drop_unused
from fqrewrite.outline.functions import redirect, root_functions
from fqrewrite.outline.records import SavedObjectGraph, TrackableObjectGraph, function_name, signature_call
from fqrewrite.outline.saver import extend_saver
from fqrewrite.outline.variables import NewVariable, complete_lists, extend_tracking, free_home, new_variables, track
from fqrewrite.proto import GraphDef, MetaGraphDef
from fqrewrite.proto.attrs import shape_attr, type_attr
from fqrewrite.proto.dtypes import DT_FLOAT, DT_INT64
from fqrewrite.proto.tensors import scalar_tensor


def _child(number: int, name: str) -> str:
    return f'children {{ node_id: {number} local_name: "{name}" }}'


_OBJECT = 'user_object { identifier: "_generic_user_object" }'
_LIST = 'user_object { identifier: "trackable_list_wrapper" }'


def _objects(*nodes: str) -> Any:
    return text_format.Parse(" ".join(f"nodes {{ {node} }}" for node in nodes), SavedObjectGraph())


def _graph() -> Graph:
    graph_def = GraphDef()
    for name, dtype in (("conv/quant/max", DT_FLOAT), ("conv/quant/max/local_step", DT_FLOAT), ("steps", DT_INT64)):
        node = graph_def.node.add(name=name, op="VarHandleOp")
        node.attr["dtype"].CopyFrom(type_attr(dtype))
        node.attr["shape"].CopyFrom(shape_attr(()))
    graph_def.node.add(name="zero", op="Const").attr["value"].tensor.CopyFrom(scalar_tensor(0.0, DT_FLOAT))
    graph_def.node.add(name="random", op="RandomUniform")
    return Graph(graph_def)


def _variables(*names: str) -> list[BlockVariable]:
    return [BlockVariable(name, f"{name}/Assign", "zero", f"{name}/read", True) for name in names]


def _new(*names: str, home: str = "fqrewrite") -> list[NewVariable]:
    return new_variables(_graph(), _variables(*names), (), home)


def test_keys_are_paths_through_objects() -> None:
    (variable,) = _new("conv/quant/max", home="fqrewrite_1")
    assert variable.key == "fqrewrite_1/conv.Squant.Smax/.ATTRIBUTES/VARIABLE_VALUE"
    objects = _objects(_child(1, "fqrewrite") + _OBJECT, _OBJECT)
    assert free_home(objects) == "fqrewrite_1"


def test_a_start_must_be_known() -> None:
    variable = _variables("steps")[0]._replace(initial="random")
    with pytest.raises(GraphError) as caught:
        new_variables(_graph(), [variable], (), "fqrewrite")
    assert (caught.value.code, caught.value.where) == ("variable-without-value", "steps")


def test_replicas_are_averaged_and_steps_counted_once() -> None:
    objects = _objects(_OBJECT)
    ids = track(objects, "fqrewrite", _new("conv/quant/max", "conv/quant/max/local_step", "steps"))
    saved = [objects.nodes[number].variable for number in ids.values()]
    enum = saved[0].DESCRIPTOR.fields_by_name["aggregation"].enum_type
    names = [enum.values_by_number[variable.aggregation].name.rpartition("AGGREGATION_")[2] for variable in saved]
    assert names == ["MEAN", "ONLY_FIRST_REPLICA", "ONLY_FIRST_REPLICA"]
    assert [variable.synchronization for variable in saved] == [3, 3, 3]  # ON_READ
    assert not any(variable.trainable for variable in saved)
    (trained,) = new_variables(_graph(), _variables("conv/quant/max"), {"conv/quant/max"}, "fqrewrite")
    (number,) = track(objects, "fqrewrite_1", [trained]).values()
    assert objects.nodes[number].variable.trainable
    assert objects.nodes[number].variable.synchronization == 0


def test_lists_of_variables() -> None:
    """Those that the root has are completed; without, all below the root are listed but for optimizers' slots."""
    weight, statistic = "variable { trainable: true }", "variable { }"
    listed = _objects(
        _child(1, "variables") + _child(4, "optimizer") + _OBJECT,
        _child(2, "0") + _child(3, "1") + _LIST,
        weight,
        statistic,
        _child(5, "rate") + _OBJECT,
        statistic,
    )
    unlisted = _objects(
        _child(1, "w") + _child(2, "s") + _child(3, "optimizer") + _child(4, "trainable_variables") + _OBJECT,
        weight,
        statistic,
        f"slot_variables {{ original_variable_node_id: 1 slot_variable_node_id: 5 }} {_child(5, 'm')} {_OBJECT}",
        _OBJECT,  # no list: it stays as it is
        statistic,
    )
    found = []
    for objects in (listed, unlisted):
        new = list(track(objects, "fqrewrite", _new("steps")).values())
        complete_lists(objects, new)
        names = {child.local_name: child.node_id for child in objects.nodes[0].children}
        lists = [names[name] for name in ("variables", "trainable_variables", "non_trainable_variables")]
        found.append([[child.node_id for child in objects.nodes[number].children] for number in lists])
        keys = [[child.local_name for child in objects.nodes[number].children] for number in lists]
        assert keys == [[str(index) for index in range(len(numbers))] for numbers in found[-1]]
    assert found == [[[2, 3, 7], [2], [3, 7]], [[1, 2, 7], [], [2, 7]]]


def test_a_checkpoint_learns_of_new_objects() -> None:
    """Objects that it knows are found by their names, however deep they are, before new ones are entered."""
    objects = _objects(
        _child(4, "variables") + _child(1, "net") + _child(3, "call") + _OBJECT,
        _child(2, "w") + _OBJECT,
        "variable { }",
        "function { }",
        _child(2, "0") + _LIST,
    )
    (number,) = track(objects, "fqrewrite", _new("steps")).values()
    graph = text_format.Parse(
        f"nodes {{ {_child(2, 'net')} }} nodes {{ }} nodes {{ {_child(1, 'w')} }}", TrackableObjectGraph()
    )
    extend_tracking(graph, objects, {number: ("steps", "fqrewrite/steps/.ATTRIBUTES/VARIABLE_VALUE")})
    children = [{child.local_name: child.node_id for child in node.children} for node in graph.nodes]
    assert children == [{"net": 2, "variables": 3, "fqrewrite": 4}, {}, {"w": 1}, {"0": 1}, {"steps": 5}, {}]
    (attribute,) = graph.nodes[5].attributes
    assert attribute.checkpoint_key == "fqrewrite/steps/.ATTRIBUTES/VARIABLE_VALUE"


def _with_functions() -> Any:
    """A root with a function that has two traces, and one that nothing reaches."""
    objects = _objects(
        _child(1, "__call__") + _child(4, "keras_api") + _OBJECT,
        _child(2, "trace_0") + _child(3, "trace_1") + 'function { concrete_functions: ["f", "g"] } '
        'dependencies { node_id: 2 local_name: "trace_0" } dependencies { node_id: 3 local_name: "trace_1" }',
        'bare_concrete_function { concrete_function_name: "f" }',
        'bare_concrete_function { concrete_function_name: "g" }',
        _child(1, "__call__") + _OBJECT,
        "variable { }",
    )
    for name in ("f", "g", "left_over"):
        objects.concrete_functions[name].bound_inputs.append(5)
    return objects


def test_functions_are_redirected_and_removed() -> None:
    objects = _with_functions()
    assert [(function.name, function.concrete) for function in root_functions(objects)] == [("__call__", ("f", "g"))]
    redirect(objects, {"f": "new"}, {"g"})
    assert list(objects.nodes[1].function.concrete_functions) == ["new"]
    assert [child.local_name for child in objects.nodes[1].children] == ["trace_0"]
    assert [entry.local_name for entry in objects.nodes[1].dependencies] == ["trace_0"]
    redirect(objects, {}, {"new"})
    assert [child.local_name for child in objects.nodes[0].children] == ["keras_api"]
    assert not objects.nodes[4].children


def test_what_is_not_needed_goes_and_numbers_close_up() -> None:
    meta_graph = MetaGraphDef()
    meta_graph.object_graph_def.CopyFrom(_with_functions())
    library = meta_graph.graph_def.library
    for name, called in (("f", "inner"), ("g", "Relu"), ("left_over", "Relu"), ("inner", "Relu"), ("gradient", "Relu")):
        function = library.function.add()
        function.signature.name = name
        node = function.node_def.add(name="n", op=called)
        if name == "inner":
            node.attr["_gradient_op_type"].s = b"Mine"
    library.registered_gradients.add(registered_op_type="Mine", gradient_func="gradient")
    library.registered_gradients.add(registered_op_type="Other", gradient_func="left_over")
    meta_graph.meta_info_def.function_aliases["left_over"] = "alias"
    redirect(meta_graph.object_graph_def, {}, {"g"})
    drop_unused(meta_graph)
    assert [function.signature.name for function in library.function] == ["f", "inner", "gradient"]
    assert [entry.registered_op_type for entry in library.registered_gradients] == ["Mine"]
    assert not meta_graph.meta_info_def.function_aliases
    objects = meta_graph.object_graph_def
    assert [node.WhichOneof("kind") for node in objects.nodes] == [
        *("user_object", "function", "bare_concrete_function", "user_object", "variable")
    ]
    assert {name: list(saved.bound_inputs) for name, saved in objects.concrete_functions.items()} == {"f": [4]}
    assert [child.node_id for child in objects.nodes[0].children] == [1, 3]


def test_a_saver_of_another_form_is_left_alone() -> None:
    meta_graph = MetaGraphDef()
    meta_graph.graph_def.node.add(name="save/restore_all", op="NoOp")
    meta_graph.graph_def.node.add(name="save/done", op="Identity")
    meta_graph.saver_def.save_tensor_name, meta_graph.saver_def.restore_op_name = "save/done:0", "save/restore_all"
    before = meta_graph.SerializeToString(deterministic=True)
    assert not extend_saver(meta_graph, _new("steps"))
    assert meta_graph.SerializeToString(deterministic=True) == before
    assert not extend_saver(MetaGraphDef(), _new("steps"))


def test_signatures_that_are_no_calls_are_refused() -> None:
    meta_graph = MetaGraphDef()
    meta_graph.graph_def.node.add(name="x", op="Placeholder")
    meta_graph.signature_def["mine"].outputs["y"].name = "x:0"
    with pytest.raises(Refusal) as caught:
        signature_call(meta_graph, "mine")
    assert (caught.value.code, caught.value.where) == ("signature-not-a-call", "mine")


def test_function_names_are_free() -> None:
    taken = {"__inference_f_0"}
    assert [function_name("f", taken), function_name("f", taken)] == ["__inference_f_1", "__inference_f_2"]
    assert len(taken) == 3
