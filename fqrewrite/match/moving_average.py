"""Finding the moving averages of batch statistics by their update ops.

Three forms of the same update are known, v being a variable and x a statistic of the batch:

    v := v - (v - x) * rate         AssignSub; contrib, slim, tf.layers, Keras
    v := v + (x - v) * rate         AssignAdd; written by hand, and both of these with Assign
    v := v * decay + x * (1-decay)  Assign; written by hand
"""

from __future__ import annotations

from typing import NamedTuple

from fqrewrite.ir.graph import Node, Value
from fqrewrite.match.parameters import read_variable, strip_identity

_SUBTRACT = frozenset({"AssignSub", "AssignSubVariableOp"})
_ADD = frozenset({"AssignAdd", "AssignAddVariableOp"})
_ASSIGN = frozenset({"Assign", "AssignVariableOp"})
_PASS = frozenset({"Identity", "Cast", "Squeeze", "Reshape", "StopGradient"})


class Update(NamedTuple):
    """How a moving average is updated.

    Attributes:
        read: the moving average before the update.
        assign: the assignment.
        absolute: whether it sets the new value, and not a difference.
        ordered: whether the assignment waits for `read` anyway.
    """

    read: Value
    assign: Node
    absolute: bool
    ordered: bool = False


def find_moving_average(statistic: Value) -> Update | None:
    """The moving average that this batch statistic updates; None when there is none in a known form."""
    found = _find(statistic)
    if found is None:
        return None
    variable = read_variable(found.read)
    assert variable is not None
    if found.read.node.controls:
        # The update, and the read in it, may wait for the loss, which is behind whatever would use the read.
        reads = [use for use, _ in variable.uses if use.op in ("Identity", "ReadVariableOp") and not use.controls]
        return found._replace(read=reads[0].value()) if reads else found
    # A reference is read when its consumer runs; a resource when the read runs, which the update's data waits for.
    return found._replace(ordered=variable.op == "VarHandleOp")


def _find(statistic: Value) -> Update | None:
    for consumer, slot in statistic.uses():
        if consumer.op in _PASS and slot == 0:
            found = _find(consumer.value())
        elif consumer.op == "Sub":
            found = _difference(consumer, slot)
        elif consumer.op == "Mul":
            found = _weighted_sum(consumer)
        else:
            found = None
        if found is not None:
            return found
    return None


def _difference(sub: Node, slot: int) -> Update | None:
    """Follows v - x or x - v through the rate to an assignment that takes it off v, or adds it to v."""
    read = sub.inputs[1 - slot]
    variable = read_variable(read)
    if variable is None:
        return None
    in_place = _SUBTRACT if slot == 1 else _ADD
    for step in (consumer for consumer in sub.value().consumers() if consumer.op == "Mul"):
        for consumer in step.value().consumers():
            if consumer.op in in_place and consumer.inputs[0].node is variable:
                return Update(read, consumer, absolute=False)
            if _moves(consumer, step.value(), variable, away=slot == 1):
                for assign in consumer.value().consumers():
                    if assign.op in _ASSIGN and assign.inputs[0].node is variable:
                        return Update(read, assign, absolute=True)
    return None


def _moves(node: Node, step: Value, variable: Node, *, away: bool) -> bool:
    """Whether the node is v - step (away) or v + step."""
    if away:
        return node.op == "Sub" and node.inputs[1] == step and read_variable(node.inputs[0]) is variable
    return node.op in ("Add", "AddV2") and any(read_variable(operand) is variable for operand in node.inputs)


def _weighted_sum(mul: Node) -> Update | None:
    for add in mul.value().consumers():
        if add.op not in ("Add", "AddV2"):
            continue
        for assign in add.value().consumers():
            if assign.op not in _ASSIGN:
                continue
            for term in add.inputs:
                read = _variable_in_product(strip_identity(term), assign.inputs[0].node)
                if read is not None:
                    return Update(read, assign, absolute=True)
    return None


def _variable_in_product(value: Value, variable: Node) -> Value | None:
    if value.node.op != "Mul":
        return None
    return next((operand for operand in value.node.inputs if read_variable(operand) is variable), None)
