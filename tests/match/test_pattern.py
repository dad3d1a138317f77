from __future__ import annotations

import pytest

from fqrewrite.ir.graph import Graph
from fqrewrite.ir.text import parse
from fqrewrite.match.pattern import Bind, OneOf, Op, Pattern

TEXT = """
a = Placeholder
b = Placeholder
split = Split(a, b) {num_split: 2}
ab = Add(a, b)
ba = AddV2(b, a)
aa = Add(a, a)
square = Mul(ab, ab)
mixed = Mul(ab, ba)
scaled = Mul(aa, b)
behind = Neg(split:1)
first = Neg(split)
deep = Sub(square, scaled)
"""

A, B = Bind("a"), Bind("b")


def _match(pattern: Pattern, tensor: str) -> dict[str, str] | None:
    found = pattern.match(Graph(parse(TEXT)).value(tensor))
    return None if found is None else {name: str(value) for name, value in found.items()}


@pytest.mark.parametrize(
    ("pattern", "tensor", "bound"),
    [
        (A, "ab", {"a": "ab:0"}),
        (Bind(), "ab", {}),
        (Bind("a", where=lambda value: value.node.op == "Add"), "ab", {"a": "ab:0"}),
        (Bind("a", where=lambda value: value.node.op == "Add"), "ba", None),
        (Op("Add", A, B), "ab", {"a": "a:0", "b": "b:0"}),
        (Op("Add", A, B, name="sum"), "ab", {"a": "a:0", "b": "b:0", "sum": "ab:0"}),
        (Op("Add", A, B), "ba", None),
        (Op("Add|AddV2", A, B), "ba", {"a": "b:0", "b": "a:0"}),
        (Op("Add"), "ab", {}),  # no inputs given: any
        (Op("Add", A), "ab", None),  # all inputs or none
        (Op("Add", A, A), "ab", None),  # a name binds one value
        (Op("Add", A, A), "aa", {"a": "a:0"}),
        (Op("Neg", Op("Split")), "first", {}),
        (Op("Neg", Op("Split")), "behind", None),  # output 1 is another value
        (Op("Neg", A), "behind", {"a": "split:1"}),
        (Op("Mul", Op("Add", A, B), Bind("x")), "square", {"a": "a:0", "b": "b:0", "x": "ab:0"}),
    ],
)
def test_forms(pattern: Pattern, tensor: str, bound: dict[str, str] | None) -> None:
    assert _match(pattern, tensor) == bound


def test_commutative_operations_match_in_both_orders() -> None:
    pattern = Op("Mul", B, Op("Add", A, A), commutative=True)
    assert _match(pattern, "scaled") == {"a": "a:0", "b": "b:0"}
    assert _match(Op("Mul", B, Op("Add", A, A)), "scaled") is None


def test_the_written_order_is_tried_first() -> None:
    assert _match(Op("Mul", Bind("x"), Bind("y"), commutative=True), "mixed") == {"x": "ab:0", "y": "ba:0"}


def test_a_failed_order_leaves_no_bindings() -> None:
    # In the written order `a` is bound to aa before the second operand fails.
    pattern = Op("Mul", Op("Placeholder", name="p"), Op("Add", A, A, name="sum"), commutative=True)
    assert _match(pattern, "scaled") == {"p": "b:0", "sum": "aa:0", "a": "a:0"}


def test_a_repeated_name_decides_between_orders() -> None:
    # deep = (ab * ab) - (aa * b): `b` must be the same value on both sides.
    left = Op("Mul", Op("Add", A, B), Bind())
    right = Op("Mul", B, Op("Add", A, A), commutative=True)
    assert _match(Op("Sub", left, right), "deep") == {"a": "a:0", "b": "b:0"}
    swapped = Op("Mul", Op("Add", B, A), Bind())
    assert _match(Op("Sub", swapped, right), "deep") is None


def test_one_of_takes_the_first_that_matches() -> None:
    either = OneOf(Op("Mul", A, A), Op("Mul", A, B), name="product")
    assert _match(either, "square") == {"a": "ab:0", "product": "square:0"}
    assert _match(either, "mixed") == {"a": "ab:0", "b": "ba:0", "product": "mixed:0"}
    assert _match(either, "ab") is None


def test_a_named_subpattern_must_be_one_value() -> None:
    total = Op("Add|AddV2", name="total")
    assert _match(Op("Mul", total, total), "square") == {"total": "ab:0"}
    assert _match(Op("Mul", total, total), "mixed") is None


def test_bindings_are_extended_and_not_changed() -> None:
    graph = Graph(parse(TEXT))
    given = {"a": graph.value("a")}
    assert Op("Add", A, B).match(graph.value("ab"), given) == {"a": graph.value("a"), "b": graph.value("b")}
    assert Op("AddV2", A, B).match(graph.value("ba"), given) is None
    assert given == {"a": graph.value("a")}
