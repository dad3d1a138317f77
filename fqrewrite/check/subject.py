"""The part of a graph that is checked: what its outputs need, seen without the ops that the converter removes."""

from __future__ import annotations

import re
from collections.abc import Iterable

from fqrewrite.check.operations import ALIASES, SHAPE_ONLY
from fqrewrite.ir.graph import Graph, Node, Value
from fqrewrite.ir.topology import topological_order
from fqrewrite.match.parameters import FAKE_QUANT_OPS, constant_float
from fqrewrite.match.reach import ancestors
from fqrewrite.model.signature import output_dtype
from fqrewrite.proto.attrs import get_type
from fqrewrite.proto.dtypes import DT_FLOAT

_RANDOM = re.compile("Random|Truncated|Multinomial")


class Subject:
    """A fake-quantized graph and its outputs.

    Attributes:
        graph: the graph.
        outputs: the tensors that are fetched.
        nodes: what they need, each behind what it reads, without constant expressions and aliases.
        fake_quants: the fake quantizers of data among them.
    """

    def __init__(self, graph: Graph, outputs: Iterable[Value]) -> None:
        self.graph = graph
        self.outputs = tuple(outputs)
        self.needed = ancestors(value.node for value in self.outputs)
        order = [node for node in topological_order(graph) if node in self.needed]
        self._constants = _constants(order)
        data = [node for node in order if node not in self._constants]
        self._unchanged = {node for node in data if node.op in ALIASES or self._multiplies_by_one(node)}
        self.nodes = [node for node in data if node not in self._unchanged]
        self.fake_quants = [node for node in data if node.op in FAKE_QUANT_OPS]
        self._readers: dict[Value, list[tuple[Node, int]]] = {}
        for node in self.nodes:
            if node.op in SHAPE_ONLY:
                continue
            for slot, operand in enumerate(node.inputs):
                self._readers.setdefault(self.source(operand), []).append((node, slot))
        self.fetched = frozenset(self.source(value) for value in self.outputs)

    def source(self, value: Value) -> Value:
        """The tensor behind ops that the converter removes."""
        while value.node in self._unchanged:
            value = value.node.inputs[self._data_slot(value)]
        return value

    def _data_slot(self, value: Value) -> int:
        if value.node.op == "IdentityN":
            return value.port
        return int(value.node.op == "Mul" and self.is_constant(value.node.inputs[0]))

    def _multiplies_by_one(self, node: Node) -> bool:
        return node.op == "Mul" and any(self.is_constant(value) and constant_float(value) == 1 for value in node.inputs)

    def is_constant(self, value: Value) -> bool:
        """Whether the tensor is a constant expression."""
        return value.node in self._constants

    def readers(self, value: Value) -> list[tuple[Node, int]]:
        """(node, input slot) of what reads a source among the nodes that are needed."""
        return self._readers.get(value, [])

    def aliases(self, values: Iterable[Value]) -> tuple[Node, ...]:
        """The nodes that hand these sources on as they are."""
        wanted = set(values)
        return tuple(node for node in self._unchanged if wanted and self.source(node.value()) in wanted)

    def only_reader(self, value: Value) -> Node | None:
        """The node that alone reads a source that is no output; None when there is none or several."""
        found = self.readers(value)
        return found[0][0] if len(found) == 1 and value not in self.fetched else None


def is_float(value: Value) -> bool:
    """Whether the tensor is float32."""
    random = _RANDOM.search(value.node.op)  # their T is the dtype of the shape
    return (get_type(value.node.proto, "dtype", DT_FLOAT) if random else output_dtype(value)) == DT_FLOAT


def _constants(order: list[Node]) -> set[Node]:
    found: set[Node] = set()
    for node in order:
        if node.op == "Const" or (
            node.inputs and all(operand.node in found for operand in node.inputs) and not _RANDOM.search(node.op)
        ):
            found.add(node)
    return found
