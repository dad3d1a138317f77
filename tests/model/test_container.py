"""Loading and saving: nothing is lost, the suffix decides what is written, the bytes are always the same."""

from __future__ import annotations

import hashlib
import string
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from google.protobuf import text_format
from hypothesis import HealthCheck, given, settings

from fqrewrite.errors import ConfigError, InputError
from fqrewrite.model import container
from fqrewrite.proto import GraphDef, MetaGraphDef, VariableDef

# Field 1000 of a length-delimited type: unknown to every message here.
UNKNOWN = b"\xc2\x3e\x05later"
NAMES = st.text(string.ascii_letters + string.digits + "_./-", min_size=1, max_size=12)


@st.composite
def graphs(draw: st.DrawFn) -> Any:
    graph = GraphDef()
    for name in draw(st.lists(NAMES, min_size=1, max_size=6, unique=True)):
        node = graph.node.add(name=name, op=draw(NAMES), device=draw(st.text(max_size=5)))
        node.input.extend(draw(st.lists(NAMES, max_size=3)))
        for key in draw(st.lists(NAMES, max_size=4, unique=True)):
            value = node.attr[key]
            kind = draw(st.sampled_from(["i", "f", "b", "s", "type", "shape", "list", "tensor"]))
            if kind == "i":
                value.i = draw(st.integers(-(2**63), 2**63 - 1))
            elif kind == "f":
                value.f = draw(st.floats(width=32))
            elif kind == "b":
                value.b = draw(st.booleans())
            elif kind == "s":
                value.s = draw(st.binary(max_size=8))
            elif kind == "type":
                value.type = draw(st.integers(0, 130))
            elif kind == "shape":
                value.shape.dim.add(size=draw(st.integers(-1, 5)))
            elif kind == "list":
                value.list.i.extend(draw(st.lists(st.integers(-5, 5), max_size=3)))
            else:
                value.tensor.tensor_content = draw(st.binary(max_size=8))
    graph.versions.producer = draw(st.integers(0, 2000))
    return graph


PER_FUNCTION = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@given(graph=graphs(), unknown=st.booleans())
@PER_FUNCTION
def test_load_then_save_is_the_identity(tmp_path: Path, graph: Any, unknown: bool) -> None:
    source, target = tmp_path / "in.pb", tmp_path / "out.pb"
    # Not the deterministic serialisation: attributes in whatever order, and a field from a later TensorFlow.
    source.write_bytes(graph.SerializeToString() + (UNKNOWN if unknown else b""))
    model = container.load(source)
    container.save(model, target)
    assert target.read_bytes() == source.read_bytes()

    model.edited = True
    container.save(model, target)
    first = target.read_bytes()
    again = container.load(target)
    assert (UNKNOWN in first) is unknown
    again.edited = True
    assert container.to_bytes(again, "graph_def", False) == first
    assert first == GraphDef.FromString(source.read_bytes()).SerializeToString(deterministic=True)


@given(graph=graphs())
@PER_FUNCTION
def test_text_holds_all_that_binary_holds(tmp_path: Path, graph: Any) -> None:
    binary, text = tmp_path / "model.pb", tmp_path / "model.pbtxt"
    binary.write_bytes(graph.SerializeToString())
    container.save(container.load(binary), text)
    read = container.load(text)
    assert read.text
    # NaN differs from itself, and text does not keep its payload, of which hypothesis makes some.
    printed = text_format.MessageToString(graph)
    assert text_format.MessageToString(read.message) == printed
    if "nan" not in printed:
        assert container.to_bytes(read, "graph_def", False) == graph.SerializeToString(deterministic=True)


