"""Parts of graphs as functions."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import text_format

from fqrewrite.errors import GraphError
from fqrewrite.ir.functions import functions_of, instantiate
from fqrewrite.ir.graph import Graph
from fqrewrite.outline.body import BodyWriter, has_effect, needed_nodes
from fqrewrite.outline.records import Argument
from fqrewrite.proto import GraphDef, NodeDef
from fqrewrite.proto.attrs import shape_proto
from fqrewrite.proto.dtypes import DT_FLOAT, DT_INT32, DT_RESOURCE

_GRAPH = """
  node { name: "x" op: "Placeholder" attr { key: "dtype" value { type: DT_FLOAT } } }
  node { name: "v" op: "VarHandleOp" }
  node { name: "initial" op: "Const" }
  node { name: "v/Assign" op: "AssignVariableOp" input: "v" input: "initial" }
  node { name: "top" op: "TopKV2" input: "x" input: "k" }
  node { name: "k" op: "Const" }
  node { name: "moved" op: "AssignAddVariableOp" input: "v" input: "top" }
  node { name: "read" op: "ReadVariableOp" input: "v" input: "^moved" input: "^v" }
  node { name: "split" op: "Split" input: "k" input: "read"
         attr { key: "num_split" value { i: 2 } } attr { key: "_output_shapes" value { list { } } } }
  node { name: "call" op: "IdentityN" input: "split:1" input: "top:1" }
  node { name: "after" op: "Relu" input: "call" input: "^call" }
  node { name: "other" op: "Relu" input: "x" }
"""


def _graph() -> Graph:
    return Graph(text_format.Parse(_GRAPH, GraphDef()))


def _written(graph: Graph) -> Any:
    outside = frozenset({graph.node("x"), graph.node("v")})
    needed = needed_nodes([graph.node("call"), graph.node("after")], outside)
    bound = {graph.value("x"): "image", graph.value("v"): "handle"}
    writer = BodyWriter([node for node in graph if node in needed], bound, {}, graph.node("call"))
    arguments = [
        Argument("image", DT_FLOAT, shape_proto((-1, 3))),
        Argument("handle", DT_RESOURCE, shape_proto(()), (DT_FLOAT, shape_proto((3,)))),
    ]
    outputs = [
        ("a", DT_FLOAT, graph.value("call")),
        ("b", DT_INT32, graph.value("call:1")),
        ("c", DT_FLOAT, graph.value("x")),
    ]
    return writer.write("f", arguments, outputs, {"after": "MyGradient"})


def test_a_function_computes_what_the_nodes_did() -> None:
    function = _written(_graph())
    body = instantiate(function, {}, {"f": function})
    assert [str(value) for value in body.outputs] == ["split:1", "top:1", "image:0"]
    assert body.types == [DT_FLOAT, DT_INT32, DT_FLOAT]
    assert {node.name: [str(value) for value in node.inputs] for node in body.graph if node.inputs} == {
        "top": ["image:0", "k:0"],
        "moved": ["handle:0", "top:0"],
        "read": ["handle:0"],
        "split": ["k:0", "read:0"],
        "after": ["split:1"],
    }
    assert [node.name for node in body.graph.node("read").controls] == ["moved"]
    assert [node.name for node in body.graph.node("after").controls] == ["split", "top"]
    assert [node.name for node in body.controls] == ["moved"]


def test_arguments_tell_shapes_and_what_is_behind_handles() -> None:
    function = _written(_graph())
    shapes = function.attr["_input_shapes"].list.shape
    assert [[size.size for size in shape.dim] for shape in shapes] == [[-1, 3], []]
    (behind,) = function.signature.input_arg[1].handle_data
    assert (behind.dtype, [size.size for size in behind.shape.dim]) == (DT_FLOAT, [3])


def test_attributes_that_do_not_hold_any_more_go() -> None:
    nodes = {node.name: node for node in _written(_graph()).node_def}
    assert "_output_shapes" not in nodes["split"].attr
    assert nodes["after"].attr["_gradient_op_type"].s == b"MyGradient"


def test_what_is_outside_must_be_captured() -> None:
    graph = _graph()
    writer = BodyWriter([graph.node("other")], {}, {})
    with pytest.raises(GraphError) as caught:
        writer.write("f", [], [("a", DT_FLOAT, graph.value("other"))], {})
    assert (caught.value.code, caught.value.where) == ("function-malformed", "x:0")


@pytest.mark.parametrize("expected", [True, False])
def test_what_has_an_effect(expected: bool) -> None:
    graph_def = text_format.Parse(
        'library { function { signature { name: "f" is_stateful: true } } function { signature { name: "g" } } }',
        GraphDef(),
    )
    library = functions_of(graph_def)
    effective = ("AssignVariableOp", "Assert", "StatefulPartitionedCall", "f")
    idle = ("NoOp", "Conv2D", "ReadVariableOp", "StatelessIf", "g")
    graph_def.node.extend(NodeDef(name=op, op=op) for op in (effective if expected else idle))
    assert {has_effect(node, library) for node in Graph(graph_def)} == {expected}
