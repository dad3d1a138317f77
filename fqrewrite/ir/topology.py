"""Order, cycles and control flow of a graph.

TensorFlow graphs are acyclic but for v1 while loops, whose back edges run from NextIteration to Merge.
"""

from __future__ import annotations

from fqrewrite.errors import GraphError
from fqrewrite.ir.graph import Graph, Node

_BACK_EDGE_OPS = frozenset({"NextIteration", "RefNextIteration"})
_ENTER = frozenset({"Enter", "RefEnter"})
_EXIT = frozenset({"Exit", "RefExit"})
_SWITCH = frozenset({"Switch", "RefSwitch"})
_MERGE = frozenset({"Merge", "RefMerge"})
_CONTROL_FLOW = _ENTER | _EXIT | _SWITCH | _MERGE


def topological_order(graph: Graph) -> list[Node]:
    """All nodes, each behind what it reads and waits for (Kahn 1962). O(nodes + edges).

    Back edges of while loops do not count.

    Raises:
        GraphError: `graph-cycle`, naming nodes on one cycle.
    """
    waiting = [0] * len(graph)
    followers: dict[Node, list[Node]] = {}
    order: list[Node] = []
    for node in graph:
        count = len(node.inputs)
        for control in node.controls:
            followers.setdefault(control, []).append(node)
            count += 1
        if node.op in _MERGE:
            count -= sum(value.node.op in _BACK_EDGE_OPS for value in node.inputs)
        if count:
            waiting[node.index] = count
        else:
            order.append(node)
    for node in order:
        back = node.op in _BACK_EDGE_OPS
        for consumer, _ in node.uses:
            if back and consumer.op in _MERGE:
                continue
            index = consumer.index
            waiting[index] -= 1
            if not waiting[index]:
                order.append(consumer)
        for consumer in followers.get(node, ()):
            index = consumer.index
            waiting[index] -= 1
            if not waiting[index]:
                order.append(consumer)
    if len(order) != len(graph):
        cycle = _one_cycle([node for node in graph if waiting[node.index]])
        raise GraphError("graph-cycle", "nodes depend on each other: " + " -> ".join(cycle), where=cycle[0])
    return order


def inside_control_flow(graph: Graph, order: list[Node]) -> set[Node]:
    """Nodes between Switch and Merge of a v1 conditional, or between Enter and Exit of a v1 while loop.

    Depth rises by one at Enter and at the Switch of a conditional, falls at Exit and at the Merge of a conditional;
    the Switch and Merge of a while loop leave it alone. Control inputs count, because constants inside a
    conditional hang on its pivot by a control edge.
    """
    if not any(graph.by_op(op) for op in _CONTROL_FLOW):
        return set()
    depth: dict[Node, int] = {}
    for node in order:
        above = [depth.get(value.node, 0) for value in node.inputs]
        above += [depth.get(control, 0) for control in node.controls]
        here = max(above, default=0)
        if node.op in _ENTER or (node.op in _SWITCH and not _is_loop_switch(node)):
            here += 1
        elif node.op in _EXIT or (node.op in _MERGE and not _is_loop_merge(node)):
            here = max(0, here - 1)
        depth[node] = here
    return {node for node, level in depth.items() if level}


def _is_loop_merge(node: Node) -> bool:
    return any(value.node.op in _BACK_EDGE_OPS or value.node.op in _ENTER for value in node.inputs)


def _is_loop_switch(node: Node) -> bool:
    return len(node.inputs) == 2 and node.inputs[1].node.op == "LoopCond"


def _one_cycle(stuck: list[Node]) -> list[str]:
    members = set(stuck)
    node, seen = stuck[0], dict[Node, int]()
    while node not in seen:
        seen[node] = len(seen)
        before = [value.node for value in node.inputs if value.node in members]
        before += [control for control in node.controls if control in members]
        node = before[0]
    names = [member.name for member, position in seen.items() if position >= seen[node]]
    names.reverse()
    if len(names) > 8:
        names = [*names[:4], "...", *names[-3:]]
    return [*names, names[0]]