def test_suffixes(tmp_path: Path, small_graph: Any, small_meta_graph: Any) -> None:
    graph_path, meta_path, text_path = tmp_path / "g.pb", tmp_path / "m.meta", tmp_path / "t.meta"
    graph_path.write_bytes(small_graph.SerializeToString())
    meta_path.write_bytes(small_meta_graph.SerializeToString())
    text_path.write_text(text_format.MessageToString(small_meta_graph))
    expected = {
        ".pb": ("graph_def", False),
        ".PB": ("graph_def", False),
        ".pbtxt": ("graph_def", True),
        ".meta": ("meta_graph", False),
        ".meta.pbtxt": ("meta_graph", True),
    }
    for source in (graph_path, meta_path, text_path):
        for suffix, (kind, text) in expected.items():
            target = tmp_path / f"out{suffix}"
            container.save(container.load(source), target)
            saved = container.load(target)
            as_text = text or (suffix == ".meta" and source == text_path)
            assert (saved.kind, saved.text) == (kind, as_text)
            assert saved.graph_def == small_graph
            if kind == "meta_graph" and source != graph_path:
                assert saved.message == small_meta_graph


@pytest.mark.parametrize("name", ["out", "out.txt", "out.h5", "out.meta.txt"])
def test_other_suffixes_are_refused(tmp_path: Path, small_graph: Any, name: str) -> None:
    source = tmp_path / "g.pb"
    source.write_bytes(small_graph.SerializeToString())
    with pytest.raises(ConfigError) as caught:
        container.save(container.load(source), tmp_path / name)
    assert caught.value.code == "output-suffix"
    assert not (tmp_path / name).exists()


def test_text_refuses_to_lose_unknown_fields(tmp_path: Path, small_graph: Any) -> None:
    """Deep inside too: a node's unknown field."""
    node = small_graph.node[0].SerializeToString() + UNKNOWN
    nested = b"\x0a" + bytes([len(node)]) + node
    for data in (small_graph.SerializeToString() + UNKNOWN, nested):
        path = tmp_path / "g.pb"
        path.write_bytes(data)
        with pytest.raises(InputError) as caught:
            container.save(container.load(path), tmp_path / "g.pbtxt")
        assert caught.value.code == "unknown-fields-in-text"


def test_digest_and_edits(tmp_path: Path, small_meta_graph: Any) -> None:
    path = tmp_path / "m.meta"
    path.write_bytes(small_meta_graph.SerializeToString())
    model = container.load(path)
    assert model.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    model.graph_def.node[1].name = "z"
    model.edited = True
    saved = MetaGraphDef.FromString(container.to_bytes(model, "meta_graph", False))
    assert saved.graph_def.node[1].name == "z"
    assert saved.collection_def["losses"].node_list.value == ["y:0"]


def test_a_graph_beyond_protobufs_limit_is_refused(
    tmp_path: Path, small_graph: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "g.pb"
    path.write_bytes(small_graph.SerializeToString())
    model = container.load(path)
    model.edited = True
    monkeypatch.setattr(container, "MOST_BYTES", small_graph.ByteSize() - 1)
    with pytest.raises(InputError) as caught:
        container.to_bytes(model, "graph_def", False)
    assert caught.value.code == "graph-too-large"


def test_conversion_in_place_and_on_saving_agree(tmp_path: Path) -> None:
    path = tmp_path / "g.pbtxt"
    path.write_text(
        """
        node { name: "v" op: "VariableV2" attr { key: "dtype" value { type: DT_FLOAT } } }
        node { name: "init" op: "Const" }
        node { name: "v/Assign" op: "Assign" input: "v" input: "init" }
        node { name: "v/read" op: "Identity" input: "v" }
        """
    )
    model = container.load(path)
    on_saving = container.to_bytes(model, "meta_graph", False)
    assert model.kind == "graph_def"
    assert container.convert_to_meta_graph(model).trainable == ("v",)
    assert (model.kind, model.text, model.edited) == ("meta_graph", False, True)
    assert container.to_bytes(model, "meta_graph", False) == on_saving
    (serialized,) = model.message.collection_def["trainable_variables"].bytes_list.value
    assert VariableDef.FromString(serialized).initial_value_name == "init:0"
    with pytest.raises(ValueError, match="already"):
        container.convert_to_meta_graph(model)
