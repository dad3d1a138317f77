"""Small graphs for the tests of fqrewrite.model, as messages."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import text_format

from fqrewrite.proto import GraphDef, MetaGraphDef

SMALL = """
node { name: "x" op: "Placeholder" attr { key: "dtype" value { type: DT_FLOAT } } }
node {
  name: "y" op: "Relu" input: "x" input: "^x" device: "/device:CPU:0"
  attr { key: "T" value { type: DT_FLOAT } }
  attr { key: "_class" value { list { s: "loc:@x" } } }
}
library { function { signature { name: "f" } } }
versions { producer: 134 min_consumer: 12 }
"""


@pytest.fixture
def small_graph() -> Any:
    return text_format.Parse(SMALL, GraphDef())


@pytest.fixture
def small_meta_graph(small_graph: Any) -> Any:
    """With ops in meta_info_def, which is what a GraphDef parser would meet first."""
    meta_graph = MetaGraphDef(graph_def=small_graph)
    meta_graph.meta_info_def.stripped_op_list.op.add(name="Placeholder")
    meta_graph.meta_info_def.stripped_op_list.op.add(name="Relu")
    meta_graph.meta_info_def.tensorflow_version = "1.15.5"
    meta_graph.collection_def["losses"].node_list.value.append("y:0")
    return meta_graph
