"""Layers: operations with weights that an integer runtime can run."""

from __future__ import annotations

from typing import Literal

from fqrewrite.ir.graph import Node, Value
from fqrewrite.match.parameters import is_constant, leaves, static_shape, transposed
from fqrewrite.proto.attrs import get_str

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
        channels: number of output channels; None when the weights' shape is unknown.
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


def _channels(node: Node, kind: LayerKind, slot: int) -> int | None:
    shape = static_shape(node.inputs[slot])
    if shape is None or len(shape) < 2:
        return None
    if kind == "depthwise":
        channels = shape[2] * shape[3] if len(shape) == 4 and min(shape[2:]) > 0 else -1
    elif kind == "matmul" and transposed(node, "ab"[slot]):
        channels = shape[0]
    elif kind == "transposed_conv2d":
        channels = shape[-2]
    else:
        channels = shape[-1]
    return channels if channels > 0 else None
