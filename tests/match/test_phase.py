from __future__ import annotations

import pytest

from fqrewrite.ir.graph import Graph
from fqrewrite.ir.text import parse
from fqrewrite.ir.topology import topological_order
from fqrewrite.match.phase import find_phases, open_predicates, random_operations, takes_batch_statistics

PARAMETERS = """
x = Placeholder {shape: [?, 4, 4, 2]}
gamma = VariableV2 {shape: [2]}
mean = VariableV2 {shape: [2]}
mean/read = Identity(mean)
size = Const {value: [4, 4]}
"""


def placeholder(name: str, dtype: str = "bool", shape: str = "[]") -> str:
    return f"{name} = Placeholder {{dtype: {dtype}, shape: {shape}}}\n"


def bare_cond(predicate: str) -> str:
    """A conditional that says nothing of the phase."""
    return f"s = Switch(x, {predicate})\na = Neg(s)\nb = Exp(s:1)\nm = Merge(a, b)\n"


def dropout(predicate: str, name: str = "drop", training: int = 1) -> str:
    """A dropout on one side of a conditional."""
    on, off = (":1", "") if training else ("", ":1")
    return (
        f"{name}/s = Switch(x, {predicate})\n{name}/pivot = Identity({name}/s{on})\n"
        f"{name}/size = Const(^{name}/pivot) {{value: [4, 4]}}\n"
        f"{name}/u = RandomUniform({name}/size)\n{name}/mask = Floor({name}/u)\n"
        f"{name}/on = Mul({name}/s{on}, {name}/mask)\n{name}/off = Identity({name}/s{off})\n"
        f"{name}/m = Merge({name}/off, {name}/on)\n"
    )


def batch_norm(predicate: str) -> str:
    """Two fused batch norms, one on either side."""
    sides = "".join(
        f"bn{side} = FusedBatchNormV3(in{port}, g{port}, g{port}, g{port}, g{port}) {{is_training: {training}}}\n"
        for side, port, training in (("_on", ":1", "true"), ("_off", "", "false"))
    )
    return f"in = Switch(x, {predicate})\ng = Switch(mean/read, {predicate})\n{sides}y = Merge(bn_off, bn_on)\n"


def statistics(predicate: str) -> str:
    """The mean of the batch or its moving average."""
    return (
        "axes = Const {value: [0, 1, 2]}\nbatch = Mean(x, axes)\nflat = Squeeze(batch)\n"
        f"used = Select({predicate}, flat, mean/read)\n"
    )


def phases(text: str) -> dict[str, bool]:
    graph = Graph(parse(PARAMETERS + text))
    return find_phases(graph, topological_order(graph))


@pytest.mark.parametrize("body", [dropout, batch_norm, statistics])
@pytest.mark.parametrize("name", ["p", "some/where", "is_training", "is_inference"])
def test_what_is_on_the_sides_counts_more_than_the_name(name: str, body: object) -> None:
    assert callable(body)
    assert phases(placeholder(name) + body(name)) == {name: True}


def test_inverted() -> None:
    text = placeholder("p") + "not = LogicalNot(p)\n"
    assert phases(text + batch_norm("not")) == {"p": False}
    assert phases(text + statistics("not")) == {"p": False}
    assert phases(placeholder("p") + dropout("p", training=0)) == {"p": False}


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("is_training", True),
        ("tower_0/isTraining", True),
        ("train_phase", True),
        ("keras_learning_phase", True),
        ("phase_train", True),
        ("phase", True),
        ("training_1", True),
        ("do_train", True),
        ("is_test", False),
        ("isInference", False),
        ("eval_mode", False),
        ("is_not_training", False),
        ("not_train", False),
        ("no_training", False),
        ("use_pretraining", None),
        ("train_data", None),
        ("use_aux", None),
        ("is_training/flag", None),
        ("constraint", None),
    ],
)
def test_names(name: str, meaning: bool | None) -> None:
    expected = {} if meaning is None else {name: meaning}
    assert phases(placeholder(name) + bare_cond(name)) == expected


def test_integers() -> None:
    one = "one = Const {value: 1}\nzero = Const {value: 0}\n"
    text = placeholder("p", "int32") + one
    assert phases(text + "q = Equal(p, one) {T: int32}\n" + batch_norm("q")) == {"p": True}
    assert phases(text + "q = Equal(p, zero) {T: int32}\n" + batch_norm("q")) == {"p": False}
    assert phases(text + "q = Cast(p) {SrcT: int32, DstT: bool}\n" + batch_norm("q")) == {"p": True}


def test_several_phases() -> None:
    text = placeholder("p") + placeholder("q") + batch_norm("p") + dropout("q")
    assert phases(text) == {"p": True, "q": True}


