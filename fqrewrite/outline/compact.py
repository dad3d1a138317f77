"""Taking out functions and objects that nothing in a SavedModel needs any more."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fqrewrite.ir.functions import functions_of
from fqrewrite.outline.intact import objects_of
from fqrewrite.outline.records import SavedObjectGraph
from fqrewrite.proto.attrs import get_str


def drop_unused(meta_graph: Any) -> None:
    """Removes objects that the root does not lead to, and functions that neither they nor the main graph call.

    Object ids change.

    Args:
        meta_graph: MetaGraphDef with an object graph.
    """
    used = _Used(meta_graph)
    used.follow()
    objects, library = meta_graph.object_graph_def, meta_graph.graph_def.library
    for index in reversed(range(len(library.function))):
        if library.function[index].signature.name not in used.functions:
            del library.function[index]
    for index in reversed(range(len(library.gradient))):
        if library.gradient[index].function_name not in used.functions:
            del library.gradient[index]
    for index in reversed(range(len(library.registered_gradients))):
        if library.registered_gradients[index].gradient_func not in used.functions:
            del library.registered_gradients[index]
    for name in list(meta_graph.meta_info_def.function_aliases):
        if name not in used.functions:
            del meta_graph.meta_info_def.function_aliases[name]
    for name in list(objects.concrete_functions):
        if name not in used.functions:
            del objects.concrete_functions[name]
    _renumber(objects, sorted(used.objects))


class _Used:
    """The objects and functions that are needed."""

    def __init__(self, meta_graph: Any) -> None:
        self.objects = {0}
        self.functions = set[str]()
        self._meta_graph = meta_graph
        self._graph = meta_graph.object_graph_def
        self._library = functions_of(meta_graph.graph_def)
        library = meta_graph.graph_def.library
        self._gradients = {entry.function_name: entry.gradient_func for entry in library.gradient}
        self._registered = {entry.registered_op_type: entry.gradient_func for entry in library.registered_gradients}

    def follow(self) -> None:
        queue: list[int | str] = [0, *self._called(self._meta_graph.graph_def.node)]
        while queue:
            item = queue.pop()
            for needed in self._of_object(item) if isinstance(item, int) else self._of_function(item):
                if isinstance(needed, int) and needed not in self.objects:
                    self.objects.add(needed)
                    queue.append(needed)
                elif isinstance(needed, str) and needed not in self.functions:
                    queue.append(needed)

    def _of_object(self, number: int) -> Iterable[int | str]:
        node = self._graph.nodes[number]
        yield from objects_of(node)
        kind = node.WhichOneof("kind")
        if kind == "function":
            yield from node.function.concrete_functions
        elif kind == "bare_concrete_function":
            yield node.bare_concrete_function.concrete_function_name
        elif kind == "captured_tensor":
            yield node.captured_tensor.concrete_function

    def _of_function(self, name: str) -> Iterable[int | str]:
        if name in self.functions or name not in self._library:
            return
        self.functions.add(name)
        if name in self._graph.concrete_functions:
            yield from self._graph.concrete_functions[name].bound_inputs
        if name in self._gradients:
            yield self._gradients[name]
        function = self._library[name]
        # The forward and backward halves of one function name each other in attributes.
        yield from (value.s.decode("utf-8", "replace") for value in function.attr.values() if value.s)
        yield from self._called(function.node_def)

    def _called(self, nodes: Iterable[Any]) -> Iterable[str]:
        for node in nodes:
            yield node.op
            registered = get_str(node, "_gradient_op_type", "")
            if registered in self._registered:
                yield self._registered[registered]
            for value in node.attr.values():
                for function in (value.func, *value.list.func):
                    yield function.name


def _renumber(objects: Any, kept: list[int]) -> None:
    """Leaves out all objects but these, and gives the rest their numbers from 0."""
    new = {old: number for number, old in enumerate(kept)}
    if len(kept) == len(objects.nodes):
        return
    stays = SavedObjectGraph()
    for old in kept:
        node = stays.nodes.add()
        node.CopyFrom(objects.nodes[old])
        for reference in (*node.children, *node.dependencies):
            reference.node_id = new[reference.node_id]
        for slot in node.slot_variables:
            slot.original_variable_node_id = new[slot.original_variable_node_id]
            slot.slot_variable_node_id = new[slot.slot_variable_node_id]
        for saveable in node.saveable_objects.values():
            saveable.save_function = new[saveable.save_function]
            saveable.restore_function = new[saveable.restore_function]
    for saved in objects.concrete_functions.values():
        saved.bound_inputs[:] = [new[number] for number in saved.bound_inputs]
    del objects.nodes[:]
    objects.nodes.extend(stays.nodes)
