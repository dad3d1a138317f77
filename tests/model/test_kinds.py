"""What a file holds, by its content: every kind of graph, and files that are none."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import random
import zipfile
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format

from fqrewrite.errors import InputError
from fqrewrite.model import container
from fqrewrite.proto import GraphDef, MetaGraphDef, NodeDef, SavedModel


def _error(path: Path, data: bytes | None = None) -> InputError:
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        container.load(path)
    assert caught.value.where is not None
    assert caught.value.where.startswith(str(path))
    return caught.value


@pytest.mark.parametrize("suffix", [".pb", ".pbtxt", ".meta", ""])
def test_content_decides_and_not_the_suffix(
    tmp_path: Path, suffix: str, small_graph: Any, small_meta_graph: Any
) -> None:
    path = tmp_path / f"model{suffix}"
    for message, kind in ((small_graph, "graph_def"), (small_meta_graph, "meta_graph")):
        for text in (False, True):
            printed = text_format.MessageToString(message).encode()
            path.write_bytes(printed if text else message.SerializeToString())
            model = container.load(path)
            assert (model.kind, model.text, model.message) == (kind, text, message)
            assert [node.name for node in model.graph_def.node] == ["x", "y"]


def test_meta_graphs_without_what_usually_tells_them_apart(tmp_path: Path, small_graph: Any) -> None:
    """No meta_info_def at all, and one whose version string looks like a node's name."""
    path = tmp_path / "model.meta"
    for version in ("", "x"):
        meta_graph = MetaGraphDef(graph_def=small_graph)
        if version:
            meta_graph.meta_info_def.meta_graph_version = version
            meta_graph.meta_info_def.stripped_op_list.op.add(name="Relu")
        path.write_bytes(meta_graph.SerializeToString())
        assert container.load(path).kind == "meta_graph"


def test_a_graph_whose_bytes_look_like_a_foreign_file(tmp_path: Path) -> None:
    """Byte 4 is where TFLite has its TFL3, and where the name of a first, short node stands."""
    path = tmp_path / "model.pb"
    path.write_bytes(GraphDef(node=[NodeDef(name="TFL3", op="NoOp")]).SerializeToString())
    assert path.read_bytes()[4:8] == b"TFL3"
    assert container.load(path).kind == "graph_def"


def test_text_with_comments_a_byte_order_mark_and_other_brackets(tmp_path: Path) -> None:
    path = tmp_path / "model.pbtxt"
    path.write_bytes(b'\xef\xbb\xbf# a comment\n\n  # node {\nnode < name: "a" op: "NoOp" >\r\n')
    assert container.load(path).message == GraphDef(node=[NodeDef(name="a", op="NoOp")])


def _zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("config.json", "{}")
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "PNG"),
        (b"\xff\xd8\xff\xe0" + bytes(50), "JPEG"),
        (b"\x1c\x00\x00\x00TFL3" + bytes(50), "TFLite"),
        (b"\x89HDF\r\n\x1a\n" + bytes(50), "HDF5"),
        (_zip(), "zip archive"),
        (gzip.compress(b"graph"), "gzip"),
        (pickle.dumps({"a": 1}), "pickle"),
        (json.dumps({"model_type": "bert"}).encode(), "Hugging Face"),
        (json.dumps({"format": "graph-model", "modelTopology": {}}).encode(), "TensorFlow.js"),
        (json.dumps({"class_name": "Functional"}).encode(), "Keras"),
        (b'\n {"a": 1}', "JSON"),
        (b"[1, 2]", "JSON"),
        (b"<!DOCTYPE html><html></html>", "HTML"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS"),
        (b'model_checkpoint_path: "model.ckpt-1"\n', "list of checkpoints"),
        ('node { name: "a" op: "NoOp" }'.encode("utf-16"), "UTF-16"),
        (bytes(40) + b"\x57\xfb\x80\x8b\x24\x75\x47\xdb", "index of a checkpoint"),
        (b"\x08\x07\x12\x07pytorch\x1a\x031.9", "ONNX"),
        (b"\x40\x00\x00\x00\x00\x00\x00\x00" + b'{"__metadata__":{}}', "safetensors"),
        (b"key: value\nother: 1\n", "text"),
        (b"hello", "text"),
        (b"[build-system]\n", "text"),
        (random.Random(1).randbytes(1000), "not a TensorFlow graph"),
        (bytes(1000), "not a TensorFlow graph"),
    ],
)
@pytest.mark.parametrize("suffix", [".pb", ".meta"])
def test_foreign_files(tmp_path: Path, data: bytes, words: str, suffix: str) -> None:
    error = _error(tmp_path / f"model{suffix}", data)
    assert error.code == "file-foreign"
    assert words in error.what


