"""Invariants of an edited graph. A violation is a bug of this tool, and is better met here than in TensorFlow."""

from __future__ import annotations

from collections.abc import Iterable

from fqrewrite.errors import GraphError
from fqrewrite.ir.graph import Graph, Node
from fqrewrite.ir.topology import topological_order


def verify(graph: Graph, touched: Iterable[Node], public: Iterable[str] = ()) -> None:
    """Checks the nodes that an edit touched, and that the whole is still acyclic. O(nodes + edges).

    Args:
        graph: the edited graph.
        touched: what `Editor.commit` returned.
        public: node names that signatures, collections and savers hold.

    Raises:
        GraphError: `broken-invariant` or `graph-cycle`.
    """
    nodes = graph.nodes
    uses: dict[Node, set[tuple[Node, int]]] = {}
    for node in touched:
        if nodes.get(node.name) is not node:
            raise _broken(f"{node.name!r} is not the graph's node of that name")
        for slot, value in enumerate(node.inputs):
            if nodes.get(value.node.name) is not value.node:
                raise _broken(f"{node.name}:in{slot} reads {value}, which is not in the graph")
            source = value.node
            if source not in uses:
                uses[source] = set(source.uses)
            if (node, slot) not in uses[source]:
                raise _broken(f"{value} does not know of its consumer {node.name}:in{slot}")
        for control in node.controls:
            if nodes.get(control.name) is not control:
                raise _broken(f"{node.name} waits for {control.name}, which is not in the graph")
    for name in public:
        if name not in nodes:
            raise _broken(f"{name!r}, which the model's signatures or collections name, is gone")
    topological_order(graph)


def _broken(what: str) -> GraphError:
    return GraphError("broken-invariant", f"internal error: {what}")
