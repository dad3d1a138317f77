"""What a graph does beside computing: operations with effects, and the order in which these must happen."""

from __future__ import annotations

import re
from typing import Any

from fqrewrite.ir.functions import Library, called_by, functions_of
from fqrewrite.ir.graph import Graph, Node
from fqrewrite.match.reach import ancestors

# Operations that change something outside the values they return, or that fail or print on purpose.
_EFFECT = re.compile(
    r"^(Assign|Scatter|ResourceScatter|ResourceStridedSliceAssign|ResourceCountUpTo|CountUpTo)"
    r"|^(Resource)?(Sparse)?Apply[A-Z]"
    r"|^(Print|Assert|CheckNumerics|Abort|WriteFile|Save|Restore|MergeV2Checkpoints|DestroyResourceOp)"
    r"|Queue|Barrier|^Stack|^TensorArray(Write|Scatter|Close|Split)|Stage|Iterator|Dataset|Reader"
    r"|Summary|^(Initialize|LookupTable(Insert|Import|Remove)|Mutable|Anonymous)"
    r"|PyFunc|^(RemoteCall|SymbolicGradient)$|Send$|Recv$|^Collective|^Xla"
)


class Effects:
    """The nodes of a graph that have effects, what these need, and what comes after them. O(nodes + edges).

    A call, loop or conditional has the effects of its functions.
    """

    def __init__(self, graph: Graph) -> None:
        library = functions_of(graph.graph_def)
        known: dict[str, bool] = {}
        nodes = [node for node in graph if _has_effect(node.proto, library, known)]
        self._before = ancestors(nodes)
        self._after = _followers(graph, nodes)

    def orders(self, node: Node, before: Node) -> bool:
        """Whether it matters that one node waits for another: an effect comes before the edge, or after it.

        Readings of variables are no effects; but an assignment that waits for a reading must go on doing so.
        """
        return before in self._after or node in self._before


def _has_effect(proto: Any, library: Library, known: dict[str, bool]) -> bool:
    if _EFFECT.search(proto.op):
        return True
    for name in called_by([proto], library):
        if name not in known:
            known[name] = False  # while it is being looked into; a function that calls itself adds nothing
            known[name] = any(_has_effect(inner, library, known) for inner in library[name].node_def)
        if known[name]:
            return True
    return False


def _followers(graph: Graph, nodes: list[Node]) -> set[Node]:
    """The nodes and all that reads them or waits for them, directly or not."""
    waiting: dict[Node, list[Node]] = {}
    for node in graph:
        for control in node.controls:
            waiting.setdefault(control, []).append(node)
    found = set(nodes)
    queue = list(found)
    for node in queue:
        for follower in (*(user for user, _ in node.uses), *waiting.get(node, ())):
            if follower not in found:
                found.add(follower)
                queue.append(follower)
    return found
