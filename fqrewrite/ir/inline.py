"""Calls of library functions replaced by what they compute: v2 conditionals whose branch is known, and plain calls.

Nothing in a function runs before the call's control inputs have, and who reads the call's outputs or waits for it
finds every side effect done. Both stay so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import count
from typing import Any, NamedTuple

from fqrewrite.errors import GraphError
from fqrewrite.ir.editor import Editor
from fqrewrite.ir.functions import ARGUMENT, Library, find_function, functions_of, instantiate
from fqrewrite.ir.graph import Graph, Node, Value
from fqrewrite.ir.topology import inside_control_flow, topological_order
from fqrewrite.proto import NodeDef, message_class
from fqrewrite.proto.attrs import type_attr, types_attr

CALLS = ("PartitionedCall", "StatefulPartitionedCall")
"""Op types of plain calls; the other plain calls have the function's name as op type."""

Naming = Callable[[Iterable[str]], Mapping[str, str]]
"""Gives the nodes of a function body their names in the graph."""

_V1_CONTROL_FLOW = ("Enter", "RefEnter", "Switch", "RefSwitch")
_LOCATION = b"loc:@"


class Inlined(NamedTuple):
    """A function body that was copied into the graph.

    Attributes:
        outputs: what the function returns.
        types: their dtypes.
        controls: the nodes that have run when the call has; who depends on the call must wait for them.
        nodes: all that were added, by their names in the function.
    """

    outputs: list[Value]
    types: list[int]
    controls: list[Node]
    nodes: dict[str, Node]


def in_scope(scope: str) -> Naming:
    """The naming that puts all nodes of a body in one scope."""
    return lambda names: {name: f"{scope}/{name}" for name in names}


def called_function(call: Node, library: Library) -> Any:
    """NameAttrList of the function that a plain call calls.

    Raises:
        GraphError: `function-malformed` when the node names none.
    """
    if call.op in library:
        return message_class("tensorflow.NameAttrList")(name=call.op, attr=call.proto.attr)
    return _passed(call, "f")


def inline_call(
    editor: Editor, call: Node, function: Any, arguments: Sequence[Value], library: Library, naming: Naming
) -> Inlined:
    """Copies a function body into the graph. The call itself stays as it is.

    Args:
        editor: of the graph.
        call: the node that calls the function. What it waits for, the body waits for; its device is that of nodes
            that name none.
        function: NameAttrList: which function, and what its placeholders stand for.
        arguments: what the function is called with.
        library: the graph's functions.
        naming: of the new nodes.

    Raises:
        GraphError: `duplicate-node-name` when a new node's name is taken, `no-such-function`, `function-malformed`
            when the number of arguments is wrong, or what `instantiate` and `topological_order` raise.
    """
    body = instantiate(find_function(library, function.name, call.name), function.attr, library)
    if len(arguments) != len(body.arguments):
        what = f"{function.name!r} takes {len(body.arguments)} arguments and is called with {len(arguments)}"
        raise GraphError("function-malformed", what, where=call.name)
    copies = _Copies(dict(zip(body.arguments, arguments, strict=True)))
    first = _waited_for(editor.graph, call)
    names = naming(node.name for node in body.graph if node.op != ARGUMENT)
    for node in body.graph if body.graph.in_order else topological_order(body.graph):
        if node.op != ARGUMENT:
            _prepare(node.proto, names, call.name)
            copies.add(editor, node, names[node.name], first, call.proto.device)
    copies.close_loops(editor)
    controls = [copies.nodes[control] for control in body.controls]
    nodes = {node.name: copy for node, copy in copies.nodes.items()}
    return Inlined([copies.value(value) for value in body.outputs], body.types, controls, nodes)


def replace_call(
    editor: Editor, node: Node, function: Any, arguments: Sequence[Value], library: Library, naming: Naming
) -> Inlined:
    """Inlines the call `node`, connects its consumers to what it returns, and lets it hand that on.

    Args:
        editor, function, arguments, library, naming: as for `inline_call`.
        node: the call; it becomes an Identity, IdentityN or NoOp.

    Returns:
        As `inline_call`; the outputs are what the consumers read now.

    Raises:
        GraphError: as `inline_call`.
    """
    inlined = inline_call(editor, node, function, arguments, library, naming)
    outputs = []
    for port, (value, dtype) in enumerate(zip(inlined.outputs, inlined.types, strict=True)):
        # An argument that is handed through does not wait for what the call waits for.
        if inlined.controls or (node.controls and value in arguments):
            waits = [*node.controls, *inlined.controls]
            value = editor.add(_identity([dtype]), _output_name(editor, naming, port), [value], controls=waits).value()
        outputs.append(value)
    for consumer, slot in list(node.uses):
        port = consumer.inputs[slot].port
        if port >= len(outputs):
            what = f"{consumer.name!r} reads output {port} of a function that returns {len(outputs)}"
            raise GraphError("function-malformed", what, where=node.name)
        editor.set_input(consumer, slot, outputs[port])
    editor.become(node, _identity(inlined.types), outputs)
    if not outputs:
        for control in inlined.controls:
            editor.add_control(node, control)
    return inlined._replace(outputs=outputs)


def resolve_if(editor: Editor, node: Node, taken: bool) -> Inlined:
    """Replaces an If or StatelessIf whose predicate is known by its branch, under ``<name>/then`` or ``<name>/else``.

    Consumers read the branch. The node itself stays, for those who fetch it or wait for it, and hands on what the
    branch returns.

    Raises:
        GraphError: as `inline_call`; `function-malformed` when the node has no such branch.
    """
    branch = "then" if taken else "else"
    function, library = _passed(node, f"{branch}_branch"), functions_of(editor.graph.graph_def)
    return replace_call(editor, node, function, node.inputs[1:], library, in_scope(f"{node.name}/{branch}"))


