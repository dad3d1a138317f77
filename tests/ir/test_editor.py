from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fqrewrite.errors import GraphError
from fqrewrite.ir.editor import SHARED, Editor
from fqrewrite.ir.graph import Graph, Node, Value
from fqrewrite.ir.text import format_graph, parse
from fqrewrite.ir.topology import topological_order
from fqrewrite.ir.verify import verify_links
from fqrewrite.proto import GraphDef, NodeDef

CHAIN = """\
x = Placeholder
y = Neg(x)
z = Add(y, x, ^x) @ /gpu:0
"""


def _template(line: str) -> object:
    return parse(line).node[0]


def test_add() -> None:
    graph = Graph(parse(CHAIN))
    editor = Editor(graph)
    x = graph.node("x")
    y = graph.node("y")
    node = editor.add(_template("t = Relu"), "s/new", [x.value(2)], controls=[y], device="/cpu:0")
    assert graph.node("s/new") is node
    assert x.uses[-1] == (node, 0)
    editor.commit()
    assert graph.by_op("Relu") == [node]
    assert format_graph(graph.graph_def) == CHAIN + "s/new = Relu(x:2, ^y) @ /cpu:0\n"


def test_names_must_be_free() -> None:
    editor = Editor(Graph(parse(CHAIN)))
    with pytest.raises(GraphError) as caught:
        editor.add(_template("t = Relu"), "y")
    assert (caught.value.code, caught.value.where) == ("duplicate-node-name", "y")


def test_clone_keeps_attributes_device_and_controls() -> None:
    graph = Graph(parse("x = Placeholder\nc = Conv2D(x, x, ^x) {dilations: [1, 2, 2, 1]} @ /gpu:0\n"))
    editor = Editor(graph)
    clone = editor.clone(graph.node("c"), "c_Fold", [graph.value("x"), graph.value("c")])
    editor.commit()
    assert format_graph(GraphDef(node=[clone.proto])) == (
        "c_Fold = Conv2D(x, c, ^x) {dilations: [1, 2, 2, 1]} @ /gpu:0\n"
    )


def test_redirect_and_set_input() -> None:
    graph = Graph(parse(CHAIN))
    editor = Editor(graph)
    x, y, z = (graph.node(name) for name in "xyz")
    editor.redirect(y.value().uses(), x.value(1))
    editor.set_input(z, 1, y.value())
    assert (x.uses, y.uses) == ([(y, 0), (z, 0)], [(z, 1)])
    editor.commit()
    assert format_graph(graph.graph_def).splitlines()[2] == "z = Add(x:1, y, ^x) @ /gpu:0"


def test_add_control_adds_once() -> None:
    graph = Graph(parse(CHAIN))
    editor = Editor(graph)
    editor.add_control(graph.node("z"), graph.node("y"))
    editor.add_control(graph.node("z"), graph.node("y"))
    editor.add_control(graph.node("z"), graph.node("x"))
    editor.commit()
    assert list(graph.node("z").proto.input) == ["y", "x", "^x", "^y"]
    assert editor.log.items[SHARED].rewired == ["z:^y"]


def test_become_keeps_name_device_and_controls() -> None:
    graph = Graph(parse(CHAIN))
    editor = Editor(graph)
    z = graph.node("z")
    editor.become(z, _template("other = Identity {T: half} @ /cpu:0"), [graph.value("y:1")])
    assert (graph.by_op("Add"), graph.by_op("Identity")) == ([], [z])
    assert graph.node("x").uses == [(graph.node("y"), 0)]
    editor.commit()
    assert format_graph(graph.graph_def).splitlines()[2] == "z = Identity(y:1, ^x) {T: half} @ /gpu:0"


def test_a_new_node_can_become_another() -> None:
    graph = Graph(parse(CHAIN))
    editor = Editor(graph)
    node = editor.add(_template("t = Relu"), "new", [graph.value("x")])
    editor.become(node, _template("t = Neg"), [graph.value("y")])
    editor.commit()
    assert graph.by_op("Neg") == [graph.node("y"), node]
    assert graph.by_op("Relu") == []


def test_untouched_nodes_keep_their_bytes() -> None:
    graph_def = parse(CHAIN)
    graph_def.node[1].input[0] = "x:0"  # as some exporters write it
    graph = Graph(graph_def)
    editor = Editor(graph)
    editor.set_input(graph.node("z"), 0, graph.value("x"))
    editor.commit()
    assert list(graph_def.node[1].input) == ["x:0"]


