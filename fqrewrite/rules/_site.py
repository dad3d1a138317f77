"""What the site rules share: how far the converter takes operations into one integer kernel."""

from __future__ import annotations

from fqrewrite.ir.graph import Node, Value
from fqrewrite.match.analysis import Analysis
from fqrewrite.match.parameters import constant_float, static_shape
from fqrewrite.match.pattern import Bind, Pattern

RELU = frozenset({"Relu", "Relu6"})
_ADD = frozenset({"Add", "AddV2", "BiasAdd"})
_SHAPE_ONLY = frozenset({"Squeeze", "BatchToSpaceND", "ExpandDims"})


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

    def take_bias(self, *, reshapes: bool) -> None:
        """Takes in the addition of one number per channel; with `reshapes`, also behind a Reshape (Tensordot)."""
        passed = _SHAPE_ONLY | {"Reshape"} if reshapes else _SHAPE_ONLY
        reader, between = self._reader(passed)
        if reader is not None and is_bias(*reader, self.analysis):
            self._take(between, reader[0])

    def take_relu_behind_shapes(self, *, reshapes: bool) -> None:
        """As `take_relu`, also behind operations that only change the shape."""
        reader, between = self._reader(_SHAPE_ONLY | {"Reshape"} if reshapes else _SHAPE_ONLY)
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


def number(expected: float) -> Pattern:
    """A constant of one element with this value."""

    def is_it(value: Value) -> bool:
        found = constant_float(value)
        return found is not None and abs(found - expected) < 1e-4 * max(1.0, abs(expected))

    return Bind(where=is_it)


def is_bias(node: Node, slot: int, analysis: Analysis) -> bool:
    """Whether a node adds one number per channel to what it has at an input slot.

    One number for all channels is no bias: the converter (TensorFlow 2.21) quantizes a bias whose numbers are all the
    same with the scale of the first channel.
    """
    if len(node.inputs) != 2 or not (node.op in _ADD or (node.op == "Sub" and slot == 0)):
        return False
    other = node.inputs[1 - slot]
    if not analysis.parameters.is_parameter(other):
        return False
    shape = static_shape(other)
    if shape is None:
        return node.op == "BiasAdd"
    return bool(shape) and all(size == 1 for size in shape[:-1]) and (shape[-1] != 1 or node.op == "BiasAdd")
