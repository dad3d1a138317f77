from __future__ import annotations

import pytest

from fqrewrite.errors import GraphError
from fqrewrite.ir.graph import Graph, split_tensor
from fqrewrite.ir.text import parse
from fqrewrite.proto import GraphDef, NodeDef

DIAMOND = """
split = Split(axis, x) {num_split: 2}
axis = Const {value: 0}
x = Placeholder
a/sum = AddV2(split:1, split:1, ^x)
b = Mul(a/sum, split, ^x, ^a/sum)
"""


def test_who_reads_what() -> None:
    graph = Graph(parse(DIAMOND))
    split, total, product = graph.node("split"), graph.node("a/sum"), graph.node("b")
    assert [str(value) for value in total.inputs] == ["split:1", "split:1"]
    assert [str(value) for value in product.inputs] == ["a/sum:0", "split:0"]
    assert split.uses == [(total, 0), (total, 1), (product, 1)]
    assert split.value(1).uses() == [(total, 0), (total, 1)]
    assert split.value(1).consumers() == [total]
    assert split.value(2).uses() == []
    assert product.controls == [graph.node("x"), total]
    assert graph.node("x").uses == [(split, 1)]  # control edges are no uses


def test_nodes_by_name_and_op() -> None:
    graph = Graph(parse(DIAMOND))
    assert len(graph) == 5
    assert [node.name for node in graph] == ["split", "axis", "x", "a/sum", "b"]
    assert [node.name for node in graph.by_op("Mul", "Split", "Const", "Nothing")] == ["split", "axis", "b"]
    assert graph.by_op("Nothing") == []
    assert set(graph.op_types()) == {"Split", "Const", "Placeholder", "AddV2", "Mul"}
    assert "a/sum" in graph
    assert "sum" not in graph
    assert (graph.node("a/sum").scope, graph.node("b").scope) == ("a", "")


def test_values_by_name() -> None:
    graph = Graph(parse(DIAMOND))
    assert graph.value("split:1") == graph.node("split").value(1)
    assert graph.value("b") == graph.value("b:0")
    with pytest.raises(GraphError, match="no node 'c'") as caught:
        graph.value("c:0")
    assert caught.value.code == "no-such-node"


def test_the_graph_def_is_not_touched() -> None:
    graph_def = parse(DIAMOND)
    before = graph_def.SerializeToString(deterministic=True)
    Graph(graph_def)
    assert graph_def.SerializeToString(deterministic=True) == before


def test_an_empty_graph() -> None:
    graph = Graph(GraphDef())
    assert (len(graph), list(graph.op_types())) == (0, [])


@pytest.mark.parametrize(
    ("text", "code", "where"),
    [
        ("a = NoOp\na = NoOp", "duplicate-node-name", "a"),
        ("a = Identity(b)", "dangling-input", "a"),
        ("a = Identity(b:1)", "dangling-input", "a"),
        ("a = NoOp(^b)", "dangling-input", "a"),
        ("a = NoOp\nb = Identity(a:x)", "bad-input-syntax", "a:x"),
        ("a = NoOp\nb = Identity(a:-1)", "bad-input-syntax", "a:-1"),
        ("a = NoOp\nb = Identity(:0)", "bad-input-syntax", ":0"),
        ("a = Const {value: 1.0}\nb = Add(^a, a)", "bad-input-syntax", "b"),
        ("a = Const {value: 1.0}\nb = Add(a, ^a, a:0)", "bad-input-syntax", "b"),
    ],
)
def test_wrong_graphs(text: str, code: str, where: str) -> None:
    with pytest.raises(GraphError) as caught:
        Graph(parse(text))
    assert (caught.value.code, caught.value.where) == (code, where)


@pytest.mark.parametrize("node", [NodeDef(name="a"), NodeDef(op="NoOp")])
def test_nodes_need_a_name_and_an_op(node: object) -> None:
    with pytest.raises(GraphError, match="node number 1") as caught:
        Graph(GraphDef(node=[NodeDef(name="first", op="NoOp"), node]))
    assert caught.value.code == "node-name-missing"


@pytest.mark.parametrize(
    ("text", "tensor"),
    [("a", ("a", 0)), ("a:0", ("a", 0)), ("s/a:12", ("s/a", 12)), ("f:out:3", ("f:out", 3))],
)
def test_split_tensor(text: str, tensor: tuple[str, int]) -> None:
    assert split_tensor(text) == tensor