def test_edits_are_filed_under_their_items() -> None:
    graph = Graph(parse(CHAIN))
    editor = Editor(graph)
    editor.begin("one")
    editor.add(_template("t = Relu"), "a")
    with editor.shared():
        editor.add(_template("t = NoOp"), "constant")
    editor.set_input(graph.node("z"), 1, graph.value("a"))
    editor.begin("two")
    editor.become(graph.node("y"), _template("t = Identity"), [graph.value("x")])
    log = editor.log
    assert list(log.items) == [SHARED, "one", "two"]
    assert (log.items["one"].inserted, log.items["one"].rewired) == (["a"], ["z:in1"])
    assert log.items[SHARED].inserted == ["constant"]
    assert log.items["two"].replaced == ["y"]
    assert log.inserted == 2


def test_shared_ends_with_an_exception() -> None:
    editor = Editor(Graph(parse(CHAIN)))
    editor.begin("one")
    with pytest.raises(GraphError), editor.shared():
        editor.add(_template("t = Relu"), "y")
    editor.add(_template("t = Relu"), "a")
    assert editor.log.items["one"].inserted == ["a"]


@pytest.mark.parametrize("item", ["one", SHARED])
def test_an_item_is_realised_once(item: str) -> None:
    editor = Editor(Graph(parse(CHAIN)))
    editor.begin("one")
    with pytest.raises(GraphError) as caught:
        editor.begin(item)
    assert caught.value.code == "item-realised-twice"


def test_drop_control() -> None:
    graph = Graph(parse("x = Placeholder\ny = Neg(x, ^x, ^w)\nw = NoOp\n"))
    editor = Editor(graph)
    x, y = graph.node("x"), graph.node("y")
    editor.drop_control(y, x)
    editor.drop_control(y, x)
    assert list(y.proto.input) == ["x", "^w"]
    assert y.controls == [graph.node("w")]
    assert x.uses == [(y, 0)]
    assert editor.log.items[SHARED].rewired == ["y:^x"]
    editor.drop_control(graph.node("w"), x)
    assert len(editor.log.items[SHARED].rewired) == 1


def test_remove() -> None:
    graph = Graph(parse("a = Placeholder\nb = Neg(a)\nc = Exp(a)\nd = Sin(c)\ne = Neg(a, ^b)\n"))
    editor = Editor(graph)
    editor.remove([graph.node("d"), graph.node("c")])
    assert format_graph(graph.graph_def) == "a = Placeholder\nb = Neg(a)\ne = Neg(a, ^b)\n"
    assert [node.index for node in graph] == [0, 1, 2]
    assert graph.node("a").uses == [(graph.node("b"), 0), (graph.node("e"), 0)]
    assert graph.by_op("Exp", "Sin") == []
    assert "Exp" not in graph.op_types()
    assert set(editor.originals) == {"c", "d"}
    new = editor.add(_template("t = Relu"), "d", [graph.value("b")])
    editor.commit()
    assert (new.index, list(graph.by_op("Relu"))) == (3, [new])


@pytest.mark.parametrize("gone", [["a"], ["b"], ["a", "b"]])
def test_what_is_needed_is_not_removed(gone: list[str]) -> None:
    graph = Graph(parse("a = Placeholder\nb = Neg(a)\nc = Neg(a, ^b)\n"))
    with pytest.raises(GraphError) as caught:
        Editor(graph).remove([graph.node(name) for name in gone])
    assert caught.value.code == "broken-invariant"
    assert len(graph) == len(graph.graph_def.node) == 3


def test_originals_are_what_was_there_first() -> None:
    graph = Graph(parse(CHAIN))
    before = {node.name: NodeDef.FromString(node.proto.SerializeToString()) for node in graph}
    editor = Editor(graph)
    x, y, z = (graph.node(name) for name in "xyz")
    new = editor.add(_template("t = Relu"), "new", [x.value()])
    editor.set_input(z, 1, new.value())
    editor.become(z, _template("t = Identity"), [y.value()])
    editor.drop_control(z, x)
    editor.become(new, _template("t = Exp"), [y.value()])
    editor.add_control(y, x)
    editor.add_control(y, x)
    assert {name: NodeDef.FromString(content) for name, content in editor.originals.items()} == {
        "y": before["y"],
        "z": before["z"],
    }


