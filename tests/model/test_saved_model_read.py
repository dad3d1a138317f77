"""Opening SavedModels: which graph and signatures are meant, and what is kept of the rest."""

from __future__ import annotations

from pathlib import Path

import pytest
from saved_models import Ends, meta_graph, write_saved_model

from fqrewrite.errors import ConfigError, FqrewriteError, InputError
from fqrewrite.model.container import Model, load, to_bytes
from fqrewrite.model.declared import declared_outputs
from fqrewrite.proto import GraphDef, MetaGraphDef, SavedModel

TEXT = """
x = Placeholder {shape: [?, 2]}
y = Relu(x)
z = Neg(x)
"""
Y, Z = ({"a": "x:0"}, {"b": "y:0"}), ({"a": "x:0"}, {"b": "z:0"})
UNKNOWN = b"\xc2\x3e\x05later"  # field 1000, of a later TensorFlow


def _chosen(model: Model) -> tuple[tuple[str, ...], tuple[str, ...]]:
    assert model.saved_model is not None
    return model.saved_model.tags, model.saved_model.signatures


def test_what_is_opened(tmp_path: Path) -> None:
    directory = write_saved_model(tmp_path / "m", meta_graph(TEXT, "serve", serving_default=Y, other=Z))
    model = load(directory)
    assert (model.kind, model.source_kind, model.text) == ("meta_graph", "saved_model", False)
    assert model.path == directory / "saved_model.pb"
    assert [node.name for node in model.graph_def.node] == ["x", "y", "z"]
    source = model.saved_model
    assert source is not None and source.directory == directory and not source.has_objects
    assert _chosen(model) == (("serve",), ("serving_default",))
    assert to_bytes(model, "meta_graph", False) == model.message.SerializeToString(deterministic=True)
    assert _chosen(load(directory / "saved_model.pb")) == _chosen(model)
    assert model.copy().saved_model is source


def test_the_text_form(tmp_path: Path) -> None:
    graph = meta_graph(TEXT, "serve", serving_default=Y)
    binary, text = write_saved_model(tmp_path / "b", graph), write_saved_model(tmp_path / "t", graph, text=True)
    one, other = load(binary), load(text)
    assert one.message == other.message and one.raw == other.raw
    assert other.path.name == "saved_model.pbtxt"
    write_saved_model(text, meta_graph(TEXT, "binary"))
    assert _chosen(load(text))[0] == ("binary",)  # as TensorFlow has it


SERVE, TRAIN, NONE = (meta_graph(TEXT, *tags, serving_default=Y) for tags in (("serve",), ("train", "gpu"), ()))


@pytest.mark.parametrize(
    ("graphs", "tag_set", "index"),
    [
        ([TRAIN], None, 0),
        ([TRAIN, SERVE], None, 1),
        ([NONE], None, 0),
        ([SERVE, TRAIN], ("gpu", "train"), 1),
        ([SERVE, TRAIN], ("train", "gpu", "gpu"), 1),
        ([SERVE, NONE], (), 1),
        ([TRAIN, NONE], None, "tag-set-ambiguous"),
        ([SERVE, SERVE], None, "tag-set-ambiguous"),
        ([SERVE, TRAIN], ("gpu",), "tag-set-unknown"),
        ([SERVE], (), "tag-set-unknown"),
    ],
)  # fmt: skip
def test_which_graph(tmp_path: Path, graphs: list[object], tag_set: tuple[str, ...] | None, index: int | str) -> None:
    directory = write_saved_model(tmp_path / "m", *graphs)
    if isinstance(index, int):
        found = load(directory, tag_set=tag_set).saved_model
        assert found is not None and found.index == index
        return
    with pytest.raises(ConfigError) as caught:
        load(directory, tag_set=tag_set)
    assert caught.value.code == index
    if graphs == [SERVE, TRAIN]:
        assert "serve; gpu,train" in caught.value.what


@pytest.mark.parametrize(
    ("keys", "wanted", "chosen"),
    [
        (("serving_default", "a"), (), ("serving_default",)),
        (("a",), (), ("a",)),
        ((), (), ()),
        (("a", "b"), ("b",), ("b",)),
        (("a", "b"), ("b", "a", "b"), ("b", "a")),
        (("a", "__saved_model_init_op"), (), ("a",)),
        (("a", "b"), None, ()),
        (("a", "b"), (), "signature-ambiguous"),
        (("a", "b"), ("a", "c"), "signature-unknown"),
        (("a", "__saved_model_init_op"), ("__saved_model_init_op",), "signature-unknown"),
    ],
)
def test_which_signatures(
    tmp_path: Path, keys: tuple[str, ...], wanted: tuple[str, ...] | None, chosen: tuple[str, ...] | str
) -> None:
    directory = write_saved_model(tmp_path / "m", meta_graph(TEXT, "serve", **dict.fromkeys(keys, Y)))
    if not isinstance(chosen, str):
        assert _chosen(load(directory, signatures=wanted))[1] == chosen
        return
    with pytest.raises(ConfigError) as caught:
        load(directory, signatures=wanted)
    assert caught.value.code == chosen
    assert "'a'" in caught.value.what


def test_objects_without_signatures(tmp_path: Path) -> None:
    graph = meta_graph(TEXT, "serve")
    graph.object_graph_def.nodes.add()
    with pytest.raises(InputError) as caught:
        load(write_saved_model(tmp_path / "m", graph))
    assert caught.value.code == "signature-none"


