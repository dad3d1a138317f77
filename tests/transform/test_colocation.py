from __future__ import annotations

import pytest
import tensorflow as tf
from numeric import tf1

from fqrewrite.ir.editor import Editor
from fqrewrite.ir.graph import Graph
from fqrewrite.ir.text import parse
from fqrewrite.ir.verify import verify_links
from fqrewrite.proto.attrs import get_strs
from fqrewrite.transform.colocation import drop_stale_colocations

TEXT = """
x = Placeholder {shape: [2]}
a = Relu(x) {_class: ["loc:@gone"]}
b = Add(a, a, ^x) {_class: ["loc:@a", "loc:@gone/too"]}
c = Relu(b) {_class: ["loc:@a"]}
"""


def test_tensorflow_imports_a_graph_without_its_stale_colocations() -> None:
    graph = Graph(parse(TEXT))
    with tf1.Graph().as_default(), pytest.raises(ValueError, match="gone"):
        tf.import_graph_def(tf1.GraphDef.FromString(graph.graph_def.SerializeToString()), name="")
    assert drop_stale_colocations(Editor(graph)) == ["a", "b"]
    verify_links(graph)
    assert [get_strs(node.proto, "_class", None) for node in graph] == [None, None, ("loc:@a",), ("loc:@a",)]
    assert list(graph.node("b").proto.input) == ["a", "a", "^x"]
    with tf1.Graph().as_default():
        tf.import_graph_def(tf1.GraphDef.FromString(graph.graph_def.SerializeToString()), name="")
    assert drop_stale_colocations(Editor(graph)) == []
