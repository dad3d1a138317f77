"""Walking back from a batch norm to the layer that it normalises."""

from __future__ import annotations

import msgspec

from fqrewrite.ir.graph import Node, Value
from fqrewrite.match.analysis import Analysis
from fqrewrite.match.layers import Layer, channel_axis
from fqrewrite.match.parameters import constant_ints, static_shape
from fqrewrite.proto.attrs import get_str

_SHAPE_ONLY = frozenset({"BatchToSpaceND", "Reshape", "Squeeze", "ExpandDims"})
_LAYER_OPS = frozenset({"Conv2D", "DepthwiseConv2dNative", "MatMul"})
_BIAS_ADD = frozenset({"BiasAdd", "Add", "AddV2"})


class Chain(msgspec.Struct, frozen=True, kw_only=True):
    """What lies between a layer and its batch norm.

    Attributes:
        layer: the layer.
        nodes: nodes that only change the shape, layer first; Identity is left out.
        bias: the bias that is added on the way, float32[C] or float32[1, 1, 1, C].
    """

    layer: Layer
    nodes: tuple[Node, ...]
    bias: Value | None


class NoChain(msgspec.Struct, frozen=True, kw_only=True):
    """Why a batch norm cannot be folded; with the layer before it when there is one."""

    code: str
    reason: str
    layer: Layer | None = None


def chain_to_layer(x: Value, analysis: Analysis, *parameters: Value) -> Chain | NoChain:
    """Follows a batch norm's input back to its layer.

    Args:
        x: what the batch norm normalises.
        analysis: the graph around it.
        parameters: the batch norm's parameters, which must be float32[C] for the layer's C.
    """
    nodes: list[Node] = []
    bias: Value | None = None
    value, switched = x, False
    while value.node not in analysis.layers:
        node = value.node
        if node.op in ("Switch", "RefSwitch"):
            switched = True
        elif node.op in _SHAPE_ONLY:
            nodes.append(node)
        elif node.op in _BIAS_ADD and bias is None and len(node.inputs) == 2:
            slot = _bias_slot(node, analysis)
            if slot is None:
                return _not_after_layer(node)
            bias = node.inputs[slot]
            value = node.inputs[1 - slot]
            continue
        elif node.op != "Identity":
            return _not_after_layer(node)
        value = node.inputs[0]
    layer = analysis.layers[value.node]
    if switched:
        reason = "a conditional chooses between two batch norms (the phase is a placeholder)"
        return NoChain(code="batch-norm-switched", reason=reason, layer=layer)
    nodes.reverse()
    mismatch = _shape_mismatch(layer, nodes, bias, parameters)
    if mismatch:
        return NoChain(code="batch-norm-channels-differ", reason=mismatch, layer=layer)
    return Chain(layer=layer, nodes=tuple(nodes), bias=bias)


def _bias_slot(node: Node, analysis: Analysis) -> int | None:
    """The input of an add that is a bias of one number per channel, not another tensor of the layer's size."""
    slots = (1,) if node.op == "BiasAdd" else (1, 0)
    for slot in slots:
        if analysis.parameters.is_parameter(node.inputs[slot]):
            shape = static_shape(node.inputs[slot])
            one_per_channel = node.op == "BiasAdd" if shape is None else bool(shape) and set(shape[:-1]) <= {1}
            return slot if one_per_channel else None
    return None


def _not_after_layer(node: Node) -> NoChain:
    if node.op in _LAYER_OPS:
        return NoChain(code="batch-norm-not-after-layer", reason=f"the {node.op} {node.name!r} before it is left out")
    return NoChain(
        code="batch-norm-not-after-layer",
        reason=f"it normalises the output of {node.op} {node.name!r}, and only a layer can take it in",
    )


def _shape_mismatch(layer: Layer, nodes: list[Node], bias: Value | None, parameters: tuple[Value, ...]) -> str | None:
    """Why the batch norm's channels are not the layer's; None when they are."""
    if channel_axis(layer.node, layer.slot) is None:
        return "its layer multiplies the weights from the left, or so that the channels are not the last axis"
    expected = layer.channels
    for parameter in parameters:
        shape = static_shape(parameter)
        if shape is None or expected is None:
            continue
        if shape != (1,) * (len(shape) - 1) + (expected,):
            return f"it has parameters of shape {list(shape)}, its layer {expected} output channels"
    for node in nodes:
        if node.op != "Reshape":
            continue
        target = constant_ints(node.inputs[1])
        last = target[-1] if target else None
        if last is not None and last > 0 and expected is not None and last != expected:
            return f"the Reshape {node.name!r} between layer and batch norm does not keep the channels apart"
        if expected is None:
            return f"the number of channels behind the Reshape {node.name!r} is unknown"
    if layer.data_format == "NCHW" and nodes:
        return "the layer is NCHW and its output is reshaped before the batch norm"
    if bias is not None and layer.data_format == "NCHW" and not _is_nchw_bias(bias):
        return "the bias between an NCHW layer and its batch norm is not added by an NCHW BiasAdd"
    return None


def _is_nchw_bias(bias: Value) -> bool:
    return any(
        consumer.op == "BiasAdd" and get_str(consumer.proto, "data_format", "NHWC") == "NCHW"
        for consumer in bias.consumers()
    )
