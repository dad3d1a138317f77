"""Bodies of library functions as graphs."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import text_format

from fqrewrite.errors import GraphError
from fqrewrite.ir.functions import (
    ARGUMENT,
    count_nodes,
    drop_unused_functions,
    find_function,
    function_of,
    functions_of,
    instantiate,
    reachable_functions,
    remember_function,
)
from fqrewrite.ir.graph import Graph
from fqrewrite.ir.text import format_graph
from fqrewrite.proto import GraphDef, NodeDef
from fqrewrite.proto.attrs import int_attr, type_attr, types_attr

# Lists of a length and of types, placeholders at every depth, outputs of every form, in no order.
BODY = """
function {
  signature {
    name: "f"
    input_arg { name: "xs" type_attr: "T" number_attr: "N" }
    input_arg { name: "y" type: DT_FLOAT }
    input_arg { name: "zs" type_list_attr: "Ts" }
    output_arg { name: "parts" type_attr: "T" number_attr: "N" }
    output_arg { name: "best" type: DT_INT32 }
    output_arg { name: "all" type_list_attr: "Ts" }
    attr { name: "T" type: "type" }
    attr { name: "N" type: "int" default_value { i: 2 } }
    attr { name: "Ts" type: "list(type)" }
  }
  node_def { name: "top" op: "TopKV2" input: "y" input: "n:output" attr { key: "T" value { placeholder: "T" } } }
  node_def { name: "n" op: "Const" input: "^zs" }
  node_def { name: "sum" op: "AddN" input: "xs" input: "^top" attr { key: "N" value { placeholder: "N" } } }
  node_def { name: "split" op: "Split" input: "n:output:0" input: "xs:1"
             attr { key: "num_split" value { placeholder: "N" } } }
  node_def { name: "inner" op: "g" input: "split:output:1"
             attr { key: "b" value { func { name: "h" attr { key: "U" value { placeholder: "T" } } } } } }
  node_def { name: "both" op: "IdentityN" input: "inner:second" input: "inner:first:1"
             attr { key: "bs" value { list { func { name: "h" attr { key: "U" value { placeholder: "Ts" } } } } } } }
  ret { key: "parts" value: "split:output" }
  ret { key: "best" value: "top:indices:0" }
  ret { key: "all" value: "zs" }
  control_ret { key: "1" value: "sum" }
  control_ret { key: "2" value: "n" }
  control_ret { key: "3" value: "y" }
}
function { signature { name: "g"
  output_arg { name: "first" type: DT_FLOAT number_attr: "M" } output_arg { name: "second" type: DT_FLOAT }
  attr { name: "M" type: "int" } } }
