"""From a rewritten graph back to its source."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import pytest
from graphs import one_layer, two_layers
from numeric import RTOL_EVAL, deviation, parse, run, tf1
from phases import BODIES, switched
from rewriting import rewrite

from fqrewrite.errors import Refusal
from fqrewrite.ir.editor import Editor
from fqrewrite.ir.graph import Graph
from fqrewrite.ir.text import parse as parse_text
from fqrewrite.ir.topology import topological_order
from fqrewrite.plans.items import Changes, Plan
from fqrewrite.proto import GraphDef, MetaGraphDef
from fqrewrite.source.provenance import Provenance, find_provenance, mark, originals, recover, require_provenance

SOURCE = "x = Placeholder\ny = Neg(x)\nz = Relu(y)\n"


@cache
def plan() -> Plan:
    return rewrite(one_layer("matmul", norm="none", resource=False).meta, "train").plan


def marked(**changes: Any) -> Any:
    """A GraphDef with a marker."""
    graph = Graph(parse_text(SOURCE))
    editor = Editor(graph)
    mark(editor, Provenance(**{"mode": "train", "plan": plan(), "changes": Changes(), **changes}))
    editor.commit()
    return graph.graph_def


def content(graph_def: Any) -> bytes:
    (found,) = (node for node in graph_def.node if node.op == "Const")
    return bytes(found.attr["value"].tensor.string_val[0])


def with_content(text: bytes) -> Any:
    graph_def = marked()
    graph_def.node[-1].attr["value"].tensor.string_val[0] = text
    return graph_def


def test_what_is_left_is_found() -> None:
    changes = Changes(bound={"p": True}, phases=("p",), conditionals=2)
    found = find_provenance(marked(changes=changes, originals=b"abc"), "model.pb")
    assert found is not None
    provenance, scope = found
    assert scope == ""
    assert provenance == Provenance(mode="train", plan=plan(), changes=changes, originals=b"abc")


def test_the_same_provenance_gives_the_same_bytes() -> None:
    assert marked().SerializeToString(deterministic=True) == marked().SerializeToString(deterministic=True)


def test_none() -> None:
    graph_def = parse_text(SOURCE + 'fqrewrite/provenance = Const {value: "something else"}\n')
    assert find_provenance(graph_def, "model.pb") is None
    with pytest.raises(Refusal) as caught:
        require_provenance(graph_def, "model.pb")
    assert (caught.value.code, caught.value.where) == ("provenance-missing", "model.pb")


GOOD = content(marked())


@pytest.mark.parametrize(
    "damaged",
    [
        GOOD[:-1],
        GOOD[: len(GOOD) // 2],
        GOOD[:20],
        b"fqrewrite\n",
        b"fqrewrite\n{}\n",
        b"fqrewrite\n\xff\xfe\n" + GOOD,
        GOOD[:-9] + b"\0" + GOOD[-8:],
        GOOD[: GOOD.rindex(b"}\n") + 2] + b"not compressed",
        GOOD.replace(b'"schema":', b'"schema":9'),
        GOOD.replace(b'"schema":', b'"schema":"x",'),
    ],
    ids=range(10),
)
def test_damage_is_one_clear_error(damaged: bytes) -> None:
    with pytest.raises(Refusal) as caught:
        find_provenance(with_content(damaged), "model.pb")
    assert (caught.value.code, caught.value.where) == ("provenance-unreadable", "model.pb")


def test_the_version_that_made_it_is_named() -> None:
    with pytest.raises(Refusal, match=r"made by fqrewrite 9\.9"):
        find_provenance(with_content(GOOD.replace(b'"schema":', b'"schema":9').replace(b"0.1.0", b"9.9.0", 1)), "m")


def test_two_rewritten_graphs_in_one() -> None:
    graph_def = marked()
    again = graph_def.node.add()
    again.CopyFrom(graph_def.node[-2])
    again.name = "other/fqrewrite/provenance"
    with pytest.raises(Refusal, match="'', 'other/'") as caught:
        find_provenance(graph_def, "model.pb")
    assert caught.value.code == "provenance-ambiguous"


def test_a_scope_is_left_and_what_is_outside_makes_room() -> None:
    graph_def = parse_text(
        "imp/x = Placeholder\nx = Placeholder\nimp/y = Neg(imp/x, ^x)\nother = Add(imp/y:0, x)\nimport/x = Neg(x)\n"
    )
    graph_def.node[2].attr["_class"].list.s.append(b"loc:@imp/x")
    source = GraphDef(node=[parse_text("x = Placeholder\ny = Exp(x)\n").node[1]])
    provenance = Provenance(
        mode="train", plan=plan(), changes=Changes(), originals=source.SerializeToString(deterministic=True)
    )
    before = graph_def.SerializeToString(deterministic=True)
    recovered = recover(graph_def, provenance, "imp/")
    assert {node.name: (node.op, list(node.input)) for node in recovered.node} == {
        "x": ("Placeholder", []),
        "outside/x": ("Placeholder", []),
        "y": ("Exp", ["x"]),
        "other": ("Add", ["y:0", "outside/x"]),
        "import/x": ("Neg", ["outside/x"]),
    }
    assert graph_def.SerializeToString(deterministic=True) == before


def test_nodes_that_were_removed_come_back() -> None:
    graph = Graph(parse_text(SOURCE))
    editor = Editor(graph)
    editor.remove([graph.node("z")])
    left = GraphDef.FromString(originals(editor))
    provenance = Provenance(mode="train", plan=plan(), changes=Changes(), originals=left.SerializeToString())
    recovered = recover(graph.graph_def, provenance, "")
    assert {node.name: node for node in recovered.node} == {node.name: node for node in parse_text(SOURCE).node}


# ---- real graphs


class Source(NamedTuple):
    """A serialized MetaGraphDef, and what to feed for its ``output:0``."""

    meta: bytes
    feed: dict[str, Any]


def sources() -> dict[str, Source]:
    found = {}
    for resource in (False, True):
        net = two_layers(resource=resource)
        found["resource variables" if resource else "variables"] = Source(net.meta, net.feeds(1)[0])
    for name, v2 in (("fused", False), ("unfused", False), ("dropout", True), ("looped", False), ("nested", True)):
        case = switched(BODIES[name], v2=v2)
        found[f"{name}, {'v2' if v2 else 'v1'}"] = Source(case.meta, case.feed(training=False))
    return found


SOURCES = sources()


def trained(meta: bytes, scope: str) -> Any:
    """GraphDef of a rewritten graph after import, with an optimizer and a saver."""
    graph = tf1.Graph()
    with graph.as_default():
        tf1.train.import_meta_graph(parse(meta), import_scope=scope)
        prefix = f"{scope}/" if scope else ""
        loss = graph.get_tensor_by_name(f"{prefix}loss:0")
        updates = tf1.get_collection(tf1.GraphKeys.UPDATE_OPS)
        with tf1.control_dependencies(updates):
            tf1.train.AdamOptimizer().minimize(loss, global_step=tf1.train.get_or_create_global_step())
        tf1.train.Saver()
        return GraphDef.FromString(graph.as_graph_def().SerializeToString())


def as_source(recovered: Any, source: bytes) -> Any:
    """The source's MetaGraphDef with the nodes of a recovered graph; they must be the source's, exactly."""
    meta = MetaGraphDef.FromString(source)
    by_name = {node.name: node for node in recovered.node}
    for node in meta.graph_def.node:
        found = by_name[node.name]
        assert (found.op, list(found.input)) == (node.op, list(node.input)), node.name
        if node.op not in ("NoOp", "Identity"):
            assert {key for key in node.attr if key[0] != "_"} <= set(found.attr), node.name
    Graph(recovered)
    topological_order(Graph(recovered))
    nodes = [by_name[node.name] for node in meta.graph_def.node]
    del meta.graph_def.node[:]
    meta.graph_def.node.extend(nodes)
    return parse(meta.SerializeToString())


@pytest.mark.parametrize("scope", ["", "import", "a/b"])
@pytest.mark.parametrize("name", SOURCES)
def test_the_source_comes_back_after_training_was_added(name: str, scope: str) -> None:
    net = SOURCES[name]
    rewritten = rewrite(net.meta, "train").meta
    graph_def = trained(rewritten, scope)
    found = find_provenance(graph_def, "trained")
    assert found is not None
    provenance, prefix = found
    assert prefix == (f"{scope}/" if scope else "")
    source = as_source(recover(graph_def, provenance, prefix), net.meta)
    got, want = run(source, [net.feed], ["output:0"]), run(parse(net.meta), [net.feed], ["output:0"])
    assert deviation(got[0].values["output:0"], want[0].values["output:0"]) <= RTOL_EVAL


@pytest.mark.parametrize("name", SOURCES)
def test_without_import_the_source_comes_back_to_the_byte(name: str) -> None:
    source = MetaGraphDef.FromString(SOURCES[name].meta).graph_def
    graph_def = MetaGraphDef.FromString(rewrite(SOURCES[name].meta, "train").meta).graph_def
    again = GraphDef.FromString(graph_def.SerializeToString())
    provenance, scope = require_provenance(again, "train")
    recovered = {node.name: node for node in recover(again, provenance, scope).node}
    for node in source.node:
        node.attr.pop("_output_shapes", None)
        recovered[node.name].attr.pop("_output_shapes", None)
        assert recovered[node.name] == node
