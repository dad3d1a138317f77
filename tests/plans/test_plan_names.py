from __future__ import annotations

import pytest

from fqrewrite.ir.graph import Graph
from fqrewrite.ir.text import parse
from fqrewrite.plans.names import Names

NODES = ("net/conv/w", "net/conv2", "net/Act_Quant/x", "net/act_quant_1", "net/act_quant-2", "a.b")


def _names() -> Names:
    return Names(Graph(parse("".join(f"{name} = NoOp\n" for name in NODES))))


@pytest.mark.parametrize(
    ("wanted", "given"),
    [
        ("net/conv/weights_quant", "net/conv/weights_quant"),
        ("net/conv", "net/conv_1"),  # the scope of a node
        ("net/conv2", "net/conv2_1"),  # a node
        ("net/con", "net/con"),  # only the beginning of a name
        ("net/act_quant", "net/act_quant_2"),  # case does not count; _1 is taken; "-2" is another name
        ("NET/CONV2", "NET/CONV2_1"),
        ("a", "a"),
        ("net", "net_1"),
    ],
)
def test_free_scopes(wanted: str, given: str) -> None:
    assert _names().free_scope(wanted) == given


def test_a_name_is_given_once() -> None:
    names = _names()
    assert [names.free_scope("s/q") for _ in range(3)] == ["s/q", "s/q_1", "s/q_2"]
    assert names.free_scope("S/Q") == "S/Q_3"


def test_a_suffix_must_suit_all_names() -> None:
    names = _names()
    assert names.free_suffix(["net/act_quant", "net/fold"]) == "_2"
    assert names.free_suffix(["net/fold"]) == ""
    assert names.free_suffix(["net/fold", "net/mul"]) == "_1"
    assert names.free_scope("net/mul") == "net/mul"
    assert names.free_scope("net/mul_1") == "net/mul_1_1"
