"""Results that stay float in preset contrib although what goes in is quantized: listed, so that no one is surprised."""

from __future__ import annotations

from collections.abc import Iterator

from fqrewrite.ir.graph import Node, Value
from fqrewrite.match.analysis import Analysis
from fqrewrite.match.parameters import FAKE_QUANT_OPS
from fqrewrite.match.proposal import Decline, Proposal, Rule

_ACTIVATIONS = ("Relu", "Relu6", "LeakyRelu", "Elu", "Selu", "Sigmoid", "Tanh", "Softplus", "Softsign", "Softmax")
_OTHERS = ("Concat", "ConcatV2", "Sub", "RealDiv")
_PASS = frozenset(
    {"Reshape", "Identity", "Squeeze", "ExpandDims", "MaxPool", "AvgPool", "Mean", "Max", "Pad", "Transpose"}
)
_FUSED_BEFORE = frozenset({"Add", "AddV2", "Mul"})


def _propose(node: Node, analysis: Analysis) -> Iterator[Proposal]:
    value = node.value()
    if node in analysis.control_flow or analysis.runs_into_fake_quant(value) or value in analysis.raw:
        return
    if any(_comes_from_quantized(operand, analysis) for operand in node.inputs):
        reason = f"preset contrib has no quantizer behind this {node.op}, whose input is quantized"
        yield Decline(kind="tensor", node=node, code="no-quantizer-in-preset", reason=reason)


def _comes_from_quantized(value: Value, analysis: Analysis) -> bool:
    """Whether a value is quantized, but for reshaping and at most one Add or Mul that is fused with what follows."""
    if _is_quantized(value, analysis):
        return True
    node = _source(value, analysis).node
    return node.op in _FUSED_BEFORE and any(_is_quantized(operand, analysis) for operand in node.inputs)


def _is_quantized(value: Value, analysis: Analysis) -> bool:
    source = _source(value, analysis)
    return source in analysis.quantized or source.node.op in FAKE_QUANT_OPS


def _source(value: Value, analysis: Analysis) -> Value:
    """The nearest quantized value, or else the first one that something computes, behind reshapes and pools."""
    while value.node.op in _PASS and value not in analysis.quantized:
        value = value.node.inputs[0]
    return value


RULE = Rule(
    name="float_activations",
    phase="coverage",
    ops=_ACTIVATIONS + _OTHERS,
    summary="Activations, concatenations, differences and quotients that contrib had no quantizer for are listed.",
    propose=_propose,
)
