"""Gradients that a model defines itself (`tf.custom_gradient`; Keras's swish does).

In a SavedModel such a gradient is a library function that is registered under an op type, which a node of the forward
function names in `_gradient_op_type`. It captures tensors of that function. A function that is rewritten gets a copy
of the gradient that captures the same tensors where they are now.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from fqrewrite.ir.functions import functions_of
from fqrewrite.ir.graph import Node, Value, split_tensor
from fqrewrite.outline.records import SavedObject, function_name
from fqrewrite.proto.attrs import get_str

_TYPE = "_gradient_op_type"


class CopiedGradients(NamedTuple):
    """The gradients of one rewritten function.

    Attributes:
        types: the op type under which each node's gradient is registered, by the node's name.
        lost: nodes whose gradient could not be carried over.
    """

    types: dict[str, str]
    lost: list[str]


def copy_gradients(
    meta_graph: Any, core: str, nodes: Sequence[Node], taken: set[str], name_in_core: Callable[[Value], str | None]
) -> CopiedGradients:
    """Registers the gradients of a rewritten function.

    Args:
        meta_graph: gets functions and objects.
        core: name of the rewritten function.
        nodes: its nodes, in the flat graph.
        taken: names of functions.
        name_in_core: ``node:port`` of a value in the loaded function; None for one that is not in it.
    """
    library = meta_graph.graph_def.library
    registered = {entry.registered_op_type: entry.gradient_func for entry in library.registered_gradients}
    functions, found = functions_of(meta_graph.graph_def), CopiedGradients({}, [])
    others = {node.name: node for node in nodes}
    for node in nodes:
        old_type = get_str(node.proto, _TYPE, "")
        if not old_type or node.op in ("StatefulPartitionedCall", "PartitionedCall"):
            continue
        function = functions.get(registered.get(old_type, ""))
        captured = _captures(meta_graph, registered.get(old_type, ""), node, others, functions, name_in_core)
        if function is None or captured is None:
            found.lost.append(node.name)
            continue
        copy = library.function.add()
        copy.CopyFrom(function)
        copy.signature.name = function_name(f"{core.removeprefix('__inference_')}_gradient", taken)
        new_type = f"CustomGradient-{copy.signature.name.removeprefix('__inference_')}"
        library.registered_gradients.add(gradient_func=copy.signature.name, registered_op_type=new_type)
        objects = meta_graph.object_graph_def
        saved = objects.concrete_functions[copy.signature.name]
        saved.CopyFrom(objects.concrete_functions[function.signature.name])
        del saved.bound_inputs[:]
        for what in captured:
            if isinstance(what, int):
                saved.bound_inputs.append(what)
            else:
                saved.bound_inputs.append(len(objects.nodes))
                made = SavedObject()
                made.captured_tensor.name, made.captured_tensor.concrete_function = what, core
                objects.nodes.append(made)
        found.types[node.name] = new_type
    return found


def _captures(
    meta_graph: Any,
    gradient: str,
    node: Node,
    others: Mapping[str, Node],
    functions: Mapping[str, Any],
    name_in_core: Callable[[Value], str | None],
) -> list[int | str] | None:
    """What a gradient captures: ids of objects, or tensors of the core; None when one of these is gone."""
    objects = meta_graph.object_graph_def
    if gradient not in objects.concrete_functions:
        return None
    found: list[int | str] = []
    for number in objects.concrete_functions[gradient].bound_inputs:
        bound = objects.nodes[number]
        if bound.WhichOneof("kind") != "captured_tensor":
            found.append(number)
            continue
        forward = functions.get(bound.captured_tensor.concrete_function)
        value = None if forward is None else _now(bound.captured_tensor.name, forward, node, others)
        name = None if value is None else name_in_core(value)
        if name is None:
            return None
        found.append(name)
    return found


def _now(tensor: str, forward: Any, node: Node, others: Mapping[str, Node]) -> Value | None:
    """Where a tensor of the forward function is in the flat graph, given the node there that has the gradient.

    Usually the node reads it, by an input that is the same in both: `IdentityN(result, *arguments)`.
    """
    name, port = split_tensor(tensor)
    gradient_type = get_str(node.proto, _TYPE, "")
    origins = [proto for proto in forward.node_def if get_str(proto, _TYPE, "") == gradient_type]
    for origin in origins:
        data = [text for text in origin.input if not text.startswith("^")]
        for slot, text in enumerate(data):
            parts = text.split(":")
            index = int(parts[-1]) if len(parts) > 1 and parts[-1].isdecimal() else 0
            if parts[0] == name and index == port and slot < len(node.inputs):
                return node.inputs[slot]
    return _beside(name, port, [origin.name for origin in origins], node, others)


def _beside(name: str, port: int, origins: list[str], node: Node, others: Mapping[str, Node]) -> Value | None:
    """A node of the core that was inlined under the same scope as the one with the gradient."""
    for origin in origins:
        if node.name.endswith(origin):
            found = others.get(node.name.removesuffix(origin) + name)
            if found is not None:
                return found.value(port)
    return None
