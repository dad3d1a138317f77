"""Operations written as others that compute the same, in train and eval graphs."""

from __future__ import annotations

import pytest

from fqrewrite.errors import GraphError
from fqrewrite.ir.editor import Editor
from fqrewrite.ir.graph import Graph
from fqrewrite.ir.text import parse
from fqrewrite.proto.tensors import float_scalar
from fqrewrite.transform.emitter import Emitter
from fqrewrite.transform.respell import respell

TEXT = "x = Placeholder {shape: [2]}\nz = Placeholder {shape: [2]}\ny = %s\nend = Relu(y)\n"


def _respelled(text: str) -> Graph:
    graph = Graph(parse(TEXT % text))
    editor = Editor(graph)
    with editor.shared():
        respell(graph.node("y"), Emitter(editor, resource=False), "eval")
    return graph


@pytest.mark.parametrize(
    ("old", "op", "inputs"),
    [("AddN(x, z)", "AddV2", ["x:0", "z:0"]), ("Square(x)", "Mul", ["x:0", "x:0"])],
)
def test_keeps_name_and_readers(old: str, op: str, inputs: list[str]) -> None:
    graph = _respelled(old)
    node = graph.node("y")
    assert (node.op, list(map(str, node.inputs))) == (op, inputs)
    assert [user.name for user, _ in node.value().uses()] == ["end"]


def test_a_sign_becomes_a_factor() -> None:
    node = _respelled("Neg(x)").node("y")
    assert node.op == "Mul"
    assert str(node.inputs[0]) == "x:0"
    assert float_scalar(node.inputs[1].node.proto.attr["value"].tensor) == -1.0


@pytest.mark.parametrize("text", ["AddN(x, z, x)", "Elu(x)"])
def test_nothing_else_can_be_written_in_another_way(text: str) -> None:
    with pytest.raises(GraphError) as caught:
        _respelled(text)
    assert caught.value.code == "plan-mismatch"
