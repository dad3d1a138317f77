from __future__ import annotations

from collections.abc import Callable

import pytest

from fqrewrite.errors import GraphError
from fqrewrite.ir.graph import Graph, Node
from fqrewrite.ir.text import parse
from fqrewrite.ir.verify import verify_links
from fqrewrite.proto import NodeDef

TEXT = "x = Placeholder\ny = Neg(x)\nz = Add(y, x, ^y)\n"


def _stranger() -> Node:
    return Node("stranger", "Neg", NodeDef(name="stranger", op="Neg"), 9)


def _renamed_node(graph: Graph) -> None:
    graph.node("y").name = "w"


def _renamed_message(graph: Graph) -> None:
    graph.node("y").proto.name = "w"


def _input_from_outside(graph: Graph) -> None:
    stranger, node = _stranger(), graph.node("y")
    node.inputs[0] = stranger.value()
    stranger.uses.append((node, 0))


def _unregistered_use(graph: Graph) -> None:
    graph.node("y").uses.clear()


def _use_of_another_slot(graph: Graph) -> None:
    graph.node("x").uses.remove((graph.node("z"), 1))
    graph.node("x").uses.append((graph.node("z"), 0))


def _use_that_is_none(graph: Graph) -> None:
    graph.node("z").uses.append((graph.node("y"), 0))


def _control_from_outside(graph: Graph) -> None:
    graph.node("y").controls.append(_stranger())


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (_renamed_node, "'w' is filed under 'y'"),
        (_renamed_message, "'y' is filed under 'y'"),
        (_input_from_outside, "y:in0 reads stranger:0"),
        (_unregistered_use, "y:0 does not know of its consumer z:in0"),
        (_use_of_another_slot, "x:0 does not know of its consumer z:in1"),
        (_use_that_is_none, "a consumer that does not read it"),
        (_control_from_outside, "y waits for stranger"),
    ],
)
def test_broken_links(damage: Callable[[Graph], None], what: str) -> None:
    graph = Graph(parse(TEXT))
    damage(graph)
    with pytest.raises(GraphError) as caught:
        verify_links(graph)
    assert caught.value.code == "broken-invariant"
    assert what in caught.value.what


def test_a_sound_graph_passes() -> None:
    verify_links(Graph(parse(TEXT)))
