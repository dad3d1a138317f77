"""Groups of ops that the converter replaces by one op of TFLite: hard swish, GELU, PReLU, leaky ReLU, L2 norm.

Inside of a group no range is needed; with a fake quantizer or a second reader inside it is no group any more. The
converter looks for particular forms; with operands in another order it may not see the group.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple

from fqrewrite.check.operations import Kind
from fqrewrite.check.subject import Subject
from fqrewrite.ir.graph import Node, Value
from fqrewrite.match.parameters import constant_float, static_shape
from fqrewrite.match.ranks import is_last_axis

_ADDS = frozenset({"Add", "AddV2"})


class Composite(NamedTuple):
    """A group of ops.

    Attributes:
        name: of TFLite's op.
        kind: where its result's range comes from.
        operand: the tensor that it is computed from.
        members: its nodes, the last one first.
    """

    name: str
    kind: Kind
    operand: Value
    members: tuple[Node, ...]


def find_composite(root: Node, subject: Subject) -> Composite | None:
    """The group whose last op this is."""
    if root.op not in ("Mul", "RealDiv", "Maximum", *_ADDS):
        return None
    for name, kind, match in _MATCHERS:
        operand = match(root, subject)
        if operand is None:
            continue
        members = _members(root, operand, subject)
        if members is not None:
            return Composite(name, kind, operand, members)
    return None


def _members(root: Node, operand: Value, subject: Subject) -> tuple[Node, ...] | None:
    """The nodes between; None when one of them has readers outside."""
    found, queue = {root}, [root]
    for node in queue:
        for value in map(subject.source, node.inputs):
            if value != operand and not subject.is_constant(value) and value.node not in found:
                found.add(value.node)
                queue.append(value.node)
    for node in queue[1:]:
        if node.value() in subject.fetched or any(user not in found for user, _ in subject.readers(node.value())):
            return None
    return tuple(queue)


def _plus(value: Value, constant: float, subject: Subject) -> Value | None:
    """x of ``x + constant``, in either order."""
    node = value.node
    if node.op not in _ADDS:
        return None
    for data, other in (node.inputs, node.inputs[::-1]):
        if subject.is_constant(other) and not subject.is_constant(data) and constant_float(other) == constant:
            return subject.source(data)
    return None


def _scaled(value: Value, subject: Subject) -> tuple[Value, float] | None:
    """(x, c) of ``x * c``, ``c * x`` and ``x / (1 / c)``, c a number."""
    node = value.node
    if node.op not in ("Mul", "RealDiv"):
        return None
    for data, other in (node.inputs, node.inputs[::-1]):
        if subject.is_constant(other) and not subject.is_constant(data):
            number = constant_float(other)
            if number is None or (node.op == "RealDiv" and (number == 0 or other != node.inputs[1])):
                return None
            return subject.source(data), 1 / number if node.op == "RealDiv" else number
    return None


def _operands(node: Node, subject: Subject) -> tuple[Value, Value]:
    first, second = node.inputs
    return subject.source(first), subject.source(second)


def _is_sixth(number: float, node: Node) -> bool:
    return number == (1 / 6 if node.op == "RealDiv" else _SIXTH)


def _hard_swish(root: Node, subject: Subject) -> Value | None:
    """``(x * relu6(x + 3)) / 6`` in this order, or ``x * (relu6(x + 3) / 6)`` in any; 1 / 6 as float32 has it."""
    outer = _scaled(root.value(), subject)
    if outer is not None and outer[0].node.op == "Mul" and _is_sixth(outer[1], root):
        operand, gate = _operands(outer[0].node, subject)
        constants = [value for value in root.inputs if subject.is_constant(value)]
        is_scalar = root.op == "RealDiv" or static_shape(constants[0]) == ()
        return operand if is_scalar and _is_relu6(gate, operand, subject) else None
    if root.op != "Mul" or outer is not None:
        return None
    values = _operands(root, subject)
    for operand, gate in (values, values[::-1]):
        inner = _scaled(gate, subject)
        if inner is not None and _is_sixth(inner[1], gate.node) and _is_relu6(inner[0], operand, subject):
            return operand
    return None


def _is_relu6(gate: Value, operand: Value, subject: Subject) -> bool:
    """Whether it is ``relu6(x + 3)``."""
    return gate.node.op == "Relu6" and _plus(subject.source(gate.node.inputs[0]), 3.0, subject) == operand


def _gelu(root: Node, subject: Subject) -> Value | None:
    """``(x / 2) * (1 + erf(x / sqrt(2)))``, with erfc, or with tanh and a power; the half comes first."""
    if root.op != "Mul":
        return None
    half, gate = _operands(root, subject)
    scaled = _scaled(half, subject)
    if scaled is None or scaled[1] != 0.5:
        return None
    curve = gate if gate.node.op == "Erfc" else _plus(gate, 1.0, subject)
    if curve is None or curve.node.op not in ("Erf", "Erfc", "Tanh"):
        return None
    return scaled[0] if curve.node.op != "Tanh" or _has_power(curve.node, subject) else None


def _has_power(tanh: Node, subject: Subject) -> bool:
    """Whether x ** 3 is a Pow; a product of three is not recognised."""
    argument = _scaled(subject.source(tanh.inputs[0]), subject)
    if argument is None or argument[0].node.op not in _ADDS:
        return False
    terms = (_scaled(subject.source(term), subject) for term in argument[0].node.inputs)
    return any(term is not None and term[0].node.op == "Pow" for term in terms)


def _prelu(root: Node, subject: Subject) -> Value | None:
    """``relu(x) + (-alpha) * relu(-x)`` in this order, alpha of rank 3."""
    if root.op not in _ADDS:
        return None
    positive, negative = _operands(root, subject)
    if positive.node.op != "Relu" or negative.node.op != "Mul":
        return None
    operand = subject.source(positive.node.inputs[0])
    sides = _operands(negative.node, subject)
    for alpha, gate in (sides, sides[::-1]):
        if subject.is_constant(alpha) and gate.node.op == "Relu" and _is_negative(gate, operand, subject):
            return operand if len(_shape(alpha) or ()) == 3 else None
    return None


def _is_negative(gate: Value, operand: Value, subject: Subject) -> bool:
    negative = subject.source(gate.node.inputs[0]).node
    return negative.op == "Neg" and subject.source(negative.inputs[0]) == operand


def _shape(value: Value) -> tuple[int, ...] | None:
    while value.node.op == "Neg":
        value = value.node.inputs[0]
    return static_shape(value)


def _leaky_relu(root: Node, subject: Subject) -> Value | None:
    """``max(alpha * x, x)`` in this order."""
    if root.op != "Maximum":
        return None
    scaled, operand = _operands(root, subject)
    product = _scaled(scaled, subject) if scaled.node.op == "Mul" else None
    return operand if product is not None and product[0] == operand and 0 <= product[1] < 1 else None


def _l2_norm(root: Node, subject: Subject) -> Value | None:
    """``x * rsqrt(max(sum(square(x)), eps))`` in this order, also ``+ eps`` and ``x / sqrt``; along the last axis."""
    if root.op not in ("Mul", "RealDiv"):
        return None
    operand, norm = _operands(root, subject)
    if norm.node.op != ("Rsqrt" if root.op == "Mul" else "Sqrt"):
        return None
    total = subject.source(norm.node.inputs[0]).node
    if total.op in ("Maximum", *_ADDS):
        total = subject.source(total.inputs[0]).node
    if total.op != "Sum" or not is_last_axis(total.inputs[1], operand):
        return None
    square = subject.source(total.inputs[0]).node
    return operand if square.op == "Square" and subject.source(square.inputs[0]) == operand else None


_SIXTH = struct.unpack("<f", struct.pack("<f", 1 / 6))[0]

_MATCHERS: tuple[tuple[str, Kind, Callable[[Node, Subject], Value | None]], ...] = (
    ("HARD_SWISH", "own", _hard_swish),
    ("GELU", "own", _gelu),
    ("PRELU", "own", _prelu),
    ("LEAKY_RELU", "own", _leaky_relu),
    ("L2_NORMALIZATION", "fixed", _l2_norm),
)