def test_what_is_inside_the_training_side_of_a_phase_is_no_phase() -> None:
    inner = dropout("both").replace("x, both", "x, q")
    text = placeholder("use_aux") + placeholder("is_training") + "both = LogicalAnd(use_aux, is_training)\n"
    assert phases(text + dropout("both")) == {"is_training": True}
    assert phases(placeholder("q") + inner) == {"q": True}


def test_a_switch_that_hands_on_data_or_nothing_is_no_phase() -> None:
    text = placeholder("p") + "zeros = Const {value: 0.0}\ny = Select(p, x, zeros)\n"
    assert phases(text) == {}
    text = placeholder("p") + "w = VariableV2 {shape: [2]}\nr = Identity(w)\ny = Select(p, x, r)\n"
    assert phases(text) == {}


def test_initial_values_are_not_random_data() -> None:
    text = placeholder("p") + "s = Switch(size, p) {T: int32}\nu = RandomUniform(s:1)\nset = Assign(gamma, u)\n"
    assert phases(text) == {}
    graph = Graph(parse(PARAMETERS + text))
    assert random_operations(graph) == []
    graph = Graph(parse(PARAMETERS + placeholder("p") + dropout("p")))
    assert [node.name for node in random_operations(graph)] == ["drop/u"]


@pytest.mark.parametrize(
    ("declaration", "use", "expected"),
    [
        (placeholder("p"), "y = Switch(x, p)", True),
        (placeholder("p"), "e = Enter(p) {T: bool, frame_name: f}\ny = Switch(x, e)", True),
        ("one = Const {value: true}\np = PlaceholderWithDefault(one) {dtype: bool, shape: []}\n", "y = If(p, x)", True),
        (placeholder("p"), "y = While(x, p)", True),
        (placeholder("p"), "y = Switch(p, p) {T: bool}", True),
        (placeholder("p"), "y = LogicalNot(p)", False),
        (placeholder("p"), "c = Switch(p, q)\nq = Placeholder {dtype: bool, shape: []}", False),
        (placeholder("p", shape="[?]"), "y = Select(p, x, x)", False),
        (placeholder("p", shape="[4, 4]"), "y = SelectV2(p, x, x)", False),
        ("p = Placeholder {dtype: bool}\n", "y = Select(p, x, x)", False),
        ("is_training = Placeholder {dtype: bool}\n", "y = Select(is_training, x, x)", True),
        ("p = Placeholder {dtype: bool}\n", "y = Switch(x, p)", True),
        (placeholder("p", "int32"), "c = Const {value: 1}\nq = Equal(p, c)\ny = Switch(x, q)", True),
        (placeholder("p", "int32", "[4]"), "c = Const {value: 1}\nq = Equal(p, c)\ny = Select(q, x, x)", False),
        ("p = Placeholder {dtype: int32}\n", "c = Const {value: 1}\nq = Equal(p, c)\ny = Select(q, x, x)", False),
        (placeholder("p", "int32"), "y = While(x, p)", False),  # a number of steps
        (placeholder("p", "float"), "c = Const {value: 1.0}\nq = Less(p, c)\ny = Switch(x, q)", False),
    ],
)
def test_open_predicates(declaration: str, use: str, expected: bool) -> None:
    graph = Graph(parse(f"x = Placeholder\n{declaration}{use}\n"))
    found = [node.name for node in open_predicates(graph) if node.name != "q"]
    assert bool(found) is expected


def test_batch_statistics() -> None:
    for body, expected in ((batch_norm, True), (statistics, True), (dropout, False)):
        graph = Graph(parse(PARAMETERS + placeholder("p") + body("p")))
        assert takes_batch_statistics(graph, topological_order(graph), {"p": True}) is expected
        assert not takes_batch_statistics(graph, topological_order(graph), {"p": False})


def test_the_branches_of_an_if() -> None:
    graph_def = parse(placeholder("p") + "x = Placeholder\ny = If(p, x)\n")
    node = graph_def.node[2]
    node.attr["then_branch"].func.name, node.attr["else_branch"].func.name = "plain", "outer"
    bodies = {"plain": "Identity", "outer": "PartitionedCall", "inner": "FusedBatchNormV3"}
    for name, op in bodies.items():
        function = graph_def.library.function.add()
        function.signature.name = name
        body = function.node_def.add(name="n", op=op)
        if name == "outer":
            body.attr["f"].func.name = "inner"
    graph = Graph(graph_def)
    assert find_phases(graph, topological_order(graph)) == {"p": False}
    assert takes_batch_statistics(graph, topological_order(graph), {"p": False})
