"""Finding the moving averages of batch statistics by their update ops.

Three forms of the same update are known, v being a variable and x a statistic of the batch:

    v := v - (v - x) * rate         AssignSub; contrib, slim, tf.layers, Keras
    v := v + (x - v) * rate         AssignAdd; written by hand, and both of these with Assign
    v := v * decay + x * (1-decay)  Assign; written by hand

How the rate is computed does not matter. Between any two of these operations may stand what leaves the numbers as they
are (a resolved conditional leaves Identity nodes), and before the update Keras's select(batch not empty, amount, 0).
With `zero_debias` of tf.contrib another variable gets v / (1 - decay^step); that one is the moving average then.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from fqrewrite.ir.graph import Node, Value
from fqrewrite.match.parameters import READ_OPS, read_variable, strip_identity

_SUBTRACT = frozenset({"AssignSub", "AssignSubVariableOp"})
_ADD = frozenset({"AssignAdd", "AssignAddVariableOp"})
_ASSIGN = frozenset({"Assign", "AssignVariableOp"})
_PASS = frozenset({"Identity", "Cast", "Squeeze", "Reshape", "StopGradient"})
_SELECT = frozenset({"Select", "SelectV2"})
_SUMS = frozenset({"Add", "AddV2"})


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
    debias = _debias(found, variable)
    if debias is not None:
        average = read_variable(debias.inputs[0])
        read = _plain_read(average) if average is not None else None
        return Update(read, debias, absolute=True) if read is not None else None
    found = found._replace(read=_nearest_read(found.read, variable))
    if waits(found.read):
        # The update, and the read in it, may wait for the loss, which is behind whatever would use the read.
        plain = _plain_read(variable)
        return found._replace(read=plain) if plain else found
    # A reference is read when its consumer runs; a resource when the read runs, which the update's data waits for.
    return found._replace(ordered=variable.op == "VarHandleOp")


def _nearest_read(read: Value, variable: Node) -> Value:
    """The read without Identities behind it, which differ between the sides of a conditional; but not what waits."""
    while not read.node.controls and read.node.inputs and read.node.inputs[0].node is not variable:
        read = read.node.inputs[0]
    return read


def _debias(biased: Update, variable: Node) -> Node | None:
    """What assigns biased / (1 - decay^step) to another variable; None when nothing does."""
    for value in (biased.assign.value(), *_reads(variable)):
        for division, place in value.uses():
            if division.op == "RealDiv" and place == 0:
                for assign, slot in _readers(division.value()):
                    if assign.op in _ASSIGN and slot == 1:
                        return assign
    return None


def _reads(variable: Node) -> list[Value]:
    return [use.value() for use, _ in variable.uses if use.op in READ_OPS]


def _plain_read(variable: Node) -> Value | None:
    return next((read for read in _reads(variable) if not waits(read)), None)


def waits(read: Value) -> bool:
    """Whether the read of a variable waits for something else."""
    node = read.node
    while node.inputs:
        if node.controls:
            return True
        node = node.inputs[0].node
    return False


def _find(statistic: Value) -> Update | None:
    for consumer, slot in _readers(statistic):
        if consumer.op == "Sub":
            found = _difference(consumer, slot)
        elif consumer.op == "Mul":
            found = _weighted_sum(consumer)
        else:
            found = None
        if found is not None:
            return found
    return None


def _readers(value: Value) -> Iterator[tuple[Node, int]]:
    """(consumer, input slot) of all that reads a value, or the same numbers behind it."""
    for consumer, slot in value.uses():
        if consumer.op in _PASS and slot == 0:
            yield from _readers(consumer.value())
        else:
            yield consumer, slot


def _difference(sub: Node, slot: int) -> Update | None:
    """Follows v - x or x - v through the rate to an assignment that takes it off v, or adds it to v."""
    read = sub.inputs[1 - slot]
    variable = read_variable(read)
    if variable is None:
        return None
    in_place = _SUBTRACT if slot == 1 else _ADD
    for step, _ in _readers(sub.value()):
        if step.op != "Mul":
            continue
        for consumer, place in _amounts(step.value()):
            if consumer.op in in_place and _assigns(consumer, variable):
                return Update(read, consumer, absolute=False)
            if _moves(consumer, place, variable, away=slot == 1):
                for assign, _ in _readers(consumer.value()):
                    if assign.op in _ASSIGN and _assigns(assign, variable):
                        return Update(read, assign, absolute=True)
    return None


def _amounts(step: Value) -> Iterator[tuple[Node, int]]:
    """What reads an amount, or the amount where the batch is not empty and else zeros."""
    for consumer, slot in _readers(step):
        if consumer.op in _SELECT and slot == 1 and consumer.inputs[2].node.op == "ZerosLike":
            yield from _readers(consumer.value())
        else:
            yield consumer, slot


def _assigns(assign: Node, variable: Node) -> bool:
    return read_variable(assign.inputs[0]) is variable


def _moves(node: Node, place: int, variable: Node, *, away: bool) -> bool:
    """Whether the node is v - step (away) or v + step, with the step at this place."""
    if len(node.inputs) != 2 or read_variable(node.inputs[1 - place]) is not variable:
        return False
    return (node.op == "Sub" and place == 1) if away else node.op in _SUMS


def _weighted_sum(mul: Node) -> Update | None:
    for add, _ in _readers(mul.value()):
        if add.op not in _SUMS:
            continue
        for assign, _ in _readers(add.value()):
            variable = read_variable(assign.inputs[0]) if assign.op in _ASSIGN else None
            if variable is None:
                continue
            for term in add.inputs:
                read = _variable_in_product(strip_identity(term), variable)
                if read is not None:
                    return Update(read, assign, absolute=True)
    return None


def _variable_in_product(value: Value, variable: Node) -> Value | None:
    if value.node.op != "Mul":
        return None
    return next((operand for operand in value.node.inputs if read_variable(operand) is variable), None)
