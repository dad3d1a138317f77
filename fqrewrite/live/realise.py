"""Doing a `Difference` to a live graph, with what TensorFlow has for that.

TensorFlow lets operations change their inputs by methods that are not public and that tf.contrib.quantize used, too
(`Operation._update_input`, `_add_control_inputs`, `_remove_all_control_inputs`, `_set_attr`).
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from fqrewrite.live.difference import Difference, collection_changes, new_variables
from fqrewrite.model.collections import GLOBAL_VARIABLES
from fqrewrite.model.tensorflow_import import tensorflow, variable_from_proto

_CLASS = "_class"


def realise(change: Difference, graph: Any) -> None:
    """Adds the new nodes to a graph, and then moves edges.

    The scopes that the caller is in (name, device, control dependencies, control flow) have no part in it.

    Args:
        change: what is to be done.
        graph: `tf.Graph`, in the state that the change was found in.
    """
    tf1 = tensorflow().compat.v1
    message = tf1.GraphDef.FromString(change.added.SerializeToString())
    new = {node.name for node in message.node}
    controls: dict[str, list[str]] = {}
    classes: dict[str, Any] = {}
    read: dict[str, Any] = {}
    for node in message.node:
        waits = [text[1:] for text in node.input if text.startswith("^")]
        if waits:
            controls[node.name] = waits
            node.input[:] = [text for text in node.input if not text.startswith("^")]
        if _CLASS in node.attr:
            # An import takes colocation with what it imports only.
            classes[node.name] = tf1.AttrValue.FromString(node.attr[_CLASS].SerializeToString())
            del node.attr[_CLASS]
        for text in node.input:
            if text.rpartition(":")[0] not in new:
                read[text] = graph.get_tensor_by_name(text)
    with _outside(graph):
        tf1.import_graph_def(message, input_map=read, name="")
    for name, value in classes.items():
        graph.get_operation_by_name(name)._set_attr(_CLASS, value)
    for consumer, slot, source in change.edges:
        graph.get_operation_by_name(consumer)._update_input(slot, graph.get_tensor_by_name(source))
    for name in change.waits:
        graph.get_operation_by_name(name)._remove_all_control_inputs()
    for name, before in {**controls, **change.waits}.items():
        graph.get_operation_by_name(name)._add_control_inputs(list(map(graph.get_operation_by_name, before)))


def realise_collections(source: Any, rewritten: Any, successors: dict[str, str], graph: Any) -> None:
    """Brings a graph's collections to the state of the rewritten MetaGraphDef; new variables become objects.

    Args:
        source, rewritten: MetaGraphDefs.
        successors: of nodes; an entry that names a node which has one is replaced.
        graph: `tf.Graph` that has the new nodes.
    """
    with _outside(graph):
        for serialized in new_variables(source, rewritten):
            graph.add_to_collection(GLOBAL_VARIABLES, variable_from_proto(serialized))
    for key, gone, come in collection_changes(source, rewritten):
        entries = graph.get_collection_ref(key)
        entries[:] = [entry for entry in entries if getattr(entry, "name", None) not in gone]
        entries += map(graph.as_graph_element, come)
    for key in graph.get_all_collection_keys():
        entries = graph.get_collection_ref(key)
        entries[:] = [_successor(entry, successors, graph) for entry in entries]


def _successor(entry: Any, successors: dict[str, str], graph: Any) -> Any:
    name, colon, port = str(getattr(entry, "name", "")).partition(":")
    is_element = isinstance(entry, (tensorflow().Tensor, tensorflow().Operation))
    if is_element and name in successors:
        return graph.as_graph_element(f"{successors[name]}{colon}{port}")
    return entry


def _outside(graph: Any) -> ExitStack:
    """The graph as the default one, and none of the scopes that somebody may have opened."""
    stack = ExitStack()
    stack.enter_context(graph.as_default())
    stack.enter_context(graph.name_scope(None))
    stack.enter_context(graph.control_dependencies(None))
    stack.enter_context(graph.colocate_with(None, ignore_existing=True))
    stack.enter_context(graph.device(None))
    return stack