def test_checkpoint_data_is_known_by_its_name(tmp_path: Path) -> None:
    error = _error(tmp_path / "model.ckpt-1.data-00000-of-00001", b"\x00\x01" * 99)
    assert (error.code, "data of a checkpoint" in error.what) == ("file-foreign", True)
    assert error.remedy is not None
    assert ".meta" in error.remedy


def test_every_cut_of_a_graph_is_truncated_or_shorter(tmp_path: Path, small_graph: Any, small_meta_graph: Any) -> None:
    """A cut between two nodes leaves a sound GraphDef; every other one must be seen."""
    path = tmp_path / "model"
    for message in (small_graph, small_meta_graph):
        data = message.SerializeToString(deterministic=True)
        codes: list[str] = []
        for length in range(12, len(data)):
            path.write_bytes(data[:length])
            try:
                codes.append(container.load(path).kind)
            except InputError as error:
                codes.append(error.code)
        whole_fields = sum(len(value) if hasattr(value, "append") else 1 for _, value in message.ListFields())
        assert codes.count("file-truncated") >= len(codes) - whole_fields
        assert set(codes) <= {"file-truncated", "graph_def", "meta_graph", "graph-empty"}


def test_saved_models_under_other_names(tmp_path: Path, small_meta_graph: Any) -> None:
    saved = SavedModel(saved_model_schema_version=1, meta_graphs=[small_meta_graph])
    assert _error(tmp_path / "model.pb", saved.SerializeToString()).code == "saved-model-file"
    printed = text_format.MessageToString(saved).encode()
    assert _error(tmp_path / "model.pbtxt", printed).code == "saved-model-file"
    variables = tmp_path / "variables"
    variables.mkdir()
    assert _error(variables).code == "is-a-directory"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ('node {\n  name: "a"\n  opp: "NoOp"\n}\n', 3, "opp"),
        ('nodes {\n  name: "a"\n}\n', 1, "nodes"),
        ('node {\n  name: "a"\n  op: "NoOp"\n', 3, "}"),
    ],
)
def test_syntax_errors_have_their_line(tmp_path: Path, text: str, line: int, words: str) -> None:
    path = tmp_path / "model.pbtxt"
    error = _error(path, text.encode())
    assert error.code == "pbtxt-syntax"
    assert words in error.what
    assert error.where in (f"{path}:{line}", f"{path}:{line + 1}")


def test_graphs_without_nodes(tmp_path: Path, small_graph: Any) -> None:
    del small_graph.node[:]
    for index, data in enumerate(
        (small_graph.SerializeToString(), b"versions { producer: 1 }", b"library { function { } }")
    ):
        assert _error(tmp_path / str(index), data).code == "graph-empty"
    assert "library of 1 function" in _error(tmp_path / "0").what


def test_empty_and_missing_and_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _error(tmp_path / "empty.pb", b"").code == "file-empty"
    assert _error(tmp_path / "nothing.pb").code == "file-not-found"
    (tmp_path / "model.ckpt-7.meta").write_bytes(b"")
    error = _error(tmp_path / "model.ckpt-7")
    assert error.code == "file-not-found"
    assert error.remedy is not None
    assert "model.ckpt-7.meta" in error.remedy
    assert _error(tmp_path / "empty.pb" / "model.pb").code == "file-unreadable"
    monkeypatch.setattr(container, "MOST_BYTES", 3)
    assert _error(tmp_path / "large.pb", b"1234").code == "graph-too-large"
