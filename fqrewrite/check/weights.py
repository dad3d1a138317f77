"""Whether the weights of a layer are quantized as its integer kernel needs them."""

from __future__ import annotations

from collections.abc import Iterator

from fqrewrite.check.operations import WEIGHTS
from fqrewrite.check.quantizers import Quantizer, range_defect, read_quantizer
from fqrewrite.check.records import Finding, Severity
from fqrewrite.check.subject import Subject
from fqrewrite.check.targets import Target
from fqrewrite.ir.graph import Node, Value
from fqrewrite.match.parameters import FAKE_QUANT_OPS, transposed
from fqrewrite.plans.constants import NotConstant, evaluate
from fqrewrite.proto.attrs import get_type
from fqrewrite.proto.dtypes import DT_FLOAT

_EXACT_BITS = (4, 8)


def weight_findings(layer: Node, subject: Subject, target: Target) -> Iterator[Finding]:
    """What is the matter with the weights of a layer; nothing when they are no constant."""
    rule = WEIGHTS.get(layer.op)
    if rule is None or rule.slot >= len(layer.inputs) or not subject.is_constant(layer.inputs[rule.slot]):
        return
    weights = layer.inputs[rule.slot]
    node, steps = behind(weights)
    if node is None and not _is_factor(layer, weights):
        yield _finding(
            layer,
            "weights-without-quantizer",
            "warning",
            "the weights have no quantizer; the converter rounds them by a range of its own",
            "quantize the weights, so that the graph computes what the model will",
        )
    quantizer = None if node is None else read_quantizer(node)
    if node is None or quantizer is None:
        return
    defect = range_defect(quantizer, weights=True)
    if defect is not None:
        yield Finding(
            code=defect.code,
            severity=defect.severity,
            name=node.name,
            op=node.op,
            reason=defect.reason,
            remedy=defect.remedy,
        )
    yield from _bits(layer, quantizer)
    if quantizer.per_channel:
        yield from _channels(layer, quantizer, steps, target)
    if target.symmetric_weights and rule.asymmetric != "fine" and not quantizer.symmetric:
        then = "the model does not load" if rule.asymmetric == "fails" else "it computes wrong numbers"
        yield _finding(
            layer,
            "weights-asymmetric",
            rule.asymmetric,
            f"the weights' range is not symmetric, but the int8 kernel needs zero point 0: {then}",
            "make it symmetric: min = -max, narrow_range (`weights: {symmetric: true}`)",
        )


def behind(weights: Value) -> tuple[Node | None, list[Node]]:
    """The fake quantizer of the weights, and the ops between it and the layer."""
    steps, node = list[Node](), weights.node
    while node.op not in FAKE_QUANT_OPS:
        data = [value for value in node.inputs if get_type(value.node.proto, "dtype", DT_FLOAT) == DT_FLOAT]
        if not data:
            return None, steps
        steps.append(node)
        node = data[0].node
    return node, steps


def _is_factor(layer: Node, weights: Value) -> bool:
    """Whether a depthwise layer has one weight for each channel, which the converter's own ranges keep exactly."""
    if layer.op != "DepthwiseConv2dNative":
        return False
    try:
        height, width, _, multiplier = evaluate(weights).shape
    except NotConstant:
        return False
    return (height, width, multiplier) == (1, 1, 1)


def _bits(layer: Node, quantizer: Quantizer) -> Iterator[Finding]:
    severity: Severity = "fails"
    if quantizer.bits > 8:
        what = f"the converter cannot take {quantizer.bits}-bit weights"
    elif quantizer.bits not in _EXACT_BITS:
        what = f"the converter puts {quantizer.bits}-bit weights on a grid of 4 or 8 bits"
        severity = "wrong"
    else:
        return
    yield _finding(layer, "weights-bits", severity, what, "use 8 bits, or 4")


def _channels(layer: Node, quantizer: Quantizer, steps: list[Node], target: Target) -> Iterator[Finding]:
    rule = WEIGHTS[layer.op]
    reason = None
    if not target.per_channel:
        reason = f"{target.name} has no ranges per channel"
    elif not rule.channel_axes:
        reason = f"the weights of {layer.op} cannot have a range per channel"
    elif any(node.op == "ExpandDims" for node in steps):
        reason = "the quantizer stands in front of an ExpandDims, through which the converter loses the channels"
    elif layer.op == "Conv2D" and any(node.op == "Transpose" for node in steps):
        reason = "the quantizer stands in front of a Transpose, through which the converter loses the channels"
    if reason is None:
        return
    wrong = layer.op == "MatMul" and transposed(layer, "b")
    remedy = "quantize behind it" if "in front of" in reason else "use one range: `granularity: per_tensor`"
    yield _finding(layer, "weights-per-channel", "wrong" if wrong else "fails", reason, remedy)


def _finding(layer: Node, code: str, severity: Severity, reason: str, remedy: str) -> Finding:
    return Finding(code=code, severity=severity, name=layer.name, op=layer.op, reason=reason, remedy=remedy)
