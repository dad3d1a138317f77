"""The rewritten sub-graph of a signature as one function."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from fqrewrite.errors import GraphError
from fqrewrite.ir.functions import functions_of
from fqrewrite.ir.graph import Graph, Node, Value, split_tensor
from fqrewrite.match.refusals import MARKER_NAME
from fqrewrite.outline.body import BodyWriter, has_effect, in_graph_order, needed_nodes
from fqrewrite.outline.gradients import copy_gradients
from fqrewrite.outline.records import Argument, Capture, Core, SignatureCall, argument_name, free_name, function_name
from fqrewrite.proto.attrs import get_shape, get_type, shape_proto
from fqrewrite.proto.dtypes import DT_INVALID, DT_RESOURCE, DT_STRING
from fqrewrite.transform.templates import scalar

SIGNATURE_NAME = "fqrewrite/signature"
"""The node of a core that holds the key of its signature."""

_VARIABLE = "VarHandleOp"
_HANDS_ON = ("Identity", "IdentityN")


class Sources(NamedTuple):
    """What stands outside of the functions, in the flat graph.

    Attributes:
        names: of the arguments, by tensor; see `name_arguments`.
        object_ids: of those tensors that are captured: handles of variables and tables, constants.
    """

    names: dict[str, str]
    object_ids: dict[str, int]


def name_arguments(flat: Graph, calls: Sequence[SignatureCall], variables: Iterable[str]) -> dict[str, str]:
    """The arguments' names of what functions get from outside, by the tensor in the flat graph.

    Args:
        flat: the rewritten graph; a marker in it makes no difference.
        calls: the signatures.
        variables: nodes of the new variables.
    """
    passed = [tensor for call in calls for tensor in (*call.inputs, *call.captures)]
    outside = list(dict.fromkeys([*passed, *variables]))
    taken = set(flat.nodes).difference(outside)
    return {name: free_name(argument_name(name), taken) for name in outside}


def write_core(
    meta_graph: Any, flat: Graph, call: SignatureCall, sources: Sources, taken: set[str]
) -> tuple[Core, list[str]]:
    """Adds the function that computes a signature to a MetaGraphDef; the provenance of the graph comes along.

    Args:
        meta_graph: gets the function, and copies of the gradients that the model defines itself.
        flat: the rewritten graph.
        call: the signature.
        sources: what is captured.
        taken: names of functions.

    Returns:
        The function, and the names of nodes whose own gradient was lost.

    Raises:
        GraphError: see `body.BodyWriter.write`.
    """
    library = functions_of(flat.graph_def)
    caller = flat.node(call.call)
    outputs = [caller.value(port) for port in range(len(call.output_types))]
    inputs = [flat.value(tensor) for tensor in call.inputs]
    captured = {tensor: flat.value(tensor) for tensor in sources.object_ids if split_tensor(tensor)[0] in flat}
    outside = frozenset(value.node for value in (*inputs, *captured.values()))
    effects = [node for node in _fed(inputs) if has_effect(node, library)]
    markers = [flat.nodes[MARKER_NAME]] if MARKER_NAME in flat else []
    needed = needed_nodes([caller, *effects, *markers], outside)
    nodes = in_graph_order(flat, needed)
    read = {value for node in nodes for value in node.inputs}

    def argument(tensor: str, value: Value) -> Argument:
        return _argument(value, call.types.get(tensor, DT_RESOURCE), sources.names[tensor])

    own = [argument(tensor, value) for tensor, value in zip(call.inputs, inputs, strict=True)]
    captures = [
        Capture(argument(tensor, value), tensor, sources.object_ids[tensor])
        for tensor, value in captured.items()
        if value in read
    ]
    bound = {value: entry.name for value, entry in zip(inputs, own, strict=True)}
    bound |= {captured[capture.tensor]: capture.argument.name for capture in captures}
    stem = argument_name(call.key)
    core = Core(call, function_name(f"fqrewrite_{stem}", taken), tuple(own), tuple(captures))

    through = caller if caller.op in _HANDS_ON else None
    body = [node for node in nodes if node is not through]
    inside = set(body)

    def name_in_core(value: Value) -> str | None:
        while value.node is through:
            value = value.node.inputs[value.port]
        if value in bound:
            return f"{bound[value]}:0"
        return str(value) if value.node in inside else None

    gradients = copy_gradients(meta_graph, core.name, body, taken, name_in_core)
    writer = BodyWriter(body, bound, library, through)
    returned = [
        (f"output_{port}", dtype, value)
        for port, (dtype, value) in enumerate(zip(call.output_types, outputs, strict=True))
    ]
    arguments = [*own, *(capture.argument for capture in captures)]
    function = writer.write(core.name, arguments, returned, gradients.types)
    key = function.node_def.add()
    key.CopyFrom(scalar(call.key.encode(), DT_STRING))
    key.name = SIGNATURE_NAME
    meta_graph.graph_def.library.function.append(function)
    return core, gradients.lost


def signature_of_core(function: Any) -> str:
    """The key of the signature that a core was written for, whatever TensorFlow calls the function by now.

    Raises:
        GraphError: `function-malformed` for a function that does not say.
    """
    for node in function.node_def:
        if node.name == SIGNATURE_NAME and len(node.attr["value"].tensor.string_val) == 1:
            return str(node.attr["value"].tensor.string_val[0].decode())
    what = f"{SIGNATURE_NAME!r}, in which fqrewrite says which signature the function is for, is missing"
    raise GraphError("function-malformed", what, where=function.signature.name)


def _fed(inputs: Sequence[Value]) -> list[Node]:
    """The nodes that depend on the inputs, in graph order."""
    found, queue = dict[Node, None](), [consumer for value in inputs for consumer in value.consumers()]
    while queue:
        node = queue.pop()
        if node not in found:
            found[node] = None
            queue += [consumer for consumer, _ in node.uses]
    return sorted(found, key=lambda node: node.index)


def _argument(value: Value, dtype: int, name: str) -> Argument:
    """An argument that stands for a tensor."""
    proto = value.node.proto
    if value.node.op == _VARIABLE:
        behind = (get_type(proto, "dtype", DT_INVALID), shape_proto(get_shape(proto, "shape")))
        return Argument(name, dtype, shape_proto(()), behind)
    shape = proto.attr["value"].tensor.tensor_shape if value.node.op == "Const" else None
    return Argument(name, dtype, shape or shape_proto(get_shape(proto, "shape")))
