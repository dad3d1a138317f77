"""Constants become variables again: the reverse of freezing, so that a model without checkpoint can be fine-tuned.

A variable takes the name of its constant, which is what checkpoints call it by. The constant itself becomes its
initial value, so the graph computes what it did as soon as its variables are initialised.
"""

from __future__ import annotations

from typing import Any

import msgspec

from fqrewrite.errors import Refusal
from fqrewrite.ir.block import BlockVariable
from fqrewrite.ir.editor import Editor
from fqrewrite.ir.graph import Graph, Node, Value
from fqrewrite.match.frozen import NotThawed, trainable_constants
from fqrewrite.match.parameters import dtype_of, static_shape
from fqrewrite.proto import NodeDef
from fqrewrite.proto.attrs import bytes_attr
from fqrewrite.transform import templates


class Thawed(msgspec.Struct, frozen=True, kw_only=True):
    """What `thaw` did.

    Attributes:
        variables: the new variables, in graph order; all are trainable.
        not_thawed: parameters that stay constants, and why.
    """

    variables: tuple[BlockVariable, ...]
    not_thawed: tuple[NotThawed, ...] = ()


def thaw(graph: Graph, editor: Editor) -> Thawed:
    """Makes a variable of every constant that a training would change (see `match.frozen`).

    They are resource variables, unless the graph has reference variables.

    Args:
        graph: is edited.
        editor: of this graph; its edits are committed.

    Raises:
        Refusal: `nothing-to-thaw` when there is no such constant.
    """
    constants, left = trainable_constants(graph)
    if not constants:
        what = "no float32 constant is the weights or bias of a layer, or gamma or beta of a batch norm"
        if left:
            what += f", but for {len(left)} that must stay: of {left[0].name!r}, {left[0].reason}"
        raise Refusal("nothing-to-thaw", what)
    resource = bool(graph.by_op("VarHandleOp")) or not graph.by_op("VariableV2", "Variable")
    waiting = _waiting_for([node for node in constants if node.controls], graph)
    variables = [_thaw(node, graph, editor, resource, waiting.get(node, ())) for node in constants]
    editor.commit()
    return Thawed(variables=tuple(variables), not_thawed=tuple(left))


def _thaw(node: Node, graph: Graph, editor: Editor, resource: bool, waiting: list[Node] | tuple[()]) -> BlockVariable:
    name, device, shape, dtype = node.name, node.proto.device, static_shape(node.value()), dtype_of(node)
    assert shape is not None  # `trainable_constants` gives none without
    edges = node.value().uses()
    # The initializer must run alone: what the constant waited for, its reading waits for.
    controls = list(node.controls)
    for control in controls:
        editor.drop_control(node, control)
    initial = editor.add(node.proto, _free(graph, f"{name}/Initializer/Const"))
    for key in [key for key in initial.proto.attr if key not in ("dtype", "value")]:
        del initial.proto.attr[key]
    variable, assign, read = (
        templates.resource_variable(shape, dtype) if resource else templates.ref_variable(shape, dtype)
    )
    editor.become(node, _handle(variable, name) if resource else variable, ())
    start = editor.add(assign, _free(graph, f"{name}/Assign"), (node.value(), initial.value()), device=device)
    reading = None if resource else _reading(node, edges)
    if reading is None:
        wanted = f"{name}/Read/ReadVariableOp" if resource else f"{name}/read"
        reading = editor.add(read, _free(graph, wanted), (node.value(),), device=device)
    editor.redirect([edge for edge in edges if edge[0] is not reading], Value(reading, 0))
    for control in controls:
        for follower in (reading, *waiting):
            editor.add_control(follower, control)
    return BlockVariable(name, start.name, initial.name, reading.name, resource)


def _handle(template: Any, name: str) -> Any:
    handle = NodeDef()
    handle.CopyFrom(template)
    handle.attr["shared_name"].CopyFrom(bytes_attr(name))
    return handle


def _reading(node: Node, edges: list[tuple[Node, int]]) -> Node | None:
    """The Identity ``w/read`` that freezing left of a reference variable: it reads the variable again."""
    return next((user for user, _ in edges if user.op == "Identity" and user.name == f"{node.name}/read"), None)


def _waiting_for(nodes: list[Node], graph: Graph) -> dict[Node, list[Node]]:
    """By node: what has a control edge from it."""
    found: dict[Node, list[Node]] = {node: [] for node in nodes}
    if found:
        for follower in graph:
            for control in follower.controls:
                if control in found:
                    found[control].append(follower)
    return found


def _free(graph: Graph, wanted: str) -> str:
    """The first of `wanted`, `wanted_1`, ... that no node is called."""
    name, number = wanted, 0
    while name in graph:
        number += 1
        name = f"{wanted}_{number}"
    return name
