"""What else of a SavedModel's graph is in use: other signatures, and the main op."""

from __future__ import annotations

from pathlib import Path

import pytest
from saved_models import meta_graph, write_saved_model

from fqrewrite.ir.editor import Editor
from fqrewrite.ir.graph import Graph
from fqrewrite.match.reach import ancestors
from fqrewrite.model.container import Model, load
from fqrewrite.source.served import kept_signatures, only_for_others, servable_nodes, served_nodes, trim_main_ops

NET = """
x = Placeholder
z = Placeholder
shared = Neg(x)
y = Relu(shared)
other = Neg(z)
both = Add(other, shared)
v = VariableV2 {shape: [2]}
start = Const {value: [1.0, 2.0]}
v/Assign = Assign(v, start)
named = LookupTableFind(table, both)
table = HashTableV2
words = Const {value: "words.txt"}
fill = InitializeTableFromTextFileV2(table, words)
other_table = HashTableV2
fill_other = InitializeTableFromTextFileV2(other_table, words)
tables = NoOp(^fill, ^fill_other)
variables = NoOp(^v/Assign)
main = NoOp(^tables, ^variables)
"""


def _open(folder: Path, text: str = NET, *chosen: str, main_op: str = "") -> tuple[Model, Graph]:
    message = meta_graph(text, "serve", a=({"x": "x:0"}, {"y": "y:0"}), b=({"z": "z:0"}, {"both": "both:0"}))
    if main_op:
        message.collection_def["saved_model_main_op"].node_list.value.append(main_op)
    model = load(write_saved_model(folder / "m", message), signatures=chosen or ("a",))
    return model, Graph(model.graph_def)


def test_signatures_that_were_not_chosen(tmp_path: Path) -> None:
    model, graph = _open(tmp_path)
    assert [node.name for node in served_nodes(model, graph)] == ["both"]
    assert {node.name for node in only_for_others(model, graph, [graph.node("y")])} == {"both", "other", "z"}
    note = kept_signatures(model)
    assert note is not None and note.text.startswith("'b': not chosen")
    model, graph = _open(tmp_path, NET, "a", "b")
    assert served_nodes(model, graph) == [] and kept_signatures(model) is None
    assert only_for_others(model, graph, [graph.node("y")]) == set()


def test_a_file_has_none(tmp_path: Path) -> None:
    message = meta_graph(NET, a=({"x": "x:0"}, {"y": "y:0"}))
    (tmp_path / "m.meta").write_bytes(message.SerializeToString())
    model = load(tmp_path / "m.meta")
    graph = Graph(model.graph_def)
    assert served_nodes(model, graph) == [] and kept_signatures(model) is None
    assert trim_main_ops(Editor(graph), model, set(graph), keeps_variables=True) == []


@pytest.mark.parametrize(
    ("line", "servable"),
    [
        ("both = Add(other, v)", True),
        ("r = VarHandleOp {shape: [2], dtype: float32}\nboth = ReadVariableOp(r) {dtype: float32}", True),
        ("both = AssignAdd(v, other)", False),
        ("r = VarHandleOp {shape: [2], dtype: float32}\nboth = StatefulPartitionedCall(r)", False),
    ],
)
def test_only_inference_can_be_served(tmp_path: Path, line: str, servable: bool) -> None:
    model, graph = _open(tmp_path, NET.replace("both = Add(other, shared)", line))
    for node in graph.by_op("StatefulPartitionedCall"):
        node.proto.attr["f"].func.name = "function"
    assert [node.name for node in servable_nodes(model, graph)] == (["both"] if servable else [])


@pytest.mark.parametrize(
    ("needed", "keeps_variables", "waits"),
    [
        (["named"], False, {"fill"}),
        (["named", "v"], False, {"fill"}),
        (["named", "v"], True, {"fill", "v/Assign"}),
        (["y"], True, set()),
        (["other_table"], False, {"fill_other"}),
    ],
)
def test_the_main_op_sets_up_what_is_needed(
    tmp_path: Path, needed: list[str], keeps_variables: bool, waits: set[str]
) -> None:
    model, graph = _open(tmp_path, main_op="main")
    wanted = ancestors(map(graph.node, needed))
    kept = trim_main_ops(Editor(graph), model, wanted, keeps_variables=keeps_variables)
    assert [node.name for node in kept] == ["main"]
    groups = {"tables", "variables", "main"}
    assert {
        node.name for node in ancestors(kept) if node.op not in ("Const", "VariableV2", "HashTableV2")
    } - groups == waits


@pytest.mark.parametrize(("main_op", "kept"), [("fill", ["fill"]), ("fill_other", []), ("v/Assign", [])])
def test_a_main_op_that_does_it_itself(tmp_path: Path, main_op: str, kept: list[str]) -> None:
    model, graph = _open(tmp_path, main_op=main_op)
    found = trim_main_ops(Editor(graph), model, ancestors([graph.node("named")]), keeps_variables=False)
    assert [node.name for node in found] == kept


ASSET = """
word = Placeholder {dtype: string}
named = LookupTableFindV2(table, word)
table = HashTableV2
path = Placeholder {dtype: string}
held = VarHandleOp {dtype: string, shape: []}
held/Assign = AssignVariableOp(held, path)
read = ReadVariableOp(held, ^held/Assign) {dtype: string}
fill = InitializeTableFromTextFileV2(table, read)
main = NoOp(^fill, ^held/Assign)
"""


@pytest.mark.parametrize("keeps_variables", [False, True])
def test_the_path_of_a_vocabulary_passes_a_variable(tmp_path: Path, keeps_variables: bool) -> None:
    """As TensorFlow 2 saves it; no checkpoint has that variable."""
    message = meta_graph(ASSET, "serve", a=({"x": "word:0"}, {"y": "named:0"}))
    message.collection_def["saved_model_main_op"].node_list.value.append("main")
    model = load(write_saved_model(tmp_path / "m", message))
    graph = Graph(model.graph_def)
    needed = ancestors([graph.node("named")])
    kept = trim_main_ops(Editor(graph), model, needed, keeps_variables=keeps_variables)
    assert {node.name for node in ancestors(kept)} == {"main", "fill", "table", "read", "path"}
    assert (graph.node("read").op, graph.node("read").controls) == ("Identity", [])
