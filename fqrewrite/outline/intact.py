"""Whether an object graph is whole: what its objects and functions refer to is there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fqrewrite.errors import GraphError
from fqrewrite.ir.functions import functions_of


def check_objects(meta_graph: Any, where: str) -> None:
    """Refuses a SavedModel of TensorFlow 2 that TensorFlow would not load either.

    Args:
        meta_graph: MetaGraphDef with an object graph.
        where: the file, for messages.

    Raises:
        GraphError: `object-graph-damaged`.
    """
    graph = meta_graph.object_graph_def
    library = functions_of(meta_graph.graph_def)
    for number, node in enumerate(graph.nodes):
        for other in objects_of(node):
            if not 0 <= other < len(graph.nodes):
                raise _damaged(f"object {number} refers to object {other}, and there are {len(graph.nodes)}", where)
    for name, function in sorted(graph.concrete_functions.items()):
        if name not in library:
            raise _damaged(f"the graph's library has no function {name!r}", where)
        bound, arguments = function.bound_inputs, library[name].signature.input_arg
        if len(bound) > len(arguments):
            raise _damaged(f"{name!r} captures {len(bound)} objects and has {len(arguments)} arguments", where)
        for other in bound:
            if not 0 <= other < len(graph.nodes):
                raise _damaged(f"{name!r} captures object {other}, and there are {len(graph.nodes)}", where)


def objects_of(node: Any) -> Iterator[int]:
    """The objects that a SavedObject refers to."""
    yield from (reference.node_id for reference in (*node.children, *node.dependencies))
    for slot in node.slot_variables:
        yield from (slot.original_variable_node_id, slot.slot_variable_node_id)
    for saveable in node.saveable_objects.values():
        yield from (saveable.save_function, saveable.restore_function)


def _damaged(what: str, where: str) -> GraphError:
    return GraphError("object-graph-damaged", f"the object graph is damaged: {what}", where=where)
