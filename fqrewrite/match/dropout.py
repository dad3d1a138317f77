"""Recognising dropout: a product of data with a mask made from random numbers."""

from __future__ import annotations

from fqrewrite.ir.graph import Node, Value

_RANDOM = frozenset(
    {"RandomUniform", "StatelessRandomUniform", "StatelessRandomUniformV2", "RandomStandardNormal", "Bernoulli"}
)
_MASK_OPS = frozenset({"Add", "AddV2", "Sub", "Mul", "Floor", "GreaterEqual", "Greater", "Less", "Cast", "Identity"})
_MOST_MASK_OPS = 12
_PRODUCT = frozenset({"Mul", "RealDiv", "Select", "SelectV2"})


def dropped_out(node: Node) -> Value | None:
    """The data that goes into a dropout, when `node` is one of its operations; None when it is not.

    Both products are meant: the one with the mask, and the one with 1/keep_prob that feeds it or reads it.
    """
    if node.op not in _PRODUCT:
        return None
    data = _masked(node)
    if data is not None:
        return data
    consumers = node.value().consumers()
    if len(consumers) == 1 and consumers[0].op in _PRODUCT:
        data = _masked(consumers[0])
        if data is not None and data.node is node:
            return node.inputs[0]
    return None


def _masked(node: Node) -> Value | None:
    """The operand of a product that is not a random mask, when another operand is one."""
    masks = [_is_mask(operand) for operand in node.inputs]
    if not any(masks):
        return None
    return next((operand for operand, mask in zip(node.inputs, masks, strict=True) if not mask), None)


def _is_mask(value: Value) -> bool:
    queue, seen = [value.node], set[Node]()
    for node in queue:
        if node.op in _RANDOM:
            return True
        if node.op in _MASK_OPS and node not in seen and len(seen) < _MOST_MASK_OPS:
            seen.add(node)
            queue.extend(operand.node for operand in node.inputs)
    return False
