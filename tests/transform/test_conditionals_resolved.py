from __future__ import annotations

import pytest

from fqrewrite.ir.editor import Editor
from fqrewrite.ir.graph import Graph
from fqrewrite.ir.text import format_graph, parse
from fqrewrite.ir.topology import topological_order
from fqrewrite.ir.verify import verify_links
from fqrewrite.match.conditionals import resolve_predicates
from fqrewrite.match.predicates import Predicates, Scalar
from fqrewrite.transform.conditionals import bind, resolve


def resolved(text: str, **bound: bool) -> dict[str, str]:
    """The lines of the resolved graph by name, what is dead left out."""
    graph = Graph(parse(text))
    editor = Editor(graph)
    predicates = Predicates({graph.node(name): value for name, value in bound.items()})
    known = resolve_predicates(graph, topological_order(graph), predicates)
    resolve(editor, known, known.choices)
    editor.remove(known.dead)
    editor.commit()
    verify_links(graph)
    topological_order(graph)
    return {line.partition(" = ")[0]: line.partition(" = ")[2] for line in format_graph(graph.graph_def).splitlines()}


COND = """
p = Placeholder {dtype: bool, shape: []}
x = Placeholder
in = Switch(x, p)
add = Add(in:1, in:1)
neg = Neg(in)
merge = Merge(neg, add)
out = Relu(merge)
index = Cast(merge:1) {SrcT: int32}
wait = NoOp(^merge)
"""


def test_consumers_read_what_was_chosen() -> None:
    lines = resolved(COND, p=True)
    assert lines["add"] == "Add(x, x)"
    assert lines["out"] == "Relu(add)"
    assert lines["merge"] == "Identity(add)"
    assert lines["in"] == "Identity(x)"
    assert lines["wait"] == "NoOp(^merge)"
    assert "value: 1" in lines["merge/value_index"]
    assert lines["index"].startswith("Cast(merge/value_index)")


def test_the_other_side() -> None:
    lines = resolved(COND, p=False)
    assert (lines["out"], lines["neg"]) == ("Relu(neg)", "Neg(x)")
    assert "value: 0" in lines["merge/value_index"]
    assert "add" not in lines


def test_a_variable_is_assigned_itself() -> None:
    text = """
    p = Placeholder {dtype: bool, shape: []}
    v = VariableV2
    ref = RefSwitch(v, p)
    c = Const {value: 1.0}
    in = Switch(c, p)
    set = Assign(ref:1, in:1)
    other = Identity(ref)
    m = Merge(other, set)
    """
    lines = resolved(text, p=True)
    assert lines["set"] == "Assign(v, c)"
    assert lines["m"] == "Identity(set)"


def test_chains_of_conditionals_are_seen_through() -> None:
    text = """
    p = Placeholder {dtype: bool, shape: []}
    x = Placeholder
    a = Switch(x, p)
    m = Merge(a, a:1)
    s = Select(p, m, x)
    b = Switch(s, p)
    n = Merge(b, b:1)
    out = Neg(n)
    """
    assert resolved(text, p=True)["out"] == "Neg(x)"
    assert resolved(text, p=False)["out"] == "Neg(x)"


def test_nothing_known_changes_nothing() -> None:
    assert resolved(COND) == {
        line.partition(" = ")[0]: line.partition(" = ")[2] for line in format_graph(parse(COND)).splitlines()
    }


@pytest.mark.parametrize(
    ("declaration", "value", "expected"),
    [
        ("{dtype: bool, shape: []}", True, "true"),
        ("{dtype: int32, shape: []}", 1, "1"),
        ("{dtype: float, shape: []}", 0.5, "0.5"),
        ("{dtype: float, shape: [3]}", 0.5, "0.5, shape: [3]"),
        ("{dtype: float, shape: [3]}", (1.0, 2.0, 3.0), "[1.0, 2.0, 3.0]"),
        ("{dtype: int32, shape: [?]}", (4, 5), "[4, 5]"),
        ("{dtype: float}", 2.0, "2.0"),
        ("{dtype: string, shape: []}", "text", '"text"'),
    ],
)
def test_bind(declaration: str, value: Scalar | tuple[Scalar, ...], expected: str) -> None:
    graph = Graph(parse(f"p = Placeholder {declaration}\ny = Identity(p)\n"))
    editor = Editor(graph)
    bind(editor, {graph.node("p"): value})
    editor.commit()
    (line, _) = format_graph(graph.graph_def).splitlines()
    assert line.startswith("p = Const {") and f"value: {expected}" in line


def test_a_default_is_not_read_any_more() -> None:
    graph = Graph(parse("c = Const {value: true}\np = PlaceholderWithDefault(c) {dtype: bool, shape: []}\n"))
    editor = Editor(graph)
    bind(editor, {graph.node("p"): False})
    assert (graph.node("c").uses, graph.node("p").op) == ([], "Const")
