"""Names of what will be inserted: a function of the site, and of what the graph calls its own."""

from __future__ import annotations

from bisect import bisect_left

from fqrewrite.ir.graph import Graph


class Names:
    """Hands out scopes that neither the graph nor the plan uses.

    A scope that is taken gets ``_1``, ``_2``...; case does not make a difference, as in TensorFlow.
    """

    def __init__(self, graph: Graph) -> None:
        self._sorted = sorted([name.lower() for name in graph.nodes])
        self._taken = set(self._sorted)

    def free_scope(self, wanted: str) -> str:
        """The first of `wanted`, `wanted_1`, ... that nothing uses; it is taken from now on."""
        suffix = self.free_suffix([wanted])
        return wanted + suffix

    def free_suffix(self, wanted: list[str]) -> str:
        """The first of "", "_1", "_2" ... with which all of the names are free; they are taken from now on."""
        number, suffix = 0, ""
        while any(self._is_taken((name + suffix).lower()) for name in wanted):
            number += 1
            suffix = f"_{number}"
        self._taken.update([(name + suffix).lower() for name in wanted])
        return suffix

    def _is_taken(self, name: str) -> bool:
        if name in self._taken:
            return True
        scope = name + "/"
        position = bisect_left(self._sorted, scope)
        return position < len(self._sorted) and self._sorted[position].startswith(scope)
