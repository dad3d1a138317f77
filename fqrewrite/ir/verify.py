"""Invariants of an edited graph. A violation is a bug of this tool, and is better met here than in TensorFlow.

`verify` runs after every rewrite and checks what the editor cannot guarantee by construction: that nothing depends on
itself, and that every name held outside the graph still resolves. `verify_links` checks what the editor does guarantee;
tests call it after random edits.
"""

from __future__ import annotations

from collections.abc import Iterable

from fqrewrite.errors import GraphError
from fqrewrite.ir.graph import Graph
from fqrewrite.ir.topology import topological_order


def verify(graph: Graph, public: Iterable[str] = ()) -> None:
    """Checks an edited graph. O(nodes + edges).

    Args:
        graph: the edited graph.
        public: node names that signatures, collections and savers hold.

    Raises:
        GraphError: `broken-invariant` or `graph-cycle`.
    """
    for name in public:
        if name not in graph.nodes:
            raise _broken(f"{name!r}, which the model's signatures or collections name, is gone")
    topological_order(graph)


def verify_links(graph: Graph) -> None:
    """Checks that inputs and uses agree, and that every node, input and control is the graph's own. O(nodes + edges).

    Raises:
        GraphError: `broken-invariant`.
    """
    nodes = graph.nodes
    uses = {node: set(node.uses) for node in graph}
    edges = 0
    for name, node in nodes.items():
        if node.name != name or node.proto.name != name:
            raise _broken(f"{node.name!r} is filed under {name!r}")
        for slot, value in enumerate(node.inputs):
            if nodes.get(value.node.name) is not value.node:
                raise _broken(f"{name}:in{slot} reads {value}, which is not in the graph")
            if (node, slot) not in uses[value.node]:
                raise _broken(f"{value} does not know of its consumer {name}:in{slot}")
        edges += len(node.inputs)
        for control in node.controls:
            if nodes.get(control.name) is not control:
                raise _broken(f"{name} waits for {control.name}, which is not in the graph")
    if edges != sum(len(node.uses) for node in graph):
        raise _broken("a node has a consumer that does not read it")


def _broken(what: str) -> GraphError:
    return GraphError("broken-invariant", f"internal error: {what}")
