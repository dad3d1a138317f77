"""Which constants of a frozen graph were variables that a training would change.

Freezing makes constants of everything. What was trained shows in what a constant is used for: as the weights of a
layer, as a bias, as gamma or beta of a batch norm, as a scale or slope per channel behind a layer. Statistics of batch
norms and ranges of fake quantizers were variables too, but no optimizer moves them.
"""

from __future__ import annotations

import msgspec

from fqrewrite.ir.arity import check_arity
from fqrewrite.ir.graph import Graph, Node, Value
from fqrewrite.ir.topology import inside_control_flow, topological_order
from fqrewrite.match.parameters import FAKE_QUANT_OPS, Parameters, is_constant, static_shape, transposed
from fqrewrite.proto.attrs import get_bool, get_str, get_type
from fqrewrite.proto.dtypes import DT_FLOAT, FLOATING, dtype_name

# The slot of the weights, and that of the data.
_FILTERED = {
    "Conv2D": (1, 0),
    "DepthwiseConv2dNative": (1, 0),
    "Conv3D": (1, 0),
    "Conv2DBackpropInput": (1, 2),
    "DepthwiseConv2dNativeBackpropInput": (1, 2),
    "Conv3DBackpropInput": (1, 2),
    "Conv3DBackpropInputV2": (1, 2),
}
_PRODUCTS = frozenset({"MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "Einsum"})
_FUSED_NORMS = frozenset({"FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3"})
_SUMS = frozenset({"Add", "AddV2", "Sub"})
_SCALES = frozenset({"Mul", "RealDiv"})
_ROOTS = frozenset({"Rsqrt", "Sqrt"})

# Within an expression of constants: ops that hand their first operand on, and ops of which every operand counts.
_FIRST = FAKE_QUANT_OPS | {"Identity", "Enter", "Reshape", "Transpose", "ExpandDims", "Squeeze", "Cast", "Neg", "Pad"}
_FIRST |= {"RealDiv", "BroadcastTo", "Tile", "StridedSlice", "StopGradient"}
_ALL = frozenset({"Mul", "Add", "AddV2", "Sub", "AddN", "ConcatV2", "Pack"})
_SHAPE_ONLY = FAKE_QUANT_OPS | {"Identity", "Reshape", "Squeeze", "ExpandDims", "Transpose", "BatchToSpaceND"}
# What may stand between a layer and a bias or scale that still belongs to the network, and not to what decodes its
# results. Slicing, softmax, sigmoid and exponentials are where decoding begins.
_THROUGH = (
    _SHAPE_ONLY
    | _SUMS
    | _SCALES
    | _FUSED_NORMS
    | {"BiasAdd", "AddN", "ConcatV2", "Concat", "Maximum", "Minimum", "Neg", "Abs", "Square", "Sqrt", "Rsqrt", "Mean"}
    | {"Relu", "Relu6", "LeakyRelu", "Elu", "Selu", "Tanh", "Softplus", "MaxPool", "AvgPool", "Max", "Sum"}
    | {"Pad", "PadV2", "MirrorPad", "SpaceToBatchND", "SpaceToDepth", "DepthToSpace", "SquaredDifference"}
    | {"ResizeBilinear", "ResizeNearestNeighbor", "StopGradient"}
)


class NotThawed(msgspec.Struct, frozen=True, kw_only=True):
    """A constant that is used as a trained parameter but cannot become a variable, and why."""

    name: str
    reason: str


def trainable_constants(graph: Graph) -> tuple[list[Node], list[NotThawed]]:
    """Finds the float32 constants that a training of this graph would change. O(nodes + edges).

    Returns:
        The Const nodes, and those that are parameters as well but have to stay constants; both in graph order.

    Raises:
        GraphError: `wrong-number-of-inputs` or `graph-cycle`.
    """
    check_arity(graph)
    search = _Search(graph)
    search.run()
    inside = inside_control_flow(graph, topological_order(graph))
    found: list[Node] = []
    left: list[NotThawed] = []
    for node in sorted(search.found, key=lambda node: node.index):
        dtype = get_type(node.proto, "dtype", DT_FLOAT)
        if dtype != DT_FLOAT:
            left.append(NotThawed(name=node.name, reason=f"it is {dtype_name(dtype)}, not float32"))
        elif node in inside:
            left.append(NotThawed(name=node.name, reason="it is inside a conditional or a while loop"))
        elif node in search.fixed:
            reason = "it is also a statistic of a batch norm or a range of a fake quantizer, which are not trained"
            left.append(NotThawed(name=node.name, reason=reason))
        else:
            found.append(node)
    return found, left


class _Search:
    """One walk through a graph.

    Attributes:
        found: constants used as parameters.
        fixed: constants used as statistics and ranges.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.found: dict[Node, None] = {}
        self.fixed: set[Node] = set()
        self._parameters = Parameters()
        self._layers: dict[Node, Value] = {}
        self._channels_first = False

    def run(self) -> None:
        """Fills `found` and `fixed`."""
        sources: list[Node] = []
        for node in self.graph:
            if node.op in _FILTERED or node.op in _PRODUCTS:
                self._layer(node)
            elif node.op in _FUSED_NORMS:
                self._fused_norm(node)
                sources.append(node)
            elif node.op in FAKE_QUANT_OPS:
                for value in node.inputs[1:]:
                    self._fix(value)
            elif node.op == "BiasAdd" and self._constant(node.inputs[1]):
                self._collect(node.inputs[1], shift=True, single=True)
            elif node.op in _ROOTS and self._constant(node.inputs[0]):
                self._fix(node.inputs[0])
            elif self._normalises(node):
                sources.append(node)
        behind = _reached_from([*self._layers, *sources])
        for node in self.graph.by_op(*_SUMS, "Mul"):
            slot = self._constant_slot(node)
            if slot is None:
                continue
            data, constant = node.inputs[1 - slot], node.inputs[slot]
            if self._normalises(node):
                self._collect(constant, per_channel=True)
            elif node.op == "Sub" and slot == 1 and self._is_centring(node):
                self._fix(constant)
            elif data.node not in behind:
                continue
            elif node.op == "Mul":
                self._collect(constant, per_channel=not _is_negative_part(data))
            else:
                anything = data.node.op == "Einsum"
                self._collect(constant, shift=True, per_channel=not anything, single=self._is_one_channel(data))

    def _layer(self, node: Node) -> None:
        if node.op in _FILTERED:
            slot, data = _FILTERED[node.op]
            if max(slot, data) >= len(node.inputs) or not self._constant(node.inputs[slot]):
                return
            if self._parameters.is_parameter(node.inputs[data]):
                return
        else:
            found = self._constant_slot(node)
            if found is None:
                return
            slot = found
        self._layers[node] = node.inputs[slot]
        self._channels_first |= get_str(node.proto, "data_format", "NHWC").startswith("NC")
        self._collect(node.inputs[slot], single=True)

    def _fused_norm(self, node: Node) -> None:
        _, gamma, beta, mean, variance = node.inputs[:5]
        for value in (gamma, beta):
            if self._constant(value):
                self._collect(value, single=True, shift=value is beta)
        self._fix(mean)
        self._fix(variance)

    def _collect(self, value: Value, *, shift: bool = False, per_channel: bool = False, single: bool = False) -> None:
        """Enters the constants that an expression is made of.

        Args:
            value: the expression, of constants only.
            shift: whether it is added: a product with 1/sqrt(variance) in it is the mean's share then.
            per_channel: whether only constants with one number per channel count.
            single: whether a constant with one element is a parameter, and no mere number, if the expression is that.
        """
        queue, seen, plain = [value], set[Node](), True
        for item in queue:
            node = item.node
            if node in seen:
                continue
            seen.add(node)
            if node.op == "Const":
                if self._is_parameter_like(node, per_channel, single and plain):
                    self.found[node] = None
            elif node.op in _SCALES and shift and any(map(_holds_root, node.inputs)):
                for operand in node.inputs:
                    self._fix(operand)
            elif node.op in _FIRST:
                queue.append(node.inputs[0])
            elif node.op in _ALL:
                plain = False
                queue.extend(node.inputs)

    def _is_parameter_like(self, node: Node, per_channel: bool, single: bool) -> bool:
        shape = static_shape(node.value())
        if not shape or get_type(node.proto, "dtype", DT_FLOAT) not in FLOATING or min(shape) < 1:
            return False
        wide = [axis for axis, size in enumerate(shape) if size > 1]
        if not wide:
            return single
        if not per_channel or wide == [len(shape) - 1]:
            return True
        # [C, 1, 1] and [1, C, 1, 1], where a layer has its channels first
        return self._channels_first and len(wide) == 1 and (wide[0], len(shape)) in ((0, 3), (0, 4), (1, 4), (1, 5))

    def _fix(self, value: Value) -> None:
        """Enters the constants that a statistic or range is, with what is added to it."""
        queue = [value]
        for item in queue:
            node = item.node
            if node.op == "Const":
                self.fixed.add(node)
            elif node.op in ("Add", "AddV2"):
                queue.extend(node.inputs)
            elif node.op in _FIRST and node.op != "RealDiv":
                queue.append(node.inputs[0])

    def _constant(self, value: Value) -> bool:
        """Whether a value depends on constants alone, a loop's invariants among them."""
        while value.node.inputs and (value.node.op == "Identity" or _is_invariant(value.node)):
            value = value.node.inputs[0]
        return self._parameters.is_parameter(value) and is_constant(value)

    def _constant_slot(self, node: Node) -> int | None:
        """The slot of the one operand that depends on constants alone, when the other is data."""
        constant = [self._constant(operand) for operand in node.inputs]
        if sum(constant) != 1 or len(constant) != 2:
            return None
        slot = constant.index(True)
        return None if self._parameters.is_parameter(node.inputs[1 - slot]) else slot

    def _normalises(self, node: Node) -> bool:
        """Whether data is multiplied with 1/sqrt(variance) of constants, or divided by the root."""
        if node.op not in _SCALES:
            return False
        slot = self._constant_slot(node)
        return slot is not None and _holds_root(node.inputs[slot])

    def _is_centring(self, node: Node) -> bool:
        """Whether data minus a constant is then divided by a constant root: the constant is a mean."""
        return any(self._normalises(consumer) for consumer in node.value().consumers())

    def _is_one_channel(self, value: Value) -> bool:
        """Whether a value is the output of a layer with one channel, reshaped at most."""
        while value.node not in self._layers:
            if value.node.op not in _SHAPE_ONLY:
                return False
            value = value.node.inputs[0]
        layer, weights = value.node, self._layers[value.node]
        shape = static_shape(weights)
        if shape is None or len(shape) < 2:
            return False
        if layer.op == "DepthwiseConv2dNative":
            return shape[2:] == (1, 1)
        if layer.op in _FILTERED and layer.op not in ("Conv2D", "Conv3D"):
            return shape[-2] == 1
        if layer.op == "MatMul" and transposed(layer, "b"):
            return shape[0] == 1
        return shape[-1] == 1


def _is_invariant(node: Node) -> bool:
    """Whether a node hands a value of the outside to every turn of a while loop."""
    return node.op == "Enter" and get_bool(node.proto, "is_constant", False)


def _reached_from(sources: list[Node]) -> set[Node]:
    """The nodes, and those behind them as far as it goes through `_THROUGH`. A loop's back edges do no harm."""
    reached = dict.fromkeys(sources)
    queue = list(reached)
    for node in queue:
        for consumer, _ in node.uses:
            if consumer.op in _THROUGH and consumer not in reached:
                reached[consumer] = None
                queue.append(consumer)
    return set(reached)


def _holds_root(value: Value) -> bool:
    """Whether an expression of constants is a root, or a product with one: rsqrt(variance + epsilon) * gamma."""
    queue = [value]
    for item in queue:
        node = item.node
        if node.op in _ROOTS:
            return True
        if node.op in _SCALES:
            queue.extend(node.inputs)
        elif node.op in _FIRST:
            queue.append(node.inputs[0])
    return False


def _is_negative_part(value: Value) -> bool:
    """Whether a value is min(x, 0) up to its sign, which PReLU multiplies with slopes of any shape."""
    node = value.node
    if node.op == "Neg":
        node = node.inputs[0].node
    return node.op == "Minimum" or (node.op == "Relu" and node.inputs[0].node.op == "Neg")
