"""The form of a graph that is planned on, and the form of its eval graph, on models with a switch for the phase."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numeric import RTOL_EVAL, RTOL_TRAIN, deviation, parse, quantizers_out, run, session_config, tf1
from phases import BODIES, PHASE, Switched, switched
from rewriting import rewrite

from fqrewrite.config.records import Config
from fqrewrite.errors import ConfigError
from fqrewrite.ir.editor import Editor
from fqrewrite.ir.graph import Graph
from fqrewrite.ir.text import parse as parse_text
from fqrewrite.match.phase import random_operations
from fqrewrite.plans.items import Preparation
from fqrewrite.proto import MetaGraphDef
from fqrewrite.proto.messages import GraphDef
from fqrewrite.source.bindings import rebind
from fqrewrite.source.prepare import decide_preparation, resolve_for_planning, strip

CASES: dict[str, Switched] = {
    **{name: switched(body) for name, body in BODIES.items()},
    **{f"{name}, v2": switched(BODIES[name], v2=True) for name in ("fused", "dropout", "nested", "looped", "whole")},
    **{f"fused, {form}": switched(BODIES["fused"], form=form) for form in ("default", "inverted", "int")},
    "dropout, inverted": switched(BODIES["dropout"], form="inverted"),
}
WITH_BATCH_NORM = [name for name in CASES if name.startswith(("fused", "unfused", "selected", "whole"))]


def ops(meta: Any) -> set[str]:
    return {node.op for node in meta.graph_def.node}


def left(feed: dict[str, Any], meta: Any) -> dict[str, Any]:
    """What is fed to placeholders that are still there."""
    names = {node.name for node in meta.graph_def.node if node.op.startswith("Placeholder")}
    return {key: value for key, value in feed.items() if key.partition(":")[0] in names}


@pytest.mark.parametrize("name", CASES)
def test_the_phase_is_found(name: str) -> None:
    graph = Graph(MetaGraphDef.FromString(CASES[name].meta).graph_def)
    found = decide_preparation(graph, Config(), strip_training=False, thaw=False)
    assert found == Preparation(phases={PHASE: "inverted" not in name}, training=True)


@pytest.mark.parametrize("name", CASES)
def test_the_eval_graph_computes_the_inference(name: str) -> None:
    case = CASES[name]
    meta = parse(rewrite(case.meta, "eval").meta)
    feed = case.feed(training=False)
    got = run(quantizers_out(meta), [left(feed, meta)], ["output:0"])[0].values["output:0"]
    want = run(parse(case.meta), [feed], ["output:0"])[0].values["output:0"]
    assert deviation(got, want) <= RTOL_EVAL
    assert f"{PHASE}:0" not in left(feed, meta)
    if "nested" not in name:
        assert ops(meta).isdisjoint(
            {"Switch", "Merge", "If", "StatelessIf"} - ({"Switch", "Merge"} if "loop" in name else set())
        )
    assert "AssignSub" not in ops(meta)
    assert "SparseSoftmaxCrossEntropyWithLogits" not in ops(meta)


@pytest.mark.parametrize("name", CASES)
def test_the_training_graph_computes_the_training(name: str) -> None:
    case = CASES[name]
    meta = parse(rewrite(case.meta, "train").meta)
    feed = case.feed(training=True)
    if "looped" in name:  # random numbers of several steps come in another order
        graph = Graph(GraphDef.FromString(meta.graph_def.SerializeToString()))
        assert name.endswith("v2") or len(random_operations(graph)) == 1
        return
    before = run(parse(case.meta), [feed], ["output:0"], loss="loss:0")[0]
    after = run(quantizers_out(meta), [left(feed, meta)], ["output:0"], loss="loss:0")[0]
    assert deviation(after.values["output:0"], before.values["output:0"]) <= RTOL_TRAIN
    assert f"{PHASE}:0" not in left(feed, meta)
    assert set(after.gradients) == set(before.gradients)


@pytest.mark.parametrize("name", CASES)
def test_the_training_graph_trains(name: str) -> None:
    case = CASES[name]
    meta = parse(rewrite(case.meta, "train").meta)
    graph = tf1.Graph()
    with graph.as_default():
        tf1.train.import_meta_graph(meta)
        loss = graph.get_tensor_by_name("loss:0")
        with tf1.control_dependencies(tf1.get_collection(tf1.GraphKeys.UPDATE_OPS)):
            train = tf1.train.AdamOptimizer(0.02).minimize(loss)
        moving = [variable for variable in tf1.global_variables() if "moving_mean" in variable.name]
        with tf1.Session(graph=graph, config=session_config()) as session:
            session.run(tf1.global_variables_initializer())
            before = session.run(moving)
            feed = left(case.feed(training=True), meta)
            losses = [session.run([loss, train], feed)[0] for _ in range(12)]
            after = session.run(moving)
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]
    assert len(moving) == (1 if name in WITH_BATCH_NORM else 0)
    assert all((new != old).any() for new, old in zip(after, before, strict=True))


def test_a_phase_can_be_set_to_inference_in_both() -> None:
    case = CASES["fused"]
    feed = case.feed(training=False)
    want = run(parse(case.meta), [feed], ["output:0"])[0].values["output:0"]
    for mode in ("train", "eval"):
        meta = parse(rewrite(case.meta, mode, {"set": {PHASE: False}}).meta)
        got = run(quantizers_out(meta), [left(feed, meta)], ["output:0"])[0].values["output:0"]
        assert deviation(got, want) <= RTOL_EVAL


def test_a_phase_that_is_set_to_training_is_one_still() -> None:
    case = CASES["fused"]
    bound = rewrite(case.meta, "eval", {"set": {PHASE: True}})
    assert bound.plan.preparation == rewrite(case.meta, "eval").plan.preparation


def test_without_updates_of_moving_averages_it_is_an_inference_graph() -> None:
    source = MetaGraphDef.FromString(CASES["fused"].meta)
    kept = [node for node in source.graph_def.node if not node.op.startswith("AssignSub")]
    del source.graph_def.node[:]
    source.graph_def.node.extend(kept)
    graph = Graph(source.graph_def)
    assert not decide_preparation(graph, Config(), strip_training=False, thaw=False).training


# ---- bindings

PLACEHOLDERS = """
flag = Placeholder {dtype: bool, shape: []}
rate = Placeholder {shape: []}
size = Placeholder {dtype: int32, shape: [2]}
name = Placeholder {dtype: string, shape: []}
batch = Placeholder {shape: [?]}
other = Const {value: 1.0}
y = Neg(rate)
"""


@pytest.mark.parametrize(
    ("name", "value", "bound"),
    [
        ("flag", True, True),
        ("flag", 0, False),
        ("rate", 1, 1.0),
        ("rate", True, 1.0),
        ("size", 3.0, 3),
        ("size", (3, 4), (3, 4)),
        ("name", "text", "text"),
        ("batch", (1, 2, 3), (1.0, 2.0, 3.0)),
    ],
)
def test_bindings(name: str, value: Any, bound: Any) -> None:
    graph = Graph(parse_text(PLACEHOLDERS))
    found = decide_preparation(graph, Config(bindings={name: value}), strip_training=False, thaw=False)
    assert found.bound == {name: bound}
    assert type(found.bound[name]) is type(bound)
    assert resolve_for_planning(Editor(graph), found, []) == 0
    assert graph.node(name).op == "Const"


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("flag", 2, "binding-value"),
        ("flag", "true", "binding-value"),
        ("rate", "fast", "binding-value"),
        ("size", 1.5, "binding-value"),
        ("size", (1, 2, 3), "binding-value"),
        ("name", 1, "binding-value"),
        ("other", 1.0, "binding-not-found"),
        ("nothing", 1.0, "binding-not-found"),
    ],
)
def test_bindings_that_do_not_fit(name: str, value: Any, code: str) -> None:
    graph = Graph(parse_text(PLACEHOLDERS))
    with pytest.raises(ConfigError) as caught:
        decide_preparation(graph, Config(bindings={name: value}), strip_training=False, thaw=False)
    assert (caught.value.code, caught.value.where) == (code, f"set.{name}")


def test_rebind() -> None:
    plan = rewrite(CASES["fused"].meta, "train").plan
    graph = Graph(MetaGraphDef.FromString(CASES["fused"].meta).graph_def)
    assert rebind(plan, graph, Config()) == plan
    again = rebind(plan, graph, Config(bindings={PHASE: False}))
    assert (again.preparation.bound, again.preparation.phases) == ({PHASE: False}, {})


# ---- what is left of a conditional


def test_outputs_and_what_is_waited_for_stay() -> None:
    text = """
    is_training = Placeholder {dtype: bool, shape: []}
    x = Placeholder
    s = Switch(x, is_training)
    named = Switch(x, is_training)
    waited = Switch(x, is_training)
    n = Neg(named)
    w = Neg(waited)
    a = Neg(s)
    b = Exp(s:1)
    m = Merge(a, b)
    out = Relu(m, ^waited)
    """
    graph = Graph(parse_text(text))
    preparation = decide_preparation(graph, Config(), strip_training=False, thaw=False)
    assert resolve_for_planning(Editor(graph), preparation, ["out", "named"]) == 1
    assert set(graph.nodes) == {"is_training", "x", "named", "waited", "b", "out"}
    assert str(graph.node("out").inputs[0]) == "b:0"


def test_strip() -> None:
    text = """
    x = Placeholder {shape: [?, 3]}
    labels = Placeholder {dtype: int32, shape: [?]}
    w = VariableV2 {shape: [3, 3]}
    w/read = Identity(w)
    start = Const {value: 0.5}
    w/Assign = Assign(w, start)
    fc = MatMul(x, w/read)
    average = VariableV2 {shape: [3]}
    axes = Const {value: [0]}
    mean = Mean(fc, axes)
    update = AssignSub(average, mean)
    out = Relu(fc)
    ce = SparseSoftmaxCrossEntropyWithLogits(out, labels)
    loss = Mean(ce, axes)
    total = VariableV2 {shape: []}
    count = AssignAdd(total, loss)
    back = ReluGrad(ce:1, out)
    dw = MatMul(x, back) {transpose_a: true}
    apply = ApplyGradientDescent(w, start, dw)
    done = NoOp(^apply)
    after = Identity(loss, ^done)
    """
    graph = Graph(parse_text(text))
    removed = strip(Editor(graph), [graph.value("out")], [graph.node(name) for name in ("after", "apply", "done")])
    gone = {"total", "count", "back", "dw", "apply", "done"}
    assert set(graph.nodes) == set(Graph(parse_text(text)).nodes) - gone
    assert graph.node("after").controls == []
    assert sum(removed.values()) == len(gone)