"""


def _library(text: str) -> dict[str, Any]:
    return functions_of(text_format.Parse(f"library {{ {text} }}", GraphDef()))


def test_a_body_as_a_graph() -> None:
    library = _library(BODY)
    library["f"].node_def[4].attr["M"].CopyFrom(int_attr(2))
    before = library["f"].SerializeToString(deterministic=True)
    body = instantiate(library["f"], {"T": type_attr(1), "Ts": types_attr([1, 9])}, library)

    assert library["f"].SerializeToString(deterministic=True) == before
    assert [(node.name, list(node.proto.input)) for node in body.graph if node.op != ARGUMENT] == [
        ("top", ["y", "n"]),
        ("n", ["^zs"]),
        ("sum", ["xs", "xs:1", "^top"]),
        ("split", ["n", "xs:1"]),
        ("inner", ["split:1"]),
        ("both", ["inner:2", "inner:1"]),
    ]
    assert list(map(str, body.arguments)) == ["xs:0", "xs:1", "y:0", "zs:0", "zs:1"]
    assert list(map(str, body.outputs)) == ["split:0", "split:1", "top:1", "zs:0", "zs:1"]
    assert body.types == [1, 1, 3, 1, 9]
    assert [node.name for node in body.controls] == ["sum", "n"]
    nodes = {node.name: node.proto for node in body.graph}
    assert format_graph(GraphDef(node=[nodes["top"], nodes["sum"]])) == (
        "top = TopKV2(y, n)\nsum = AddN(xs, xs:1, ^top) {T: none}\n"
    )
    assert nodes["inner"].attr["b"].func.attr["U"].type == 1
    assert list(nodes["both"].attr["bs"].list.func[0].attr["U"].list.type) == [1, 9]


def _function(signature: str, rest: str) -> str:
    return f'function {{ signature {{ name: "f" {signature} }} {rest} }}'


X = 'input_arg { name: "x" type: DT_FLOAT }'
Y = 'output_arg { name: "y" type: DT_FLOAT }'
TOP = 'node_def { name: "top" op: "TopKV2" input: "x" input: "x" }'


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        (_function(X, 'node_def { name: "n" op: "Relu" input: "z" }'), "function-malformed", "'z' names none"),
        (_function(X, 'node_def { name: "n" op: "Relu" input: "x:1" }'), "function-malformed", "'x:1' names none"),
        (_function(X, 'node_def { name: "n" op: "Relu" input: "x:0:0" }'), "function-malformed", "'x:0:0' names none"),
        (_function(X, 'node_def { name: "n" op: "Relu" input: "^z" }'), "dangling-input", "'^z' names a node"),
        (_function(X, 'node_def { name: "x" op: "Relu" input: "x" }'), "duplicate-node-name", "two nodes"),
        (_function(X, 'node_def { name: "n" op: "_Arg" }'), "function-malformed", "its node 'n' has the op"),
        (_function(X + Y, f'{TOP} ret {{ key: "y" value: "top" }}'), "function-malformed", "'top' names none"),
        (_function(X + Y, f'{TOP} ret {{ key: "y" value: "top:best:0" }}'), "unknown-output-argument", "called 'best'"),
        (_function(X + Y, f'{TOP} ret {{ key: "y" value: "top:values:1" }}'), "function-malformed", "'top:values:1'"),
        (_function(X + Y, f'{TOP} ret {{ key: "y" value: "top:values:a" }}'), "function-malformed", "'top:values:a'"),
        (_function(X + Y, TOP), "function-malformed", "its output 'y' is not returned"),
        (_function(X, 'control_ret { key: "c" value: "n" }'), "no-such-node", "no node 'n'"),
        (_function('input_arg { name: "x" type_attr: "T" }', ""), "function-malformed", "gives no attribute 'T'"),
        (
            _function(X, 'node_def { name: "n" op: "Relu" attr { key: "T" value { placeholder: "U" } } }'),
            "function-malformed",
            "gives no attribute 'U'",
        ),
    ],
)
def test_functions_that_contradict_themselves(text: str, code: str, said: str) -> None:
    library = _library(text)
    with pytest.raises(GraphError) as caught:
        instantiate(library["f"], {}, library)
    assert caught.value.code == code
    assert said in caught.value.what


def test_functions_are_found_by_name() -> None:
    library = _library(BODY)
    assert find_function(library, "g", "call") is library["g"]
    with pytest.raises(GraphError) as caught:
        find_function(library, "h", "call")
    assert (caught.value.code, caught.value.where) == ("no-such-function", "call")


def test_functions_without_a_caller_go() -> None:
    graph_def = text_format.Parse(
        """
        node { name: "a" op: "direct" }
        node { name: "b" op: "If" attr { key: "then_branch" value { func { name: "then"
               attr { key: "g" value { func { name: "as_attribute" } } } } } } }
        node { name: "c" op: "Case" attr { key: "branches" value { list { func { name: "branch" } } } } }
        library {
          function { signature { name: "unused" } node_def { name: "n" op: "only_from_unused" } }
          function { signature { name: "direct" } node_def { name: "n" op: "through" } }
          function { signature { name: "through" } node_def { name: "n" op: "direct" } }
          function { signature { name: "then" } attr { key: "backward_function_name" value { s: "backward" } } }
          function { signature { name: "backward" } }
          function { signature { name: "only_from_unused" } }
          function { signature { name: "as_attribute" } }
          function { signature { name: "branch" } }
          function { signature { name: "gradient" } }
          gradient { function_name: "branch" gradient_func: "gradient" }
          gradient { function_name: "unused" gradient_func: "gradient" }
        }
        """,
        GraphDef(),
    )
    kept = set(functions_of(graph_def)) - {"unused", "only_from_unused"}
    assert drop_unused_functions(graph_def) == ["unused", "only_from_unused"]
    assert set(functions_of(graph_def)) == kept
    assert [entry.function_name for entry in graph_def.library.gradient] == ["branch"]
    assert drop_unused_functions(graph_def) == []


def test_custom_gradients_stay_with_what_they_are_of() -> None:
    graph_def = text_format.Parse(
        """
        node { name: "swish" op: "IdentityN" attr { key: "_gradient_op_type" value { s: "Custom-1" } } }
        library {
          function { signature { name: "needed" } node_def { name: "call" op: "helper" } }
          function { signature { name: "helper" } }
          function { signature { name: "unused" } }
          registered_gradients { gradient_func: "needed" registered_op_type: "Custom-1" }
          registered_gradients { gradient_func: "unused" registered_op_type: "Custom-2" }
        }
        """,
        GraphDef(),
    )
    assert drop_unused_functions(graph_def) == ["unused"]
    assert [entry.gradient_func for entry in graph_def.library.registered_gradients] == ["needed"]


def test_the_functions_that_run() -> None:
    library = _calling(a=("If b c", "d"), b=("Relu",), c=("b",), d=("d", "missing"), e=("a",))
    (call,) = _calling(call=("x a",))["call"].node_def
    assert reachable_functions(library, [call]) == {
        "a": ["n", "a"],
        "b": ["n", "a", "b"],
        "c": ["n", "a", "c"],
        "d": ["n", "a", "d"],
    }


def test_a_node_knows_the_first_function_that_it_stood_in() -> None:
    node = Graph(GraphDef(node=[NodeDef(name="n", op="Relu")])).node("n")
    assert function_of(node) == ""
    remember_function(node, "inner")
    remember_function(node, "outer")
    assert function_of(node) == "inner"


def _calling(**bodies: tuple[str, ...]) -> dict[str, Any]:
    """Functions that call others: "Op" is a node, "Op f g" one that is passed the functions f and g."""
    graph_def = GraphDef()
    for name, nodes in bodies.items():
        function = graph_def.library.function.add()
        function.signature.name = name
        for text in nodes:
            op, *called = text.split()
            node = function.node_def.add(name="n", op=op)
            for number, other in enumerate(called):
                if op == "Case":
                    node.attr["branches"].list.func.add(name=other)
                else:
                    node.attr[f"f{number}"].func.name = other
    return functions_of(graph_def)


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("none", 0),
        ("two", 2),
        ("calls", 3),
        ("either", 2),
        ("maybe", 0),
        ("case", 0),
        ("loop", 1),
        ("missing", 0),
        ("calls_missing", 0),
    ],
)
def test_nodes_that_run_at_least(name: str, number: int) -> None:
    library = _calling(
        none=("Neg",),
        two=("Relu", "Neg", "Relu"),
        calls=("PartitionedCall two", "Relu"),
        either=("If two calls",),
        maybe=("StatelessIf two none",),
        case=("Case two none calls",),
        loop=("Relu", "While loop"),
        calls_missing=("PartitionedCall missing",),
    )
    assert count_nodes(library, name, lambda node: node.op == "Relu") == number
