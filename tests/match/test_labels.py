"""Where a model ends and its loss begins."""

from __future__ import annotations

from fqrewrite.ir.graph import Graph
from fqrewrite.ir.text import parse
from fqrewrite.match.labels import before_labels, depends_on_labels

NET = """
x = Placeholder {shape: [?, 4]}
w = VariableV2 {shape: [4, 2]}
w/read = Identity(w)
logits = MatMul(x, w/read)
"""
LOSS = """
labels = Placeholder {shape: [?, 2]}
difference = Sub(logits, labels)
square = Square(difference)
axes = Const {value: [0, 1]}
loss = Mean(square, axes)
"""
# A dropout at the end, as a v1 conditional leaves it: the switch reaches no layer.
SWITCHED = """
training = Placeholder {dtype: bool, shape: []}
cond/Switch = Switch(logits, training)
cond/half = Neg(cond/Switch:1)
cond/whole = Identity(cond/Switch)
cond/Merge = Merge(cond/whole, cond/half)
output = Tanh(cond/Merge)
"""


def names(graph: Graph, output: str) -> list[str]:
    return [str(value) for value in before_labels(graph, (graph.value(output),))]


def test_a_loss_gives_way_to_what_it_compares_with_the_labels() -> None:
    graph = Graph(parse(NET + LOSS))
    assert names(graph, "loss:0") == ["logits:0"]
    assert names(graph, "logits:0") == ["logits:0"]
    assert {node.name for node in depends_on_labels(graph, set(graph))} == {"difference", "square", "loss"}


def test_what_switches_between_training_and_inference_is_no_label() -> None:
    graph = Graph(parse(NET + SWITCHED))
    assert names(graph, "output:0") == ["output:0"]
    assert depends_on_labels(graph, set(graph)) == set()
