"""The parts that a layer's tail is made of, read backwards: bias add, bypass, activation.

A layer's own output may go through a bias add (`Add` counts, whatever is added); that, or the result of a batch-norm
fold, may go through a bypass (another `Add`) and then through an activation.
"""

from __future__ import annotations

from typing import NamedTuple

from fqrewrite.ir.graph import Value
from fqrewrite.match.analysis import Analysis
from fqrewrite.match.layers import Layer

ADD = ("Add", "AddV2")
ACTIVATIONS = ("Relu", "Relu6", "Identity")


class Tail(NamedTuple):
    """A layer's tail as far as it goes: the layer, its biased result, and the bypass add where there is one."""

    layer: Layer
    biased: Value | None = None
    bypass: Value | None = None


def bias_add(value: Value, analysis: Analysis) -> Tail | None:
    """`value` adds something to a layer's raw output."""
    node = value.node
    if node.op not in (*ADD, "BiasAdd") or len(node.inputs) != 2:
        return None
    for operand in node.inputs:
        layer = analysis.raw.get(operand)
        if layer is not None:
            return Tail(layer, value)
    return None


def biased(value: Value, analysis: Analysis) -> Tail | None:
    """`value` is a bias add, or the result of a fold, also behind the Identity that forced updates leave."""
    found = bias_add(value, analysis)
    if found is None:
        result = analysis.waiting.get(value, value)
        if result in analysis.folded:
            found = Tail(analysis.folded[result], result)
    return found


def bypass(value: Value, analysis: Analysis) -> Tail | None:
    """`value` adds something else to a biased result."""
    node = value.node
    if node.op not in ADD or len(node.inputs) != 2:
        return None
    for operand in node.inputs:
        found = biased(operand, analysis)
        if found is not None:
            return found._replace(bypass=value)
    return None


def activation(value: Value, analysis: Analysis) -> Tail | None:
    """`value` is an activation of a biased result, of a bypass or of a layer's raw output."""
    node = value.node
    if node.op not in ACTIVATIONS or value.port:
        return None
    operand = node.inputs[0]
    found = biased(operand, analysis) or bypass(operand, analysis)
    if found is None and operand in analysis.raw:
        found = Tail(analysis.raw[operand])
    return found
