"""Tensors that share one range, because an integer kernel reads and writes on one scale."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fqrewrite.ir.graph import Value

Limits = tuple[float, float]


class Ties:
    """Groups of values, by union-find over a whole plan.

    A value whose range an integer kernel fixes joins no group: the runtime rescales it. Its range is part of the
    union of the group that it would have joined.
    """

    def __init__(self) -> None:
        self._scopes: dict[Value, str] = {}
        self._fixed: dict[Value, Limits] = {}
        self._parent: dict[Value, Value] = {}
        self._included: dict[Value, list[Limits]] = {}

    def enter(self, value: Value, scope: str) -> None:
        """Records the scope of a value's quantizer."""
        self._scopes[value] = scope

    def knows(self, value: Value) -> bool:
        """Whether a value has a quantizer."""
        return value in self._scopes

    def fix(self, value: Value, limits: Limits) -> None:
        """Records that the range of a value is fixed."""
        self._fixed[value] = limits

    def common_limits(self, values: Iterable[Value]) -> Limits | None:
        """The fixed range that all values have; None when they differ or one has none."""
        found = {self._fixed.get(value) for value in values}
        return found.pop() if len(found) == 1 else None

    def tie(self, result: Value, operands: Iterable[Value]) -> None:
        """Makes a result and its operands share one range."""
        for value in operands:
            if value in self._fixed:
                self._included.setdefault(result, []).append(self._fixed[value])
            else:
                self._parent[self._find(value)] = self._find(result)

    def groups(self) -> list[tuple[tuple[str, ...], Limits]]:
        """The scopes of each group, in the order of entry, and the (min, max) that its range must hold beside."""
        members: dict[Value, list[str]] = {}
        for value, scope in self._scopes.items():
            members.setdefault(self._find(value), []).append(scope)
        included: dict[Value, list[Limits]] = {}
        for value, limits in self._included.items():
            included.setdefault(self._find(value), []).extend(limits)
        return [
            (tuple(scopes), _union(included.get(root, ())))
            for root, scopes in members.items()
            if len(scopes) > 1 or root in included
        ]

    def _find(self, value: Value) -> Value:
        parent = self._parent
        root = value
        while parent.get(root, root) != root:
            root = parent[root]
        while value != root:
            parent[value], value = root, parent.get(value, root)
        return root


def _union(limits: Sequence[Limits]) -> Limits:
    return min((low for low, _ in limits), default=0.0), max((high for _, high in limits), default=0.0)
