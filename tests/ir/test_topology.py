from __future__ import annotations

import pytest

from fqrewrite.errors import GraphError
from fqrewrite.ir.graph import Graph
from fqrewrite.ir.text import parse
from fqrewrite.ir.topology import inside_control_flow, topological_order

LOOP = """
start = Const {value: 0}
limit = Const {value: 5}
enter = Enter(start) {T: int32, frame_name: loop}
merge = Merge(enter, next) {T: int32}
less = Less(merge, limit) {T: int32}
cond = LoopCond(less)
switch = Switch(merge, cond) {T: int32}
one = Const(^switch) {value: 1}
body = Add(switch:1, one) {T: int32}
next = NextIteration(body) {T: int32}
exit = Exit(switch) {T: int32}
after = Neg(exit) {T: int32}
"""

CONDITIONAL = """
x = Placeholder
phase = Placeholder {dtype: bool}
pivot = Switch(phase, phase) {T: bool}
on = Identity(pivot:1) {T: bool}
two = Const(^on) {value: 2.0}
data = Switch(x, phase)
product = Mul(data:1, two)
merge = Merge(data, product)
after = Neg(merge)
"""


def _inside(text: str) -> set[str]:
    graph = Graph(parse(text))
    return {node.name for node in inside_control_flow(graph, topological_order(graph))}


def test_every_node_behind_what_it_needs() -> None:
    graph = Graph(parse("d = Add(b, c:1, ^e)\nc = Split(a, a)\nb = Neg(a)\na = Placeholder\ne = NoOp(^b)"))
    order = topological_order(graph)
    position = {node: index for index, node in enumerate(order)}
    assert len(order) == len(graph)
    for node in graph:
        before = [value.node for value in node.inputs] + node.controls
        assert all(position[other] < position[node] for other in before)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a = Neg(c)\nb = Neg(a)\nc = Neg(b)\nd = Neg(c)", {"a", "b", "c"}),
        ("a = Neg(a)", {"a"}),
        ("x = Placeholder\na = Add(x, b)\nb = Neg(x, ^a)", {"a", "b"}),
        ("a = Merge(b, b)\nb = Neg(a)", {"a", "b"}),  # a Merge without NextIteration closes no loop
        ("a = NextIteration(b)\nb = Neg(a)", {"a", "b"}),  # nor does a NextIteration without Merge
    ],
)
def test_cycles_are_refused(text: str, names: set[str]) -> None:
    with pytest.raises(GraphError) as caught:
        topological_order(Graph(parse(text)))
    assert caught.value.code == "graph-cycle"
    named = caught.value.what.partition(": ")[2].split(" -> ")
    assert named[0] == named[-1] == caught.value.where
    assert set(named) == names


def test_a_cycle_is_named_along_its_edges() -> None:
    with pytest.raises(GraphError, match=r"a -> b -> c -> a|b -> c -> a -> b|c -> a -> b -> c"):
        topological_order(Graph(parse("x = Neg(a)\na = Neg(c)\nb = Neg(a)\nc = Neg(b)")))


def test_long_cycles_are_abridged() -> None:
    lines = [f"n{index} = Neg(n{(index - 1) % 50})" for index in range(50)]
    with pytest.raises(GraphError, match=r"\.\.\.") as caught:
        topological_order(Graph(parse("\n".join(lines))))
    assert caught.value.what.count(" -> ") == 8


def test_while_loops_are_no_cycles() -> None:
    order = [node.name for node in topological_order(Graph(parse(LOOP)))]
    assert sorted(order) == sorted(node.name for node in Graph(parse(LOOP)))
    assert order.index("merge") < order.index("body") < order.index("next")


def test_only_edges_to_a_merge_go_back() -> None:
    order = topological_order(Graph(parse("y = Neg(n)\nn = NextIteration(x)\nx = Placeholder")))
    assert [node.name for node in order] == ["x", "n", "y"]


def test_a_cycle_through_a_loop_body_is_still_one() -> None:
    with pytest.raises(GraphError) as caught:
        topological_order(Graph(parse(LOOP.replace("Add(switch:1, one)", "Add(switch:1, one, ^next)"))))
    assert caught.value.code == "graph-cycle"


def test_graphs_without_control_flow() -> None:
    assert _inside("x = Placeholder\ny = Neg(x)") == set()


def test_inside_a_while_loop() -> None:
    assert _inside(LOOP) == {"enter", "merge", "less", "cond", "switch", "one", "body", "next"}


def test_inside_a_conditional() -> None:
    assert _inside(CONDITIONAL) == {"pivot", "on", "two", "data", "product"}


def test_a_conditional_inside_a_while_loop() -> None:
    loop = LOOP.replace("body = Add(switch:1, one) {T: int32}", "").replace("Iteration(body)", "Iteration(join)")
    inside = _inside(
        loop
        + """
        even = Less(switch:1, one) {T: int32}
        choice = Switch(switch:1, even) {T: int32}
        body = Neg(choice:1) {T: int32}
        join = Merge(choice, body) {T: int32}
        """
    )
    assert {"even", "choice", "body", "join", "next"} <= inside
    assert not {"exit", "after"} & inside


def test_a_while_loop_inside_a_conditional() -> None:
    inside = _inside(
        """
        phase = Placeholder {dtype: bool}
        start = Const {value: 0}
        data = Switch(start, phase) {T: int32}
        enter = Enter(data:1) {T: int32, frame_name: loop}
        merge = Merge(enter, next) {T: int32}
        less = Less(merge, merge) {T: int32}
        cond = LoopCond(less)
        switch = Switch(merge, cond) {T: int32}
        next = NextIteration(switch:1) {T: int32}
        exit = Exit(switch) {T: int32}
        behind = Neg(exit) {T: int32}
        join = Merge(data, behind) {T: int32}
        after = Neg(join) {T: int32}
        """
    )
    assert {"data", "switch", "exit", "behind"} <= inside
    assert not {"join", "after", "start", "phase"} & inside
