from __future__ import annotations

import pytest

from fqrewrite.ir.graph import Graph
from fqrewrite.ir.text import parse
from fqrewrite.ir.topology import topological_order
from fqrewrite.match.conditionals import Resolution, has_conditionals, resolve_predicates
from fqrewrite.match.predicates import Predicates

COND = """
p = Placeholder {dtype: bool, shape: []}
x = Placeholder {shape: [?, 2]}
cond/Switch = Switch(p, p) {T: bool}
cond/switch_t = Identity(cond/Switch:1) {T: bool}
cond/switch_f = Identity(cond/Switch) {T: bool}
cond/in = Switch(x, p)
cond/one = Const(^cond/switch_t) {value: 1.0}
cond/add = Add(cond/in:1, cond/one)
cond/neg = Neg(cond/in)
cond/Merge = Merge(cond/neg, cond/add)
out = Relu(cond/Merge)
"""


def resolved(text: str, **bound: bool) -> Resolution:
    graph = Graph(parse(text))
    predicates = Predicates({graph.node(name): value for name, value in bound.items()})
    return resolve_predicates(graph, topological_order(graph), predicates)


def names(found: Resolution) -> set[str]:
    return {node.name for node in found.dead}


def choices(found: Resolution) -> dict[str, str]:
    return {node.name: str(value) for node, value in found.choices.items()}


def test_the_side_that_is_not_taken_is_dead() -> None:
    taken = resolved(COND, p=True)
    assert names(taken) == {"cond/switch_f", "cond/neg"}
    assert choices(taken) == {"cond/Merge": "cond/add:0"}
    assert {node.name for node in taken.switches} == {"cond/Switch", "cond/in"}


def test_constants_die_by_their_control_edge() -> None:
    taken = resolved(COND, p=False)
    assert names(taken) == {"cond/switch_t", "cond/one", "cond/add"}
    assert choices(taken) == {"cond/Merge": "cond/neg:0"}


def test_what_is_not_known_stays() -> None:
    assert resolved(COND) == Resolution(frozenset(), (), {}, {})


NESTED = """
p = Placeholder {dtype: bool, shape: []}
q = Placeholder {dtype: bool, shape: []}
x = Placeholder
outer = Switch(x, p)
q_in = Switch(q, p) {T: bool}
inner = Switch(outer:1, q_in:1)
a = Neg(inner)
b = Exp(inner:1)
inner_merge = Merge(a, b)
c = Sin(outer)
merge = Merge(c, inner_merge)
"""


@pytest.mark.parametrize(
    ("bound", "chosen", "dead"),
    [
        ({"p": False}, {"merge": "c:0"}, {"inner", "a", "b", "inner_merge"}),
        ({"p": True}, {"merge": "inner_merge:0"}, {"c"}),
        ({"q": True}, {"inner_merge": "b:0"}, {"a"}),
        ({"p": True, "q": False}, {"merge": "inner_merge:0", "inner_merge": "a:0"}, {"b", "c"}),
    ],
)
def test_nested(bound: dict[str, bool], chosen: dict[str, str], dead: set[str]) -> None:
    found = resolved(NESTED, **bound)
    assert (choices(found), names(found)) == (chosen, dead)


def test_select_and_if() -> None:
    text = """
    p = Placeholder {dtype: bool, shape: []}
    x = Placeholder
    y = Neg(x)
    z = Select(p, x, y)
    i = If(p, x) {Tcond: bool}
    """
    found = resolved(text, p=False)
    assert choices(found) == {"z": "y:0"}
    assert {node.name: taken for node, taken in found.branches.items()} == {"i": False}


def test_a_select_in_a_dead_branch_is_only_dead() -> None:
    text = COND + "cond/pick = Select(p, cond/neg, cond/neg)\n"
    found = resolved(text, p=True)
    assert "cond/pick" in names(found)
    assert "cond/pick" not in choices(found)


def test_the_merge_of_a_while_loop_keeps_both_inputs() -> None:
    text = """
    p = Placeholder {dtype: bool, shape: []}
    x = Placeholder
    enter = Enter(x) {frame_name: "f"}
    p_in = Enter(p) {T: bool, frame_name: "f", is_constant: true}
    merge = Merge(enter, next)
    ten = Const {value: 10.0}
    less = Less(merge, ten)
    cond = LoopCond(less)
    switch = Switch(merge, cond)
    inner = Switch(switch:1, p_in)
    neg = Neg(inner)
    exp = Exp(inner:1)
    choice = Merge(neg, exp)
    next = NextIteration(choice)
    exit = Exit(switch)
    """
    found = resolved(text, p=True)
    assert (choices(found), names(found)) == ({"choice": "exp:0"}, {"neg"})


@pytest.mark.parametrize(
    ("line", "expected"),
    [("y = Switch(x, x)", True), ("y = If(x)", True), ("y = While(x)", True), ("y = Neg(x)", False)],
)
def test_has_conditionals(line: str, expected: bool) -> None:
    assert has_conditionals(Graph(parse(f"x = Placeholder {{dtype: bool}}\n{line}\n"))) is expected
