"""The ops of the converted model: nodes of the graph, with what the converter fuses into them."""

from __future__ import annotations

from typing import NamedTuple

from fqrewrite.check import operations
from fqrewrite.check.composites import find_composite
from fqrewrite.check.operations import Kind
from fqrewrite.check.subject import Subject, is_float
from fqrewrite.ir.graph import Node, Value
from fqrewrite.match.parameters import BIAS_ADDS, FAKE_QUANT_OPS, constant_float
from fqrewrite.proto.attrs import get_str, get_type
from fqrewrite.proto.dtypes import DT_FLOAT

PLACEHOLDERS = frozenset({"Placeholder", "PlaceholderV2", "PlaceholderWithDefault"})
_BIASES = BIAS_ADDS | operations.BATCH_NORMS
_PRODUCTS = frozenset({"Mul", "RealDiv"})


class Unit(NamedTuple):
    """One op of the converted model.

    Attributes:
        node: the op that names it: the layer, or the last op of a group.
        kind: where its result's range comes from.
        operands: the float tensors that it reads, as they stand in the graph, without constants.
        results: the float tensors that it gives and somebody reads.
        members: its nodes.
        quantized_bias: a bias behind a fake quantizer, which keeps the layer in float.
    """

    node: Node
    kind: Kind
    operands: tuple[Value, ...]
    results: tuple[Value, ...]
    members: tuple[Node, ...]
    quantized_bias: Node | None = None


def find_units(subject: Subject) -> list[Unit]:
    """All ops, each behind what it reads; fake quantizers and inputs are none."""
    grouped = _groups(subject)
    units, taken = list[Unit](), {node for unit in grouped.values() for node in unit.members}
    for node in subject.nodes:
        if node in grouped:
            units.append(grouped[node])
        elif node not in taken and node.op not in FAKE_QUANT_OPS and node.op not in PLACEHOLDERS:
            unit = _fused(node, subject, taken)
            taken.update(unit.members)
            units.append(unit)
    return units


def _groups(subject: Subject) -> dict[Node, Unit]:
    found: dict[Node, Unit] = {}
    for node in reversed(subject.nodes):
        composite = find_composite(node, subject)
        if composite is not None and not any(node in unit.members for unit in found.values()):
            operands = (composite.operand,)
            found[node] = Unit(node, composite.kind, operands, (node.value(),), composite.members)
    return found


def _fused(node: Node, subject: Subject, taken: set[Node]) -> Unit:
    members, bias = [node], None
    last = node.value()
    takes_activation = node.op in operations.TAKES_ACTIVATION
    while takes_activation and (after := subject.only_reader(last)) is not None and after not in taken:
        if node.op in operations.TAKES_BIAS and _is_scale_or_bias(node, after, subject):
            bias = bias or _quantized_constant(after, subject)
        elif node.op in operations.TAKES_BIAS and _is_in_front_of_bias_or_relu(node, after, subject):
            pass
        elif after.op in operations.FUSED_ACTIVATIONS or _clips(after, "Maximum", 0, subject):
            takes_activation = False
        else:
            break
        members.append(after)
        last = after.value()
    _take_upper_limit(members, subject)
    last = members[-1].value()
    slots = operations.DATA_SLOTS.get(node.op, range(len(node.inputs)))
    operands = tuple(
        operand
        for slot in slots
        if slot < len(node.inputs)
        and node.op not in operations.SHAPE_ONLY
        and not subject.is_constant(operand := node.inputs[slot])
        and is_float(operand)
    )
    results = (last,) if len(members) > 1 else _results(node, subject)
    return Unit(node, _kind(node, subject), operands, results, tuple(members), bias)


def _results(node: Node, subject: Subject) -> tuple[Value, ...]:
    """The float results that are read, of an op with several."""
    ports = {value.port for value in subject.fetched if value.node is node}
    ports |= {value.port for user, slot in node.uses if user in subject.needed for value in (user.inputs[slot],)}
    return tuple(value for port in sorted(ports) if is_float(value := node.value(port)))


def _kind(node: Node, subject: Subject) -> Kind:
    op = node.op
    if op == "Pow":
        return "own" if constant_float(node.inputs[1]) == 2 else "float"
    if op == "Maximum" and _clips(node, op, 0, subject):
        return "own"  # a Relu
    if op == "Cast":
        return "float" if DT_FLOAT in (get_type(node.proto, "SrcT", 0), get_type(node.proto, "DstT", 0)) else "index"
    if op in operations.BATCH_NORMS:
        return "float"
    known = operations.OPERATIONS.get(op)
    if known is not None:
        return known.kind
    return "fails" if op in operations.VARIABLES else "float"


def _is_scale_or_bias(layer: Node, after: Node, subject: Subject) -> bool:
    """Whether a node becomes part of the layer in front of it."""
    if after.op in operations.BATCH_NORMS:
        return layer.op in operations.TAKES_SCALE
    if len(after.inputs) != 2 or not any(subject.is_constant(value) for value in after.inputs):
        return False
    if after.op in BIAS_ADDS:
        return not (after.op == "Sub" and subject.is_constant(after.inputs[0]))
    if after.op not in _PRODUCTS or layer.op not in operations.TAKES_SCALE:
        return False
    constant = next(value for value in after.inputs if subject.is_constant(value))
    is_divided = after.op == "RealDiv" and constant == after.inputs[0]
    return not is_divided and constant_float(constant) is None


def _is_in_front_of_bias_or_relu(layer: Node, reshape: Node, subject: Subject) -> bool:
    """Whether a bias or Relu stands behind an op that only moves the layer's results; the converter puts it in front.

    An atrous convolution, VALID between SpaceToBatchND and BatchToSpaceND, becomes a dilated one.
    """
    if reshape.op == "BatchToSpaceND":
        is_atrous = subject.source(layer.inputs[0]).node.op == "SpaceToBatchND"
        if not is_atrous or get_str(layer.proto, "padding", "") != "VALID":
            return False
    elif reshape.op not in ("Reshape", "Squeeze", "ExpandDims"):
        return False
    after = subject.only_reader(reshape.value())
    if after is None:
        return False
    if after.op in operations.FUSED_ACTIVATIONS or _is_in_front_of_bias_or_relu(layer, after, subject):
        return True
    return after.op in _BIASES and reshape.op != "ExpandDims" and _is_scale_or_bias(layer, after, subject)


def _clips(node: Node, op: str, limit: float, subject: Subject) -> bool:
    """Whether it is the op Maximum or Minimum with this constant."""
    return node.op == op and any(subject.is_constant(value) and constant_float(value) == limit for value in node.inputs)


def _take_upper_limit(members: list[Node], subject: Subject) -> None:
    """Makes a Relu6 of a maximum with 0 and a minimum with 6."""
    if _clips(members[-1], "Maximum", 0, subject):
        after = subject.only_reader(members[-1].value())
        if after is not None and _clips(after, "Minimum", 6, subject):
            members.append(after)


def _quantized_constant(node: Node, subject: Subject) -> Node | None:
    for value in node.inputs:
        if subject.is_constant(value) and value.node.op in FAKE_QUANT_OPS:
            return value.node
    return None
