"""A part of a graph as the body of a function."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fqrewrite.errors import GraphError
from fqrewrite.ir.functions import Library
from fqrewrite.ir.graph import Graph, Node, Value
from fqrewrite.outline.records import Argument, FunctionDef
from fqrewrite.proto.attrs import bytes_attr, shape_proto
from fqrewrite.proto.dtypes import DT_RESOURCE
from fqrewrite.proto.output_args import output_arguments

_RUNS_FUNCTIONS = frozenset({"StatefulPartitionedCall", "If", "While", "Case", "SymbolicGradient", "RemoteCall"})
_NO_EFFECT = frozenset({"NoOp"})


def needed_nodes(roots: Iterable[Node], stop: frozenset[Node]) -> set[Node]:
    """What the roots read and wait for, directly or not, up to and without `stop`."""
    found, queue = set[Node](), [node for node in roots if node not in stop]
    while queue:
        node = queue.pop()
        if node not in found:
            found.add(node)
            before = [value.node for value in node.inputs] + node.controls
            queue += [other for other in before if other not in stop and other not in found]
    return found


def has_effect(node: Node, library: Library) -> bool:
    """Whether a node is run for what it does: it returns nothing (an assignment, an assertion), or runs functions."""
    if node.op in library:
        return bool(library[node.op].signature.is_stateful)
    return node.op in _RUNS_FUNCTIONS or (node.op not in _NO_EFFECT and not _returns(node))


class BodyWriter:
    """Writes the nodes of a graph as a FunctionDef.

    Args:
        nodes: those of the body, in graph order.
        bound: argument name by the tensor that the argument stands for.
        library: functions that nodes may call by name.
        through: a node (of the call that the body replaces) that hands on its inputs and is left out.
    """

    def __init__(
        self, nodes: Sequence[Node], bound: Mapping[Value, str], library: Library, through: Node | None = None
    ) -> None:
        self._nodes = [node for node in nodes if node is not through]
        self._inside = set(self._nodes)
        self._bound = bound
        self._library = library
        self._through = through
        self._references: dict[Node, list[str]] = {}

    def write(
        self,
        name: str,
        arguments: Sequence[Argument],
        outputs: Sequence[tuple[str, int, Value]],
        gradients: Mapping[str, str],
    ) -> Any:
        """Makes the FunctionDef.

        Args:
            name: of the function.
            arguments: in order.
            outputs: name, DataType number and value of what it returns.
            gradients: op type of the registered gradient of those nodes that have one, by their names.

        Raises:
            GraphError: `unknown-output-argument` for an operation that TensorFlow does not have.
        """
        function = FunctionDef()
        set_signature(function, name, arguments, [(output, dtype) for output, dtype, _ in outputs])
        for node in self._nodes:
            self._add(function, node, gradients.get(node.name))
        for output, _, value in outputs:
            function.ret[output] = self.reference(value)
        for node in self._nodes:
            if has_effect(node, self._library):
                add_effect(function, node.name)
        return function

    def reference(self, value: Value) -> str:
        """A tensor as the body writes it."""
        if value.node is self._through:
            return self.reference(value.node.inputs[value.port])
        argument = self._bound.get(value)
        if argument is not None:
            return argument
        if value.node not in self._inside:
            what = f"{value} is outside of the function and was not captured"
            raise GraphError("function-malformed", what, where=str(value))
        known = self._references.get(value.node)
        if known is None:
            known = self._references[value.node] = self._outputs_of(value.node)
        return known[value.port]

    def _add(self, function: Any, node: Node, gradient: str | None) -> None:
        proto = function.node_def.add()
        proto.CopyFrom(node.proto)
        del proto.input[:]
        proto.input.extend(self.reference(value) for value in node.inputs)
        proto.input.extend(f"^{name}" for name in self._controls(node))
        for stale in ("_output_shapes", "_class", "_gradient_op_type"):
            proto.attr.pop(stale, None)
        if gradient is not None:
            proto.attr["_gradient_op_type"].CopyFrom(bytes_attr(gradient))

    def _controls(self, node: Node) -> list[str]:
        names = []
        for before in node.controls:
            if before is self._through:
                names += [value.node.name for value in before.inputs if value.node in self._inside]
            elif before in self._inside:
                names.append(before.name)
        return list(dict.fromkeys(names))

    def _outputs_of(self, node: Node) -> list[str]:
        callee = self._library.get(node.op)
        if callee is not None:
            return [f"{node.name}:{argument.name}:0" for argument in callee.signature.output_arg]
        found = []
        for name, length in output_arguments(node.proto):
            found += [f"{node.name}:{name}:{index}" for index in range(1 if length is None else length)]
        return found


def set_signature(function: Any, name: str, arguments: Sequence[Argument], outputs: Sequence[tuple[str, int]]) -> None:
    """Fills a FunctionDef's signature, and the attributes in which the loader finds the arguments' shapes."""
    signature = function.signature
    signature.name, signature.is_stateful = name, True
    function.attr["_construction_context"].CopyFrom(bytes_attr("kEagerRuntime"))
    shapes = function.attr["_input_shapes"].list.shape
    for argument in arguments:
        entry = signature.input_arg.add(name=argument.name, type=argument.dtype)
        if argument.handle is not None:
            dtype, shape = argument.handle
            entry.handle_data.add(dtype=dtype, shape=shape)
        shapes.add().CopyFrom(shape_proto(()) if argument.dtype == DT_RESOURCE else argument.shape)
    for output, dtype in outputs:
        signature.output_arg.add(name=output, type=dtype)


def add_effect(function: Any, node: str) -> None:
    """Lets a node of a function run whenever the function does."""
    function.control_ret[node] = node
    function.signature.control_output.append(node)


def _returns(node: Node) -> bool:
    try:
        return bool(output_arguments(node.proto))
    except GraphError:
        return False


def in_graph_order(graph: Graph, nodes: set[Node]) -> list[Node]:
    """The nodes, as they stand in the graph."""
    return [node for node in graph if node in nodes]
