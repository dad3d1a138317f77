"""Invariants of an edited graph. A violation is a bug of this tool, and is better met here than in TensorFlow.

After every rewrite the graph must still be acyclic (`topology.topological_order`), which the editor cannot guarantee by
construction. `verify_links` checks what the editor does guarantee; tests call it after random edits. Names never go
away, because the editor neither removes nor renames nodes.
"""

from __future__ import annotations

from fqrewrite.errors import GraphError
from fqrewrite.ir.graph import Graph


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
