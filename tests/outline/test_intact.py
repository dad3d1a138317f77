"""Object graphs that something is missing from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fqrewrite.errors import GraphError
from fqrewrite.outline.intact import check_objects
from fqrewrite.proto import MetaGraphDef


def _meta_graph() -> Any:
    message = MetaGraphDef()
    graph = message.object_graph_def
    root, variable, function = graph.nodes.add(), graph.nodes.add(), graph.nodes.add()
    for number, name in ((1, "v"), (2, "f")):
        root.children.add(node_id=number, local_name=name)
    variable.variable.name = "v"
    function.function.concrete_functions.append("f")
    graph.concrete_functions["f"].bound_inputs.append(1)
    signature = message.graph_def.library.function.add().signature
    signature.name = "f"
    signature.input_arg.add(name="v")
    return message


def test_a_whole_one() -> None:
    check_objects(_meta_graph(), "m")


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (lambda message: message.object_graph_def.nodes.pop(), "object 0 refers to object 2, and there are 2"),
        (lambda message: message.graph_def.library.function.pop(), "the graph's library has no function 'f'"),
        (lambda message: message.graph_def.library.function[0].signature.input_arg.pop(), "'f' captures 1 objects"),
        (
            lambda message: message.object_graph_def.concrete_functions["f"].bound_inputs.__setitem__(0, -1),
            "'f' captures object -1",
        ),
    ],
)
def test_damage(damage: Callable[[Any], object], what: str) -> None:
    message = _meta_graph()
    damage(message)
    with pytest.raises(GraphError, match=what) as caught:
        check_objects(message, "m/saved_model.pb")
    assert (caught.value.code, caught.value.where) == ("object-graph-damaged", "m/saved_model.pb")