def test_a_new_node_under_an_old_name_is_no_original() -> None:
    graph = Graph(parse("x = Placeholder\ny = Neg(x)\nz = Exp(x)\n"))
    editor = Editor(graph)
    editor.remove([graph.node("z")])
    new = editor.add(_template("t = Relu"), "z", [graph.value("x")])
    editor.set_input(new, 0, graph.value("y"))
    editor.remove([new])
    assert [NodeDef.FromString(content).op for content in editor.originals.values()] == ["Exp"]
    editor.set_input(graph.node("y"), 0, graph.value("y:1"))  # still counts as a node of the source
    assert set(editor.originals) == {"y", "z"}


def test_the_log_forgets_nodes_that_were_removed_again() -> None:
    graph = Graph(parse(CHAIN))
    editor = Editor(graph)
    editor.begin("one")
    a = editor.add(_template("t = Relu"), "a/x", [graph.value("x")])
    editor.add(_template("t = Relu"), "b", [graph.value("x")])
    editor.become(a, _template("t = Exp"), [graph.value("x")])
    editor.set_input(a, 0, graph.value("y"))
    editor.add_control(a, graph.node("x"))
    editor.set_input(graph.node("z"), 0, graph.value("x"))
    editor.remove([a])
    editor.log.forget(lambda name: name not in graph)
    edits = editor.log.items["one"]
    assert (edits.inserted, edits.replaced, edits.rewired) == (["b"], [], ["z:in0"])


# Random graphs under random edits. Edges only ever point from a later node to an earlier one, so nothing but
# the editor can break a graph.


_EDITS = ("add", "clone", "redirect", "set_input", "become", "add_control", "drop_control", "remove", "commit")


@dataclass
class _Edited:
    graph: Graph
    editor: Editor
    nodes: list[Node]
    removed: set[str] = field(default_factory=set)
    made: int = 0

    def fresh(self) -> str:
        """A name that was never taken."""
        self.made += 1
        return f"new{self.made}"


@st.composite
def _graphs(draw: st.DrawFn) -> GraphDef:
    graph_def = GraphDef()
    size = draw(st.integers(1, 12))
    for index in range(size):
        op = draw(st.sampled_from(["Add", "Split", "Neg"]))
        node = graph_def.node.add(name=f"s{index % 3}/n{index}", op=op)
        if index:
            earlier = st.integers(0, index - 1)
            for source in draw(st.lists(earlier, max_size=3)):
                port = draw(st.integers(0, 2))
                name = graph_def.node[source].name
                node.input.append(name if port == 0 and draw(st.booleans()) else f"{name}:{port}")
            controls = draw(st.lists(earlier, max_size=2, unique=True))
            node.input.extend(f"^{graph_def.node[source].name}" for source in controls)
    return graph_def


def _earlier_value(draw: st.DrawFn, edited: _Edited, before: int) -> Value:
    return edited.nodes[draw(st.integers(0, before - 1))].value(draw(st.integers(0, 2)))


def _edit(draw: st.DrawFn, edited: _Edited) -> None:
    nodes, editor = edited.nodes, edited.editor
    position = draw(st.integers(0, len(nodes) - 1))
    node, size = nodes[position], len(nodes)
    kind = draw(st.sampled_from(_EDITS))
    if kind == "add":
        inputs = [_earlier_value(draw, edited, size) for _ in range(draw(st.integers(0, 3)))]
        device = draw(st.sampled_from(["", "/cpu:0"]))
        template = NodeDef(op=draw(st.sampled_from(["Relu", "Add"])))
        nodes.append(editor.add(template, edited.fresh(), inputs, controls=[node], device=device))
    elif kind == "clone":
        inputs = [_earlier_value(draw, edited, size) for _ in range(draw(st.integers(0, 2)))]
        nodes.append(editor.clone(node, edited.fresh(), inputs))
    elif kind == "redirect" and position:
        # Consumers of a value all come later than its producer; what they read now comes earlier still.
        port = draw(st.integers(0, 2))
        editor.redirect(node.value(port).uses(), _earlier_value(draw, edited, position))
    elif kind == "set_input" and position and node.inputs:
        slot = draw(st.integers(0, len(node.inputs) - 1))
        editor.set_input(node, slot, _earlier_value(draw, edited, position))
    elif kind == "become" and position:
        inputs = [_earlier_value(draw, edited, position) for _ in range(draw(st.integers(0, 3)))]
        editor.become(node, NodeDef(op="Identity"), inputs)
    elif kind == "add_control" and position:
        editor.add_control(node, nodes[draw(st.integers(0, position - 1))])
    elif kind == "drop_control" and node.controls:
        editor.drop_control(node, draw(st.sampled_from(node.controls)))
    elif kind == "remove" and size > 1:
        # What goes takes along all that needs it; something must stay to edit.
        gone = {node}
        for later in nodes:
            if not gone.isdisjoint([*(value.node for value in later.inputs), *later.controls]):
                gone.add(later)
        if len(gone) < size:
            editor.remove(gone)
            edited.nodes[:] = [kept for kept in nodes if kept not in gone]
            edited.removed |= {lost.name for lost in gone}
    elif kind == "commit":
        editor.commit()


