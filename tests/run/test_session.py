"""Graphs in a session."""

from __future__ import annotations

import numpy as np
import pytest

from fqrewrite.errors import InputError
from fqrewrite.ir.graph import Graph
from fqrewrite.ir.text import parse
from fqrewrite.run.inputs import GraphInput, graph_inputs
from fqrewrite.run.session import Runner

NET = """
x = Placeholder {shape: [?, 2]}
d = Const {value: 2.0}
scale = PlaceholderWithDefault(d) {shape: []}
other = Placeholder {dtype: int32}
y = Mul(x, scale)
z = Neg(y)
odd = Cast(other) {SrcT: int32, DstT: float32}
"""


def test_what_must_be_fed() -> None:
    graph = Graph(parse(NET))
    x = GraphInput(name="x", dtype="float32", shape=(-1, 2), optional=False)
    scale = GraphInput(name="scale", dtype="float32", shape=(), optional=True)
    assert graph_inputs(graph, [graph.value("z")]) == (x, scale)
    (other,) = graph_inputs(graph, [graph.value("odd")])
    assert (other.name, other.dtype, other.shape) == ("other", "int32", None)


PIPELINE = """
files = Placeholder {dtype: string, shape: []}
reader = ReadFile(files)
next = IteratorGetNext(reader)
y = Neg(next)
z = Add(y, next:2)
"""


def test_what_an_input_pipeline_gives_is_fed_in_its_place() -> None:
    message = parse(PIPELINE)
    node = next(node for node in message.node if node.name == "next")
    node.attr["output_types"].list.type.extend([1, 3, 1])
    for size in (-1, 1, 4):
        node.attr["output_shapes"].list.shape.add().dim.add().size = size
    graph = Graph(message)
    first, last = graph_inputs(graph, [graph.value("z")])
    assert (first.name, first.dtype, first.shape, first.keys) == ("next:0", "float32", (-1,), ("next", "next:0"))
    assert (last.name, last.dtype, last.shape, last.keys) == ("next:2", "float32", (4,), ("next:2",))
    assert [entry.name for entry in graph_inputs(graph, [graph.value("next:1")])] == ["next:1"]


def test_only_what_is_needed_runs_and_nothing_of_another_machine_counts() -> None:
    message = parse(NET)
    for node in message.node:
        node.device = "/job:worker/device:GPU:7"
        node.attr["_class"].list.s.append(b"loc:@nowhere")
        node.attr["_output_shapes"].list.shape.add().dim.add().size = 77
    message.node.add(name="custom", op="NobodyKnowsThisOp", input=["z"])
    with Runner(Graph(message), ["z:0", "x:0", "z:0"], "net.pb") as runner:
        for _ in range(2):
            z, x, again = runner.run({"x": np.ones((3, 2), np.float32)})
            assert z.tolist() == again.tolist() == [[-2, -2]] * 3 and x.tolist() == [[1, 1]] * 3
        (z, *_) = runner.run({"x": np.ones((1, 2), np.float32), "scale": np.float32(5)})
        assert z.tolist() == [[-5, -5]]


def test_graphs_that_do_not_run() -> None:
    message = parse(NET)
    message.node.add(name="custom", op="NobodyKnowsThisOp", input=["z"])
    with pytest.raises(InputError, match="NobodyKnowsThisOp") as caught:
        Runner(Graph(message), ["custom:0"], "net.pb")
    assert caught.value.code == "graph-not-run" and caught.value.where == "net.pb"
    with Runner(Graph(parse(NET)), ["z:0"], "net.pb") as runner, pytest.raises(InputError) as caught:
        runner.run({})
    assert caught.value.code == "graph-not-run" and "\n" not in str(caught.value)
