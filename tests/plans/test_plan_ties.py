from __future__ import annotations

from itertools import pairwise

from fqrewrite.ir.graph import Graph, Value
from fqrewrite.ir.text import parse
from fqrewrite.plans.ties import Ties

GRAPH = Graph(parse("".join(f"{name} = Placeholder\n" for name in "abcdef")))
A, B, C, D, E, F = (GRAPH.value(f"{name}:0") for name in "abcdef")


def entered(*values: Value) -> Ties:
    ties = Ties()
    for value in values:
        ties.enter(value, f"{value.node.name}/quant")
    return ties


def test_groups_grow_together() -> None:
    ties = entered(A, B, C, D, E, F)
    ties.tie(C, [A, B])
    ties.tie(F, [E])
    ties.tie(D, [B])
    assert ties.groups() == [
        (("a/quant", "b/quant", "c/quant", "d/quant"), (0.0, 0.0)), (("e/quant", "f/quant"), (0.0, 0.0)),
    ]  # fmt: skip


def test_what_is_fixed_joins_no_group_and_is_held() -> None:
    ties = entered(A, B, C)
    ties.fix(A, (0.0, 0.5))
    ties.fix(D, (-1.0, 0.25))
    ties.tie(C, [A, B, D])
    assert ties.groups() == [(("b/quant", "c/quant"), (-1.0, 0.5))]


def test_a_group_of_one_that_holds_something() -> None:
    ties = entered(A, C)
    ties.fix(A, (0.0, 0.5))
    ties.tie(C, [A])
    assert ties.groups() == [(("c/quant",), (0.0, 0.5))]


def test_common_limits() -> None:
    ties = entered(A, B, C)
    ties.fix(A, (0.0, 0.5))
    ties.fix(B, (0.0, 0.5))
    assert ties.common_limits([A, B]) == (0.0, 0.5)
    assert ties.common_limits([A, C]) is None
    ties.fix(C, (-1.0, 0.5))
    assert ties.common_limits([A, C]) is None


def test_only_what_has_a_quantizer_is_listed() -> None:
    ties = entered(A, C)
    ties.tie(C, [A, B])
    assert ties.groups() == [(("a/quant", "c/quant"), (0.0, 0.0))]
    assert (ties.knows(A), ties.knows(B)) == (True, False)


def test_long_chains_do_not_recurse() -> None:
    graph = Graph(parse("".join(f"v{index} = Placeholder\n" for index in range(3000))))
    values = [node.value() for node in graph]
    ties = entered(*values)
    for first, second in pairwise(values):
        ties.tie(second, [first])
    ((scopes, _),) = ties.groups()
    assert len(scopes) == 3000