@pytest.mark.parametrize(
    "ends",
    [({"a": "x:0"}, {"b": "gone:0"}), ({"a": "gone:0"}, {"b": "y:0"}), ({"a": "x:0"}, {"b": "call:1"})],
)
def test_a_signature_of_what_is_not_there(tmp_path: Path, ends: Ends) -> None:
    graph = meta_graph(f"{TEXT}\ncall = StatefulPartitionedCall(x)", "serve", a=Y, b=ends)
    graph.graph_def.node[-1].attr["Tout"].list.type.append(1)
    directory = write_saved_model(tmp_path / "m", graph)
    with pytest.raises(InputError) as caught:
        load(directory, signatures=("b",))
    assert caught.value.code == "signature-damaged"
    load(directory, signatures=("a",))


def test_all_parts_of_an_output_are_outputs(tmp_path: Path) -> None:
    graph = meta_graph(TEXT, "serve", a=Y)
    parts = graph.signature_def["a"].outputs["composite"].composite_tensor.components
    parts.add(name="z:0")
    sparse = graph.signature_def["a"].outputs["sparse"].coo_sparse
    sparse.values_tensor_name = sparse.indices_tensor_name = sparse.dense_shape_tensor_name = "x:0"
    assert declared_outputs(load(write_saved_model(tmp_path / "m", graph))) == ("y:0", "z:0", "x:0")


def test_another_choice_is_another_source(tmp_path: Path) -> None:
    """A plan of one signature does not fit the other."""
    directory = write_saved_model(tmp_path / "m", meta_graph(TEXT, "serve", a=Y, b=Z), meta_graph(TEXT, "gpu", a=Y))
    choices = ((None, ("a",)), (None, ("b",)), (None, ("a", "b")), (("gpu",), ("a",)))
    digests = [load(directory, tag_set=tags, signatures=keys).sha256 for tags, keys in choices]
    assert len(set(digests)) == 4
    assert load(directory, signatures=("a",)).sha256 == digests[0]


def test_other_graphs_keep_their_bytes(tmp_path: Path) -> None:
    directory = write_saved_model(tmp_path / "m", TRAIN, SERVE, NONE)
    file = directory / "saved_model.pb"
    # Neither deterministic nor complete in what this version knows.
    parts = [graph.SerializeToString() + UNKNOWN for graph in (TRAIN, SERVE, NONE)]
    whole = b"".join(SavedModel(meta_graphs=[MetaGraphDef.FromString(part)]).SerializeToString() for part in parts)
    file.write_bytes(b"\x08\x01" + whole + UNKNOWN)
    model = load(directory)
    source = model.saved_model
    assert source is not None and source.index == 1
    assert source.replace_meta_graph(model.raw) == file.read_bytes()
    model.graph_def.node[0].name = "changed"
    assert source.message.meta_graphs[1].graph_def.node[0].name == "x"
    replaced = source.replace_meta_graph(model.message.SerializeToString())
    first, last = (source.raw[field.start : field.end] for field in (source.fields[0], source.fields[2]))
    assert replaced.startswith(b"\x08\x01" + first) and replaced.endswith(last + UNKNOWN)
    assert SavedModel.FromString(replaced).meta_graphs[1].graph_def.node[0].name == "changed"


def test_every_cut_is_seen(tmp_path: Path) -> None:
    directory = write_saved_model(tmp_path / "m", SERVE)
    data = (directory / "saved_model.pb").read_bytes()
    codes = set()
    for length in range(2, len(data)):  # of one byte nobody can tell what it was
        (directory / "saved_model.pb").write_bytes(data[:length])
        with pytest.raises(FqrewriteError) as caught:
            load(directory)
        codes.add(caught.value.code)
    assert codes == {"file-truncated", "graph-empty"}


@pytest.mark.parametrize(
    ("data", "code", "said"),
    [
        (b"", "file-empty", "empty"),
        (b"\x89PNG\r\n\x1a\n" + bytes(20), "file-foreign", "PNG"),
        (b"<html><body>not found</body></html>", "file-foreign", "HTML"),
        (b"saved_model_schema_version: 1\nmeta_grafs { }\n", "pbtxt-syntax", "meta_grafs"),
        (b"node { name: 'x' op: 'NoOp' }", "file-foreign", "no SavedModel"),
        (GraphDef(node=[{"name": "x", "op": "NoOp"}]).SerializeToString(), "file-foreign", "this is a GraphDef"),
        (SERVE.SerializeToString(), "file-foreign", "this is a MetaGraphDef"),
        (SavedModel(saved_model_schema_version=1).SerializeToString(), "graph-empty", "no graph"),
        (b"\x08\x01" + UNKNOWN, "file-foreign", "damaged"),
    ],
)
def test_files_that_are_no_saved_model(tmp_path: Path, data: bytes, code: str, said: str) -> None:
    (tmp_path / "saved_model.pb").write_bytes(data)
    with pytest.raises(InputError) as caught:
        load(tmp_path)
    assert caught.value.code == code and said in caught.value.what
    assert caught.value.where is not None and caught.value.where.startswith(str(tmp_path / "saved_model.pb"))


def test_a_graph_of_that_name_is_a_graph(tmp_path: Path) -> None:
    path = tmp_path / "saved_model.pb"
    path.write_bytes(SERVE.graph_def.SerializeToString())
    assert load(path).source_kind == "graph_def"


def test_a_saved_model_of_another_name(tmp_path: Path) -> None:
    directory = write_saved_model(tmp_path, SERVE)
    (directory / "saved_model.pb").rename(directory / "model.pb")
    with pytest.raises(InputError) as caught:
        load(directory / "model.pb")
    assert caught.value.code == "saved-model-file"


def test_choices_are_for_saved_models(tmp_path: Path) -> None:
    (tmp_path / "model.pb").write_bytes(SERVE.graph_def.SerializeToString())
    for given in ({"tag_set": ("serve",)}, {"signatures": ("a",)}):
        with pytest.raises(ConfigError) as caught:
            load(tmp_path / "model.pb", **given)
        assert caught.value.code == "saved-model-option"
