"""Fields in serialised messages."""

from __future__ import annotations

import pytest

from fqrewrite.model.wire import bytes_field, length_delimited
from fqrewrite.proto import GraphDef, MetaGraphDef, SavedModel


def test_fields_are_found_where_they_are() -> None:
    graphs = [MetaGraphDef(graph_def=GraphDef(node=[{"name": name * 200, "op": "NoOp"}])) for name in "ab"]
    data = SavedModel(saved_model_schema_version=300, meta_graphs=graphs).SerializeToString()
    unknown = b"\xc1\x3e" + bytes(8) + b"\xc5\x3e" + bytes(4)  # field 1000, of 8 and of 4 bytes
    fields = list(length_delimited(data + unknown))
    assert [field.number for field in fields] == [2, 2]
    for field, graph in zip(fields, graphs, strict=True):
        own = (data + unknown)[field.content : field.end]
        assert MetaGraphDef.FromString(own) == graph
        assert bytes_field(2, own) == (data + unknown)[field.start : field.end]


@pytest.mark.parametrize("data", [b"\x12\x05ab", b"\x12", b"\x09\x00", b"\x13\x14"])
def test_what_is_no_message(data: bytes) -> None:
    with pytest.raises(ValueError, match="field"):
        list(length_delimited(data))
