from __future__ import annotations

import pytest

from fqrewrite.ir.graph import Graph, Node
from fqrewrite.ir.text import parse
from fqrewrite.match.reach import ancestors, descendants, initializer, readers, with_initializers

CHAIN = """
x = Placeholder
a = Split(x)
b = Neg(a)
c = Neg(a:1, ^x)
d = Neg(x, ^b)
"""

VARIABLES = """
start = Const {value: 0.5}
w = VariableV2
w/Assign = Assign(w, start)
w/read = Identity(w)
late = Identity(w, ^w/Assign)
x = Placeholder
y = Mul(x, w/read)
update = AssignSub(w, y)
r = VarHandleOp
r/init = AssignVariableOp(r, r_start)
r_start = Neg(v/read)
r/Read = ReadVariableOp(r)
v = VariableV2
v/read = Identity(v)
v/Assign = Assign(v, start)
z = Add(y, r/Read)
t = HashTableV2
keys = Const {value: [1, 2]}
t/fill = LookupTableImportV2(t, keys, keys)
found = LookupTableFindV2(t, x, start)
unused = VariableV2
"""


def names(nodes: set[Node]) -> set[str]:
    return {node.name for node in nodes}


def test_ancestors_and_descendants() -> None:
    graph = Graph(parse(CHAIN))
    node = graph.node
    assert names(ancestors([node("b")])) == {"b", "a", "x"}
    assert names(ancestors([node("d")])) == {"d", "b", "a", "x"}  # what it waits for, too
    assert names(descendants([node("a")])) == {"a", "b", "c"}
    assert names(descendants([node("b")])) == {"b"}  # d only waits
    assert ancestors([]) == set()


def test_readers_tell_ports_apart() -> None:
    graph = Graph(parse(CHAIN))
    assert names(readers([graph.value("a:1")])) == {"c"}
    assert names(readers([graph.value("a"), graph.value("a:1")])) == {"b", "c"}


def test_loops() -> None:
    graph = Graph(parse("x = Placeholder\nm = Merge(x, n)\nn = NextIteration(m)\n"))
    assert names(ancestors([graph.node("n")])) == names(descendants([graph.node("x")])) == {"x", "m", "n"}


def test_variables_stay_with_what_starts_them() -> None:
    graph = Graph(parse(VARIABLES))
    kept = names(with_initializers(ancestors([graph.node("z"), graph.node("found")])))
    # r starts from v, which starts from a constant.
    assert kept == set(graph.nodes) - {"late", "update", "unused"}
    assert names(with_initializers(ancestors([graph.node("y")]))) == {"y", "x", "w", "w/read", "w/Assign", "start"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("v = VariableV2\nc = Const {value: 1.0}\nother = Assign(v, c)\nv/Assign = Assign(v, c)", "v/Assign"),
        ("v = VariableV2\nc = RestoreV2\nsave/Assign = Assign(v, c)\ni = Const {value: 1.0}\ngo = Assign(v, i)", "go"),
        ("v = VariableV2\nc = Placeholder\nfeed = Assign(v, c)", None),
        ("v = VariableV2", None),
    ],
)
def test_initializer(text: str, expected: str | None) -> None:
    found = initializer(Graph(parse(text)).node("v"))
    assert (found and found.name) == expected
