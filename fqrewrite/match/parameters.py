"""What a value is made of: variables and constants, or data.

A *parameter* is a value that depends on variables and constants alone: a variable read, a partition's concatenation,
a reshaped kernel, weight normalisation's g * v / |v|. It is recognised by what feeds it, not by its op type, so that
every form in which a model keeps its weights is known.
"""

from __future__ import annotations

from collections.abc import Iterable

from fqrewrite.ir.graph import Node, Value
from fqrewrite.match.shapes import MOVING_OPS, moved_shape
from fqrewrite.proto.attrs import get_bool, get_shape, get_type, shape_dims
from fqrewrite.proto.dtypes import DT_FLOAT, base_dtype
from fqrewrite.proto.tensors import float_scalar, repeated_float, small_ints

VARIABLE_OPS = frozenset({"Variable", "VariableV2", "VarHandleOp", "TemporaryVariable"})
BIAS_ADDS = frozenset({"Add", "AddV2", "Sub", "BiasAdd"})
READ_OPS = frozenset({"Identity", "ReadVariableOp"})
"""What reads a variable."""

FAKE_QUANT_OPS = frozenset({"FakeQuantWithMinMaxVars", "FakeQuantWithMinMaxArgs", "FakeQuantWithMinMaxVarsPerChannel"})
_PASS_SHAPE = READ_OPS | FAKE_QUANT_OPS
_NOT_FLOAT = frozenset(
    {"Shape", "ShapeN", "Size", "Rank", "ArgMax", "ArgMin", "Greater", "GreaterEqual", "Less", "LessEqual"}
    | {
        "Equal",
        "NotEqual",
        "LogicalAnd",
        "LogicalOr",
        "LogicalNot",
        "IsNan",
        "IsFinite",
        "IsInf",
        "Where",
        "All",
        "Any",
    }
)
_CONTROL_FLOW = frozenset({"Switch", "Merge", "Enter", "Exit", "NextIteration", "RefSwitch", "RefMerge", "RefEnter"})


class Parameters:
    """Remembers, for one graph, which nodes are parameters.

    A node is a parameter when it has inputs and all of them are, or is a variable or a constant. Every node is
    looked at once: O(nodes) over the life of the object.
    """

    def __init__(self) -> None:
        self._known: dict[Node, bool] = {}

    def assume(self, values: Iterable[Value]) -> None:
        """Takes the results of these nodes for parameters, and what is computed from them and parameters alone."""
        assumed = dict.fromkeys((value.node for value in values), True)
        if assumed:
            # What depends on them may be known for data already.
            self._known = {node: True for node, known in self._known.items() if known} | assumed

    def is_parameter(self, value: Value) -> bool:
        """Whether the value depends on variables and constants alone."""
        known = self._known
        stack = [value.node]
        while stack:
            node = stack[-1]
            if node in known:
                stack.pop()
            elif not node.inputs:
                known[node] = node.op == "Const" or node.op in VARIABLE_OPS
            elif node.op in _CONTROL_FLOW or any(known.get(operand.node) is False for operand in node.inputs):
                known[node] = False
            else:
                unknown = [operand.node for operand in node.inputs if operand.node not in known]
                if unknown:
                    stack.append(unknown[0])
                else:
                    known[node] = True
        return known[value.node]


def leaves(value: Value) -> list[Node]:
    """The variables and constants that a parameter depends on, each once, nearest first."""
    found: dict[Node, None] = {}
    seen: set[Node] = set()
    queue = [value.node]
    for node in queue:
        if node in seen:
            continue
        seen.add(node)
        if not node.inputs:
            found[node] = None
        queue.extend(operand.node for operand in node.inputs)
    return list(found)


def variables_of(value: Value) -> list[Node]:
    """The variables that a parameter depends on, each once, nearest first."""
    return [node for node in leaves(value) if node.op in VARIABLE_OPS]


def is_constant(value: Value) -> bool:
    """Whether a parameter depends on constants alone, as in a frozen graph."""
    return all(node.op == "Const" for node in leaves(value))


def read_variable(value: Value) -> Node | None:
    """The variable that the value is a plain read of; None when it is something else."""
    node = value.node
    while node.op in READ_OPS:
        node = node.inputs[0].node
    return node if node.op in VARIABLE_OPS else None


def static_shape(value: Value) -> tuple[int, ...] | None:
    """The shape of a variable, a constant or a placeholder, -1 for an unknown dimension; None when unknown.

    Also behind operations that read it, or move its numbers (`match.shapes`).
    """
    node = value.node
    moves = list[Node]()
    while node.op in _PASS_SHAPE or node.op in MOVING_OPS:
        if node.op in MOVING_OPS:
            moves.append(node)
        node = node.inputs[0].node
    shape = _own_shape(node)
    for move in reversed(moves):
        if shape is None:
            return None
        shape = moved_shape(move, shape, [constant_ints(argument) for argument in move.inputs[1:]])
    return shape


def _own_shape(node: Node) -> tuple[int, ...] | None:
    if node.op == "Const":
        return shape_dims(node.proto.attr["value"].tensor.tensor_shape) if "value" in node.proto.attr else None
    if node.op in VARIABLE_OPS or node.op == "Placeholder":
        return get_shape(node.proto, "shape")
    return None


def dtype_of(node: Node) -> int:
    """DataType number of a node's main output, by its attribute `T` or `dtype`; float32 when it says nothing."""
    number = get_type(node.proto, "T", 0) or get_type(node.proto, "dtype", 0) or DT_FLOAT
    return base_dtype(number)


def is_float(value: Value) -> bool:
    """Whether a value is float32, as far as its operation says so."""
    node = value.node
    if node.op in _NOT_FLOAT or (value.port and node.op in ("TopK", "TopKV2", "Unique")):
        return False
    if node.op == "Cast":
        return get_type(node.proto, "DstT", DT_FLOAT) == DT_FLOAT
    return dtype_of(node) == DT_FLOAT


def is_scalar(value: Value) -> bool:
    """Whether a parameter is known to have one element."""
    shape = static_shape(value)
    return shape is not None and all(size == 1 for size in shape)


def constant_float(value: Value) -> float | None:
    """The number that a float constant of one element holds; None for anything else."""
    node = strip_identity(value).node
    if node.op != "Const" or "value" not in node.proto.attr:
        return None
    return float_scalar(node.proto.attr["value"].tensor)


def repeated_number(value: Value) -> float | None:
    """The number that all elements of a float constant of any size are; None for anything else."""
    node = strip_identity(value).node
    while node.op == "Reshape":
        node = strip_identity(node.inputs[0]).node
    if node.op != "Const" or "value" not in node.proto.attr:
        return None
    return repeated_float(node.proto.attr["value"].tensor)


def constant_ints(value: Value) -> tuple[int, ...] | None:
    """The numbers that a small integer constant holds; None for anything else."""
    node = strip_identity(value).node
    if node.op != "Const" or "value" not in node.proto.attr:
        return None
    return small_ints(node.proto.attr["value"].tensor)


def strip_identity(value: Value) -> Value:
    """The value behind any Identity nodes."""
    while value.node.op == "Identity":
        value = value.node.inputs[0]
    return value


def transposed(node: Node, operand: str) -> bool:
    """Whether a MatMul transposes its operand "a" or "b"."""
    return get_bool(node.proto, f"transpose_{operand}", False)