def resolve_case(editor: Editor, node: Node, index: int) -> Inlined:
    """Replaces a Case or StatelessCase whose index is known, as `resolve_if` does, under ``<name>/branch_<index>``.

    An index out of range means the last branch, as in TensorFlow.

    Raises:
        GraphError: as `resolve_if`.
    """
    branches = node.proto.attr["branches"].list.func if "branches" in node.proto.attr else ()
    if not branches:
        raise GraphError("function-malformed", f"{node.op} has no branches", where=node.name)
    index = index if 0 <= index < len(branches) else len(branches) - 1
    library = functions_of(editor.graph.graph_def)
    return replace_call(
        editor, node, branches[index], node.inputs[1:], library, in_scope(f"{node.name}/branch_{index}")
    )


class _Copies:
    """The nodes of a body and their copies in the graph.

    Args:
        arguments: what the body's arguments are bound to.
    """

    def __init__(self, arguments: dict[Value, Value]) -> None:
        self.nodes: dict[Node, Node] = {}
        self._arguments = arguments
        self._back_edges: list[tuple[Node, int]] = []

    def value(self, value: Value) -> Value:
        """What a value of the body is in the graph."""
        bound = self._arguments.get(value)
        return Value(self.nodes[value.node], value.port) if bound is None else bound

    def add(self, editor: Editor, node: Node, name: str, first: list[Node], device: str) -> None:
        """Copies a node of which everything before it is copied, but for the back edges of while loops.

        Args:
            editor: of the graph.
            node: of the body; its NodeDef becomes that of the copy.
            name: of the copy.
            first: what the copy waits for when it waits for nothing in the body.
            device: of the copy when the node names none.
        """
        known = [value in self._arguments or value.node in self.nodes for value in node.inputs]
        early = [self.value(value) for value, here in zip(node.inputs, known, strict=True) if here]
        late = [slot for slot, here in enumerate(known) if not here]
        if late and not early:
            raise GraphError("graph-cycle", f"nothing enters the loop at {node.name!r}", where=name)
        inputs = [early[0] if slot in late else self.value(value) for slot, value in enumerate(node.inputs)]
        controls = [before for control in node.controls for before in self._control(control)]
        if not controls and all(value in self._arguments for value in node.inputs):
            controls = first
        copy = editor.add(
            node.proto, name, inputs, controls=list(dict.fromkeys(controls)), device=node.proto.device or device
        )
        self.nodes[node] = copy
        self._back_edges += [(node, slot) for slot in late]

    def close_loops(self, editor: Editor) -> None:
        """Connects the back edges of while loops, when all is copied."""
        for node, slot in self._back_edges:
            editor.set_input(self.nodes[node], slot, self.value(node.inputs[slot]))

    def _control(self, node: Node) -> list[Node]:
        if node in self.nodes:
            return [self.nodes[node]]
        return [bound.node for argument, bound in self._arguments.items() if argument.node is node]


def _prepare(node_def: Any, names: Mapping[str, str], call: str) -> None:
    """Makes the NodeDef of a body node a template for its copy.

    Args:
        node_def: is changed.
        names: in the graph, by name in the body.
        call: name of the node that calls.
    """
    del node_def.input[:]
    # Shapes that the function was traced with; the arguments that it is called with may say more, or otherwise.
    node_def.attr.pop("_output_shapes", None)
    if "frame_name" in node_def.attr:  # two loops in a frame of one name would be one loop
        node_def.attr["frame_name"].s = f"{call}/".encode() + node_def.attr["frame_name"].s
    if "_class" in node_def.attr:
        places = node_def.attr["_class"].list.s
        found = [place[len(_LOCATION) :].decode("utf-8", "replace") for place in places if place.startswith(_LOCATION)]
        inner = [names[name] for name in found if name in names]
        places[:] = [_LOCATION + name.encode() for name in inner]
        if not inner:
            del node_def.attr["_class"]


def _waited_for(graph: Graph, call: Node) -> list[Node]:
    """What must run before anything in the body does.

    Within a v1 conditional or loop that is the call's inputs, too: there, what waits for nothing would run in any
    case, and outside of the loop.
    """
    before = list(call.controls)
    if graph.by_op(*_V1_CONTROL_FLOW) and call in inside_control_flow(graph, topological_order(graph)):
        before += [value.node for value in call.inputs]
    return list(dict.fromkeys(before))


def _output_name(editor: Editor, naming: Naming, port: int) -> str:
    """A free name for what hands on an output, beside the body's nodes."""
    for number in count():
        name = f"output_{port}" + (f"_{number}" if number else "")
        (found,) = naming([name]).values()
        if found not in editor.graph:
            return found
    raise AssertionError  # count() does not end


def _identity(types: Sequence[int]) -> Any:
    if len(types) == 1:
        template = NodeDef(op="Identity")
        template.attr["T"].CopyFrom(type_attr(types[0]))
    elif types:
        template = NodeDef(op="IdentityN")
        template.attr["T"].CopyFrom(types_attr(types))
    else:
        template = NodeDef(op="NoOp")
    return template


def _passed(node: Node, key: str) -> Any:
    """The function that an attribute passes."""
    if key not in node.proto.attr or node.proto.attr[key].WhichOneof("value") != "func":
        raise GraphError("function-malformed", f"{node.op} has no function {key!r}", where=node.name)
    return node.proto.attr[key].func
