"""Which tensors have a range, as the converter finds out: from quantizers, prescribed, or passed on by ops.

The converter looks at an op again whenever a range is new. A tensor has a range of its own when one fake quantizer and
nothing else reads it; with other readers beside the quantizer, the quantizer serves itself alone.
"""

from __future__ import annotations

from collections.abc import Iterable

from fqrewrite.check.quantizers import Quantizer
from fqrewrite.check.subject import Subject
from fqrewrite.check.units import Unit
from fqrewrite.ir.graph import Node, Value
from fqrewrite.match.parameters import FAKE_QUANT_OPS

_KEEPS_RANGE = frozenset({"own", "pass", "mean", "fixed"})


class Ranges:
    """The tensors of a graph that have a range.

    Args:
        subject: the graph.
        units: its ops.
        quantizers: of the fake quantizers, as far as they can be read.
        known: tensors that have a range all the same.
    """

    def __init__(
        self, subject: Subject, units: list[Unit], quantizers: dict[Node, Quantizer], known: Iterable[Value] = ()
    ) -> None:
        self._subject = subject
        self._quantizers = quantizers
        self._known = set(known)
        self._blocked = {result for unit in units if unit.kind not in _KEEPS_RANGE for result in unit.results}
        for node in subject.fake_quants:
            value = subject.source(node.inputs[0])
            if self.said_of(value):
                self._known.add(value)
        self._propagate(units)

    def said_of(self, value: Value) -> bool:
        """Whether fake quantizers that agree, and nothing else, read a source."""
        readers = [node for node, _ in self._subject.readers(value)]
        if not readers or any(node.op not in FAKE_QUANT_OPS for node in readers):
            return False
        return len({self._quantizers.get(node, node) for node in readers}) == 1

    def has(self, operand: Value) -> bool:
        """Whether a tensor that an op reads has a range: it comes out of a fake quantizer, or is known otherwise."""
        value = self._subject.source(operand)
        return self.is_quantized(value) or value in self._known or self._subject.is_constant(value)

    def is_quantized(self, operand: Value) -> bool:
        """Whether the tensor comes out of a fake quantizer."""
        return self._subject.source(operand).node.op in FAKE_QUANT_OPS

    def _propagate(self, units: list[Unit]) -> None:
        size = -1
        while size != len(self._known):
            size = len(self._known)
            for unit in [*units, *reversed(units)]:
                self._pass_on(unit)

    def _pass_on(self, unit: Unit) -> None:
        if unit.kind == "fixed" or (unit.kind == "mean" and self.is_quantized(unit.operands[0])):
            self._known.update(unit.results)
        elif unit.kind == "pass":
            operands = [self._subject.source(operand) for operand in unit.operands]
            if any(map(self.has, operands)) or any(result in self._known for result in unit.results):
                raw = (value for value in operands if not self.is_quantized(value) and value not in self._blocked)
                self._known.update(raw)
                self._known.update(unit.results)
