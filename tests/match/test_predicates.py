from __future__ import annotations

import pytest

from fqrewrite.ir.graph import Graph
from fqrewrite.ir.text import parse
from fqrewrite.match.predicates import Predicates, Scalar

GRAPH = """
p = Placeholder {dtype: bool, shape: []}
q = Placeholder {dtype: bool, shape: []}
n = Placeholder {dtype: int32, shape: []}
d = PlaceholderWithDefault(yes) {dtype: bool, shape: []}
yes = Const {value: true}
no = Const {value: false}
two = Const {value: 2}
many = Const {value: [1, 2]}
not = LogicalNot(p)
same = Identity(not)
and_no = LogicalAnd(q, no)
or_yes = LogicalOr(yes, q)
and_q = LogicalAnd(yes, q)
and_p = LogicalAnd(p, yes)
is_two = Equal(n, two) {T: int32}
below = Less(n, two) {T: int32}
as_bool = Cast(n) {SrcT: int32, DstT: bool}
as_int = Cast(p) {SrcT: bool, DstT: int32}
int_is_two = Equal(as_int, two) {T: int32}
switch = Switch(p, q) {T: bool}
side = LogicalNot(switch:1)
enter = Enter(p) {T: bool, frame_name: "f", is_constant: true}
pred = LogicalNot(enter)
"""


@pytest.mark.parametrize(
    ("tensor", "bound", "truth"),
    [
        ("p", {}, None),
        ("p", {"p": True}, True),
        ("d", {}, None),  # it can be fed
        ("d", {"d": False}, False),
        ("many", {}, None),
        ("same", {"p": True}, False),
        ("and_no", {}, False),
        ("or_yes", {}, True),
        ("and_q", {}, None),
        ("and_q", {"q": False}, False),
        ("and_p", {"p": True}, True),
        ("is_two", {"n": 2}, True),
        ("is_two", {"n": 1}, False),
        ("is_two", {}, None),
        ("below", {"n": 1}, True),
        ("as_bool", {"n": 3}, True),
        ("int_is_two", {"p": True}, False),
        ("side", {"p": False}, True),
        ("pred", {"p": False}, True),
        ("p", {"p": "text"}, None),
    ],
)
def test_truth(tensor: str, bound: dict[str, Scalar], truth: bool | None) -> None:
    graph = Graph(parse(GRAPH))
    known = Predicates({graph.node(name): value for name, value in bound.items()})
    assert known.truth(graph.value(tensor)) is truth
    assert known.truth(graph.value(tensor)) is truth  # also when it is remembered


def test_a_loop_is_not_followed_for_ever() -> None:
    graph = Graph(parse("a = LogicalNot(b)\nb = Identity(a) {T: bool}\n"))
    assert Predicates({}).truth(graph.value("a")) is None
