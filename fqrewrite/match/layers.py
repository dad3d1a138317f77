"""Layers: operations with weights that an integer runtime can run."""

from __future__ import annotations

from typing import Literal

from fqrewrite.ir.graph import Node, Value
from fqrewrite.match.parameters import is_constant, leaves, static_shape
from fqrewrite.proto.attrs import get_bool, get_str

LayerKind = Literal["conv2d", "depthwise", "matmul", "transposed_conv2d", "batch_matmul"]


class Layer:
    """A convolution or matmul with its weights.

    Attributes:
        node: the operation.
        kind: what it is.
        slot: the input slot of the weights.
        data_slot: the input slot of the data.
        weights: the weights as the operation reads them: float32[H, W, C_in, C_out], float32[H, W, C, M],
            float32[H, W, C_out, C_in] of a transposed convolution, float32[..., C_in, C_out] of a batch matmul,
            or float32[C_in, C_out] (float32[C_out, C_in] when the MatMul transposes them).
        constant: whether the weights are constants, as in a frozen graph.
        channels: number of output channels; None when it is unknown, or they are not the last axis of the output.
    """

    __slots__ = ("channels", "constant", "data_slot", "kind", "node", "slot", "weights")

    def __init__(self, node: Node, kind: LayerKind, slot: int) -> None:
        self.node = node
        self.kind = kind
        self.slot = slot
        self.data_slot = 2 if kind == "transposed_conv2d" else 1 - slot
        self.weights: Value = node.inputs[slot]
        self.constant = is_constant(self.weights)
        self.channels = _channels(node, kind, slot)

    @property
    def data_format(self) -> str:
        """ "NHWC" or "NCHW": where the output has its channels."""
        return "NHWC" if "matmul" in self.kind else get_str(self.node.proto, "data_format", "NHWC")

    @property
    def names(self) -> tuple[str, ...]:
        """Names by which a config may mean this layer: the operation's and those of its weights."""
        return (self.node.name, *(leaf.name for leaf in leaves(self.weights)))


def channel_axis(layer: Node, slot: int) -> int | None:
    """The axis of a layer's weights that becomes the last axis of its output: -1 or -2; None when it is no such axis.

    Args:
        layer: the operation; of a depthwise convolution -1 stands for the last two axes together.
        slot: the input slot of the weights.
    """
    if layer.op == "Einsum":
        return _einsum_axis(get_str(layer.proto, "equation", ""), slot)
    if layer.op == "Conv2DBackpropInput":
        return -2
    turned = {"MatMul": "transpose_b"}.get(layer.op, "adj_y" if layer.op.startswith("BatchMatMul") else None)
    if turned is None:
        return -1
    if slot == 0:  # the weights are multiplied from the left
        return None
    return -2 if get_bool(layer.proto, turned, False) else -1


def _einsum_axis(equation: str, slot: int) -> int | None:
    operands, _, output = equation.replace(" ", "").partition("->")
    labels = operands.split(",")[slot] if slot < operands.count(",") + 1 else ""
    last = output[-1:]
    axis = labels.rfind(last) - len(labels) if last.isalpha() else 0
    return axis if axis in (-1, -2) else None


def _channels(node: Node, kind: LayerKind, slot: int) -> int | None:
    shape = static_shape(node.inputs[slot])
    if shape is None or len(shape) < 2:
        return None
    if kind == "depthwise":
        channels = shape[2] * shape[3] if len(shape) == 4 and min(shape[2:]) > 0 else -1
    else:
        axis = channel_axis(node, slot)
        channels = -1 if axis is None else shape[axis]
    return channels if channels > 0 else None
