"""The files of a SavedModel of which one graph is another."""

from __future__ import annotations

from pathlib import Path

import pytest
from saved_models import meta_graph, write_saved_model

from fqrewrite.model.container import load
from fqrewrite.model.saved_model_replace import others_have_variables, replaced_files
from fqrewrite.proto import SavedModel

FROZEN = "x = Placeholder\ny = Neg(x)"
TRAINED = "v = VariableV2 {shape: [2]}\ny = Neg(v)"
OTHERS = ("assets/words", "assets.extra/readme", "notes.txt", "debug/graph")
VARIABLES = ("variables/variables.index", "variables/variables.data-00000-of-00001")


def _write(directory: Path, *graphs: object) -> Path:
    write_saved_model(directory, *graphs)
    for name in (*OTHERS, *VARIABLES, "fingerprint.pb", "keras_metadata.pb"):
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_bytes(name.encode())
    return directory


@pytest.mark.parametrize(("other", "kept"), [(None, ()), (FROZEN, ()), (TRAINED, VARIABLES)])
def test_what_is_kept(tmp_path: Path, other: str | None, kept: tuple[str, ...]) -> None:
    others = [] if other is None else [meta_graph(other, "other")]
    directory = _write(tmp_path / "m", meta_graph(TRAINED, "serve"), *others)
    model = load(directory, tag_set=("serve",))
    source = model.saved_model
    assert source is not None
    assert others_have_variables(source) == bool(kept)
    model.graph_def.node[0].device = "/cpu:0"
    files = replaced_files(source, model.message, None)
    data = files.pop("saved_model.pb")
    assert files == {name: directory / name for name in sorted([*OTHERS, *kept, "keras_metadata.pb"])}
    assert isinstance(data, bytes)
    assert SavedModel.FromString(data).meta_graphs[0].graph_def.node[0].device == "/cpu:0"
    given = {"variables/variables.index": b"i", "variables/variables.data-00000-of-00001": b"d"}
    assert given.items() <= replaced_files(source, model.message, given).items()


def test_shards_of_old_variables_go(tmp_path: Path) -> None:
    directory = _write(tmp_path / "m", meta_graph(TRAINED, "serve"))
    (directory / "variables" / "variables.data-00001-of-00002").write_bytes(b"")
    model = load(directory)
    assert model.saved_model is not None
    files = replaced_files(model.saved_model, model.message, {"variables/variables.index": b"i"})
    assert [name for name in files if name.startswith("variables")] == ["variables/variables.index"]


def test_what_only_keras_reads_goes_with_the_objects(tmp_path: Path) -> None:
    graph = meta_graph(TRAINED, "serve", serving_default=({}, {"y": "y:0"}))
    graph.object_graph_def.nodes.add()
    model = load(_write(tmp_path / "m", graph))
    assert model.saved_model is not None and model.saved_model.has_objects
    assert "keras_metadata.pb" not in replaced_files(model.saved_model, model.message, None)
