"""Conditionals whose predicate is known, and what they come to. Read-only.

A v1 conditional is a Switch at each tensor that goes in and a Merge at each that comes out; the side that is not taken
is *dead*, and a Merge hands on its only live input. Select and If choose at a single node.
"""

from __future__ import annotations

from typing import NamedTuple

from fqrewrite.ir.graph import Graph, Node, Value
from fqrewrite.match.predicates import Predicates

SWITCH = frozenset({"Switch", "RefSwitch"})
MERGE = frozenset({"Merge", "RefMerge"})
SELECT = frozenset({"Select", "SelectV2"})
IF = frozenset({"If", "StatelessIf"})
CALLS = frozenset({"While", "StatelessWhile", "Case", "StatelessCase", "PartitionedCall", "StatefulPartitionedCall"})
"""What may hand a predicate on to a conditional in a library function."""
_BACK_EDGE = frozenset({"NextIteration", "RefNextIteration"})


class Resolution(NamedTuple):
    """What the known predicates of a graph decide.

    Attributes:
        dead: nodes that never run.
        switches: Switch nodes with a known predicate.
        choices: what each Merge and Select with a known predicate hands on.
        branches: If nodes with a known predicate, and whether their first branch is taken.
    """

    dead: frozenset[Node]
    switches: tuple[Node, ...]
    choices: dict[Node, Value]
    branches: dict[Node, bool]


def resolve_predicates(graph: Graph, order: list[Node], predicates: Predicates) -> Resolution:
    """Follows known predicates through a graph. O(nodes).

    Args:
        graph: only read.
        order: its nodes, each behind what it reads.
        predicates: what is known.
    """
    dead: set[Node] = set()
    switches, branches = [], dict[Node, bool]()
    choices: dict[Node, Value] = {}
    live_port: dict[Node, int] = {}

    def is_dead(value: Value) -> bool:
        port = live_port.get(value.node)
        return value.node in dead or (port is not None and port != value.port)

    for node in order:
        if node.op in MERGE:
            forward = [value for value in node.inputs if value.node.op not in _BACK_EDGE]
            live = [value for value in forward if not is_dead(value)]
            if not live:
                dead.add(node)
            elif len(live) == 1 and len(forward) > 1:
                choices[node] = live[0]
            continue
        truth = None
        if node.op in SWITCH:
            truth = predicates.truth(node.inputs[1])
            if truth is not None:
                switches.append(node)
                live_port[node] = int(truth)
        if any(is_dead(value) for value in node.inputs) or any(control in dead for control in node.controls):
            dead.add(node)
        elif node.op in SELECT and (truth := predicates.truth(node.inputs[0])) is not None:
            choices[node] = node.inputs[1 if truth else 2]
        elif node.op in IF and (truth := predicates.truth(node.inputs[0])) is not None:
            branches[node] = truth
    return Resolution(frozenset(dead), tuple(switches), choices, branches)


def has_conditionals(graph: Graph) -> bool:
    """Whether a graph holds anything that a predicate decides, or may decide in a library function."""
    return any(graph.by_op(op) for op in (*SWITCH, *SELECT, *IF, *CALLS))
