"""Biases that the converter gets wrong: one number for all channels of a convolution with a scale for each channel."""

from __future__ import annotations

from collections.abc import Iterator

from fqrewrite.check.operations import WEIGHTS
from fqrewrite.check.quantizers import read_quantizer
from fqrewrite.check.records import Finding, Severity
from fqrewrite.check.subject import Subject
from fqrewrite.check.units import Unit
from fqrewrite.check.weights import behind
from fqrewrite.ir.graph import Node
from fqrewrite.match.parameters import BIAS_ADDS, is_scalar
from fqrewrite.plans.constants import NotConstant, evaluate


def bias_findings(unit: Unit, subject: Subject) -> Iterator[Finding]:
    """What is the matter with the bias of a layer.

    Args:
        unit: any op of the converted model.
        subject: the graph that it is of.
    """
    layer = unit.node
    severity: Severity
    added = [node for node in unit.members if node.op in BIAS_ADDS and node is not layer]
    if not added or not _is_uniform(added, subject):
        return
    if layer.op == "Conv2DBackpropInput":
        if not all(is_scalar(value) for node in added for value in node.inputs if subject.is_constant(value)):
            return
        severity, reason = "fails", "the bias is one number for all channels, and the model does not load"
    elif layer.op in ("Conv2D", "DepthwiseConv2dNative"):
        quantizer, _ = behind(layer.inputs[WEIGHTS[layer.op].slot])
        known = None if quantizer is None else read_quantizer(quantizer)
        if known is None or len(set(known.high)) == 1:
            return
        severity = "wrong"
        reason = "all channels have the same bias, which the converter quantizes with the scale of the first one"
    else:
        return
    remedy = "put a fake quantizer in front of the addition, or use one range for the weights"
    yield Finding(
        code="bias-uniform",
        severity=severity,
        name=added[0].name,
        op=added[0].op,
        reason=reason,
        remedy=remedy,
    )


def _is_uniform(added: list[Node], subject: Subject) -> bool:
    """Whether all that is added makes one number, and not 0."""
    import numpy as np

    try:
        signed = [
            (node.op == "Sub", evaluate(value)) for node in added for value in node.inputs if subject.is_constant(value)
        ]
    except NotConstant:
        return False
    total = sum(-bias if negative else bias for negative, bias in signed)
    numbers = np.unique(np.asarray(total))
    return numbers.size == 1 and bool(numbers[0] != 0)
