"""What the site rules share: how far the converter takes operations into one integer kernel."""

from __future__ import annotations

import struct

from fqrewrite.ir.graph import Node, Value
from fqrewrite.match.analysis import Analysis
from fqrewrite.match.layers import Layer
from fqrewrite.match.parameters import constant_float, is_scalar, repeated_number, static_shape, strip_identity
from fqrewrite.match.pattern import Bind, Pattern
from fqrewrite.proto.attrs import get_str

RELU = frozenset({"Relu", "Relu6"})
_ADD = frozenset({"Add", "AddV2", "BiasAdd"})


class Chain:
    """Operations that become one kernel, from the first to the last; grows by what follows.

    Attributes:
        result: the last one's result.
        nodes: all of them.
    """

    def __init__(self, result: Value, nodes: tuple[Node, ...], analysis: Analysis) -> None:
        self.result = result
        self.nodes = nodes
        self.analysis = analysis

    @property
    def inner(self) -> tuple[Node, ...]:
        """All but the one that computes the result."""
        return tuple(node for node in self.nodes if node is not self.result.node)

    def take_relu(self) -> None:
        """Takes in a Relu or Relu6 that is the only one to read the result."""
        reader, between = self._reader(frozenset())
        if reader is not None and reader[0].op in RELU:
            self._take(between, reader[0])

    def take_biases(self, layer: Layer, *, biased: bool) -> None:
        """Takes in additions of one number per channel, which the converter adds up to one bias.

        It (TensorFlow 2.21) quantizes the bias of a convolution whose numbers are all the same with the scale of the
        first channel, so that one number for several channels is no bias there, unless it is added to another one.
        One for a transposed convolution, also of one channel, does not load.

        Args:
            layer: what the chain begins with; behind a matmul, a Reshape may stand between (Tensordot).
            biased: whether there is a bias already.
        """
        fits = layer.kind == "matmul" or (layer.channels == 1 and layer.kind != "transposed_conv2d")
        passed = _moved(layer)
        while True:
            reader, between = self._reader(passed)
            if reader is None or not is_bias(*reader, layer.channels, self.analysis):
                return
            node, slot = reader
            if not biased and not fits and _is_uniform(node.inputs[1 - slot], layer.channels):
                return
            self._take(between, node)
            biased = True

    def take_relu_behind_shapes(self, layer: Layer) -> None:
        """As `take_relu`, also behind operations that only move the results of the layer that the chain begins with."""
        reader, between = self._reader(_moved(layer) | {"ExpandDims"})
        if reader is not None and reader[0].op in RELU:
            self._take(between, reader[0])

    def _take(self, between: list[Node], node: Node) -> None:
        self.nodes += (*between, node)
        self.result = node.value()

    def _reader(self, passed: frozenset[str]) -> tuple[tuple[Node, int] | None, list[Node]]:
        """The only reader of the result, and what is passed on the way to it: Identity, and ops of `passed`."""
        between: list[Node] = []
        reader = sole_reader(self.result, self.analysis)
        while reader is not None and reader[1] == 0 and (reader[0].op == "Identity" or reader[0].op in passed):
            between.append(reader[0])
            reader = sole_reader(reader[0].value(), self.analysis)
        return reader, between


def _moved(layer: Layer) -> frozenset[str]:
    """Operations that move the results of a layer, and behind which the converter finds its bias.

    An atrous convolution, VALID between SpaceToBatchND and BatchToSpaceND, becomes a dilated one.
    """
    node = layer.node
    if layer.kind == "matmul":
        return frozenset({"Squeeze", "Reshape"})
    is_atrous = strip_identity(node.inputs[layer.data_slot]).node.op == "SpaceToBatchND"
    if is_atrous and get_str(node.proto, "padding", "") == "VALID":
        return frozenset({"Squeeze", "BatchToSpaceND"})
    return frozenset({"Squeeze"})


def sole_reader(value: Value, analysis: Analysis) -> tuple[Node, int] | None:
    """The only edge on the way to the model's results that reads a value; None when there are others, or it is one."""
    if value in analysis.outputs:
        return None
    uses = [use for use in value.uses() if use[0] in analysis.forward]
    return uses[0] if len(uses) == 1 and uses[0][0] not in analysis.taken else None


def inner_nodes(result: Value, x: Value, analysis: Analysis) -> tuple[Node, ...] | None:
    """The operations by which a result is computed from x and parameters; None when anything else reads one of them."""
    found = {result.node: None}
    queue = [result.node]
    for node in queue:
        for operand in node.inputs:
            if operand != x and operand.node not in found and not analysis.parameters.is_parameter(operand):
                found[operand.node] = None
                queue.append(operand.node)
    inner = [node for node in found if node is not result.node]
    for node in inner:
        if not (found.keys() | {x.node}).issuperset(user for user, _ in node.uses if user in analysis.forward):
            return None
        if node in analysis.taken or node.value() in analysis.outputs:
            return None
    return tuple(inner)


def number(expected: float, *, exact: bool = False, shape: tuple[int, ...] | None = None) -> Pattern:
    """A constant of one element with this value.

    Args:
        expected: the value.
        exact: whether it must be the nearest float32, or may differ by a ten thousandth.
        shape: what the constant must have; None for any.
    """
    nearest: float = struct.unpack("<f", struct.pack("<f", expected))[0]
    tolerance = 0.0 if exact else 1e-4 * max(1.0, abs(expected))

    def is_it(value: Value) -> bool:
        found = constant_float(value)
        return (
            found is not None and abs(found - nearest) <= tolerance and (shape is None or static_shape(value) == shape)
        )

    return Bind(where=is_it)


def is_bias(node: Node, slot: int, channels: int | None, analysis: Analysis) -> bool:
    """Whether a node adds one number per channel, or one for all of them, to what it has at an input slot.

    Args:
        node: any operation.
        slot: of its inputs, the one that has the channels.
        channels: how many there are; None when that is not known.
        analysis: the graph around it.
    """
    if len(node.inputs) != 2 or not (node.op in _ADD or (node.op == "Sub" and slot == 0)):
        return False
    other = node.inputs[1 - slot]
    if not analysis.parameters.is_parameter(other):
        return False
    shape = static_shape(other)
    if shape is None:
        return node.op == "BiasAdd"
    return all(size == 1 for size in shape[:-1]) and (not shape or channels is None or shape[-1] in (1, channels))


def _is_uniform(bias: Value, channels: int | None) -> bool:
    """Whether a bias is known to be one number, and not 0, for several channels."""
    number = repeated_number(bias)
    return number != 0 if number is not None else is_scalar(bias) and channels != 1
