from __future__ import annotations

import pytest

from fqrewrite.errors import GraphError
from fqrewrite.ir.editor import Editor
from fqrewrite.ir.graph import Graph
from fqrewrite.ir.text import format_graph, parse
from fqrewrite.ir.verify import verify_links
from fqrewrite.match.reach import ancestors
from fqrewrite.transform.prune import prune, remove_unused, used_names

TRAINING = """
it = IteratorGetNext
labels = Placeholder {dtype: int32, shape: [?]}
x = Placeholder {shape: [?, 3]}
w = VariableV2 {shape: [3, 5]}
w/read = Identity(w)
y = MatMul(x, w/read)
ce = SparseSoftmaxCrossEntropyWithLogits(y, labels)
axes = Const {value: [0]}
loss = Mean(ce, axes)
dy = ReluGrad(ce:1, y)
dw = MatMul(x, dy) {transpose_a: true}
rate = Const {value: 0.1}
apply = ApplyGradientDescent(w, rate, dw)
tag = Const {value: "loss"}
sum = ScalarSummary(tag, loss)
start = Const {value: 0.0}
w/Assign = Assign(w, start)
save = SaveV2(tag, tag, tag, w)
p = Placeholder {dtype: bool, shape: []}
s = Switch(x, p)
drop = RandomUniform(axes)
check = Assert(p, loss)
step = VariableV2
other = Neg(x)
"""


def test_kinds() -> None:
    graph = Graph(parse(TRAINING))
    editor = Editor(graph)
    removed = prune(editor, ancestors([graph.node("y")]))
    assert list(graph.nodes) == ["x", "w", "w/read", "y"]
    assert removed == {
        "other": 4,  # what several kinds read, and what nothing reads
        "loss and metrics": 3,
        "gradient": 2,
        "optimizer": 2,  # with its rate
        "update": 2,  # with the initial value
        "assertion": 1,
        "control flow": 1,
        "input pipeline": 1,
        "random": 1,
        "saver": 1,
        "summary": 1,
        "variable": 1,
    }
    assert list(removed.values()) == sorted(removed.values(), reverse=True)
    verify_links(graph)


def test_nothing_to_remove() -> None:
    graph = Graph(parse(TRAINING))
    before = format_graph(graph.graph_def)
    assert prune(Editor(graph), set(graph)) == {}
    assert format_graph(graph.graph_def) == before


def test_what_stays_must_stand_alone() -> None:
    graph = Graph(parse(TRAINING))
    with pytest.raises(GraphError) as caught:
        prune(Editor(graph), {graph.node("y")})
    assert caught.value.code == "broken-invariant"


def test_what_lost_its_readers_goes_with_what_only_it_read() -> None:
    text = (
        "x = Placeholder\nw = Const {value: 1.0}\nold = Mul(x, w)\nend = Relu(x)\nown = Neg(x)\nlate = Neg(w, ^end)\n"
    )
    graph = Graph(parse(text + "v = Const {value: 2.0}\nu = Mul(v, v)\nt = Neg(u)\n"))
    assert used_names(graph) == {"x", "w", "end", "v", "u"}
    editor = Editor(graph)
    remove_unused(editor, {"x", "w", "old", "t", "u", "v"})
    assert list(graph.nodes) == ["x", "w", "end", "own", "late"]
    verify_links(graph)
