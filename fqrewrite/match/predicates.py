"""Scalars that are known before a graph runs: constants, bound placeholders, and logic on them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fqrewrite.ir.graph import Node, Value
from fqrewrite.proto.attrs import get_type
from fqrewrite.proto.dtypes import DT_BOOL, FLOATING
from fqrewrite.proto.tensors import scalar_value

Scalar = bool | int | float | str

_PASS = frozenset({"Identity", "StopGradient", "Snapshot", "Enter"})  # a loop's constants come in by an Enter
_SWITCH = frozenset({"Switch", "RefSwitch"})
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "Equal": lambda a, b: a == b,
    "NotEqual": lambda a, b: a != b,
    "Greater": lambda a, b: a > b,
    "GreaterEqual": lambda a, b: a >= b,
    "Less": lambda a, b: a < b,
    "LessEqual": lambda a, b: a <= b,
}


class Predicates:
    """Evaluates scalars of one graph.

    Args:
        bound: values of placeholders; one that is not bound is unknown, also when it has a default.
    """

    def __init__(self, bound: Mapping[Node, Scalar]) -> None:
        self._bound = bound
        self._known: dict[Value, Scalar | None] = {}

    def truth(self, value: Value) -> bool | None:
        """What a condition comes to; None when that depends on data."""
        known = self.scalar(value)
        return None if known is None or isinstance(known, str) else bool(known)

    def scalar(self, value: Value) -> Scalar | None:
        """The scalar that a tensor holds; None when it depends on data, or is no scalar."""
        if value not in self._known:
            self._known[value] = None  # for cycles, which run through while loops
            self._known[value] = self._evaluate(value)
        return self._known[value]

    def _evaluate(self, value: Value) -> Scalar | None:
        node = value.node
        if node in self._bound:
            return self._bound[node]
        if node.op == "Const":
            return scalar_value(node.proto.attr["value"].tensor) if "value" in node.proto.attr else None
        if node.op in _PASS or node.op in _SWITCH:
            return self.scalar(node.inputs[0])
        if node.op == "Cast":
            return self._cast(node)
        if node.op == "LogicalNot":
            truth = self.truth(node.inputs[0])
            return None if truth is None else not truth
        if node.op in ("LogicalAnd", "LogicalOr"):
            return self._logical(node)
        if node.op in _COMPARE:
            a, b = (self.scalar(operand) for operand in node.inputs)
            if a is None or b is None or isinstance(a, str) or isinstance(b, str):
                return None
            return _COMPARE[node.op](a, b)
        return None

    def _logical(self, node: Node) -> bool | None:
        decides = node.op == "LogicalOr"  # either operand alone decides when it is this
        truths = [self.truth(operand) for operand in node.inputs]
        if decides in truths:
            return decides
        return None if None in truths else not decides

    def _cast(self, node: Node) -> Scalar | None:
        known, dtype = self.scalar(node.inputs[0]), get_type(node.proto, "DstT", 0)
        if known is None or isinstance(known, str):
            return None
        return bool(known) if dtype == DT_BOOL else float(known) if dtype in FLOATING else int(known)