def _check_edges(graph: Graph) -> None:
    """Uses and inputs tell the same, both ways, each edge once; and nodes are those of the GraphDef."""
    verify_links(graph)
    edges = sorted((value.node.name, node.name, slot) for node in graph for slot, value in enumerate(node.inputs))
    assert edges == sorted((node.name, consumer.name, slot) for node in graph for consumer, slot in node.uses)
    assert [node.name for node in graph] == [proto.name for proto in graph.graph_def.node]


def _described(graph: Graph) -> dict[str, object]:
    return {
        node.name: (
            node.op,
            node.index,
            [str(value) for value in node.inputs],
            [control.name for control in node.controls],
            sorted((consumer.name, slot) for consumer, slot in node.uses),
            node.proto.device,
        )
        for node in graph
    }


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_invariants_hold_under_any_edits(data: st.DataObject) -> None:
    graph = Graph(data.draw(_graphs()))
    edited, names = _Edited(graph, Editor(graph), list(graph)), set(graph.nodes)

    @st.composite
    def edit(draw: st.DrawFn) -> None:
        _edit(draw, edited)

    for _ in range(data.draw(st.integers(1, 12))):
        data.draw(edit())
        _check_edges(graph)
    edited.editor.commit()
    for op in ("Add", "Split", "Neg", "Relu", "Identity"):
        assert set(graph.by_op(op)) == {node for node in graph if node.op == op}
    topological_order(graph)
    assert names - edited.removed <= graph.nodes.keys()  # who names a node from outside still finds it
    read_again = Graph(GraphDef.FromString(graph.graph_def.SerializeToString()))
    assert _described(read_again) == _described(graph)
    edited.editor.log.forget(lambda name: name not in graph)
    assert edited.editor.log.inserted == sum(node.name.startswith("new") for node in graph)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_originals_lead_back_to_the_source(data: st.DataObject) -> None:
    source = data.draw(_graphs())
    graph_def = GraphDef.FromString(source.SerializeToString())
    graph = Graph(graph_def)
    edited = _Edited(graph, Editor(graph), list(graph))

    @st.composite
    def edit(draw: st.DrawFn) -> None:
        _edit(draw, edited)

    for _ in range(data.draw(st.integers(0, 12))):
        data.draw(edit())
    edited.editor.commit()
    after = {node.name: NodeDef.FromString(node.SerializeToString()) for node in graph_def.node}
    originals = {name: NodeDef.FromString(content) for name, content in edited.editor.originals.items()}
    names = {node.name for node in source.node}
    assert originals.keys() <= names
    # Nothing that the edits inserted is among the source's nodes, and nothing of the source reads it.
    assert {name: originals.get(name, after.get(name)) for name in names} == {node.name: node for node in source.node}


@settings(max_examples=60, deadline=None)
@given(_graphs())
def test_a_graph_that_is_only_read_stays_as_it_is(graph_def: GraphDef) -> None:
    before = graph_def.SerializeToString(deterministic=True)
    graph = Graph(graph_def)
    Editor(graph).commit()
    position = {node: index for index, node in enumerate(topological_order(graph))}
    for node in graph:
        assert all(position[value.node] < position[node] for value in node.inputs)
        assert all(position[control] < position[node] for control in node.controls)
    assert graph_def.SerializeToString(deterministic=True) == before
