"""A small real graph, planned and rewritten: the report agrees with the graph that came out."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
from google.protobuf import text_format

from configs import contrib
from fqrewrite.config.records import Rule, WeightOverrides
from fqrewrite.config.selectors import Selector
from fqrewrite.model.container import Model, load
from fqrewrite.plans.ranges import RangeSources
from fqrewrite.plans.serialise import plan_from_json, plan_to_json
from fqrewrite.proto import GraphDef
from fqrewrite.report.build import build_report
from fqrewrite.report.records import Report
from fqrewrite.report.render import render, to_json
from fqrewrite.verbs.evaluate import evaluate_model
from fqrewrite.verbs.recovery import Recovered
from fqrewrite.verbs.rewrite import plan_model, prepare_model, train_model

FLOAT = 'attr { key: "T" value { type: DT_FLOAT } }'
DTYPE = 'attr { key: "dtype" value { type: DT_FLOAT } }'


def parameter(name: str, *dims: int) -> str:
    shape = " ".join(f"dim {{ size: {dim} }}" for dim in dims)
    return f"""
    node {{ name: "{name}" op: "VariableV2" {DTYPE} attr {{ key: "shape" value {{ shape {{ {shape} }} }} }} }}
    node {{ name: "{name}/read" op: "Identity" input: "{name}" {FLOAT} }}"""


def operation(name: str, op: str, *inputs: str, attributes: str = "") -> str:
    edges = " ".join(f'input: "{edge}"' for edge in inputs)
    return f'node {{ name: "{name}" op: "{op}" {edges} {FLOAT} {attributes} }}\n'


STRIDES = """
  attr { key: "strides" value { list { i: 1 i: 1 i: 1 i: 1 } } }
  attr { key: "padding" value { s: "SAME" } }
  attr { key: "data_format" value { s: "NHWC" } }"""
INFERENCE = 'attr { key: "is_training" value { b: false } } attr { key: "epsilon" value { f: 0.001 } }'
SIZES = """
  node { name: "sizes" op: "Const" attr { key: "dtype" value { type: DT_INT32 } } attr { key: "value" value {
    tensor { dtype: DT_INT32 tensor_shape { dim { size: 4 } } int_val: [1, 8, 8, 4] } } } }"""
GRAPH = "".join(
    [
        f'node {{ name: "x" op: "Placeholder" {DTYPE} }}',
        parameter("a/w", 3, 3, 3, 8),
        parameter("a/b", 8),
        operation("a/Conv2D", "Conv2D", "x", "a/w/read", attributes=STRIDES),
        operation("a/BiasAdd", "BiasAdd", "a/Conv2D", "a/b/read"),
        operation("a/Relu6", "Relu6", "a/BiasAdd"),
        parameter("b/w", 1, 1, 8, 4),
        *(parameter(f"b/{name}", 4) for name in ("gamma", "beta", "mean", "variance")),
        operation("b/Conv2D", "Conv2D", "a/Relu6", "b/w/read", attributes=STRIDES),
        operation(
            "b/bn",
            "FusedBatchNorm",
            "b/Conv2D",
            *(f"b/{name}/read" for name in ("gamma", "beta", "mean", "variance")),
            attributes=INFERENCE,
        ),
        operation("b/Relu6", "Relu6", "b/bn"),
        parameter("c/w", 2, 2, 4, 4),
        operation("c/deconv", "Conv2DBackpropInput", "sizes", "c/w/read", "b/Relu6", attributes=STRIDES),
        SIZES,
        operation("out", "Identity", "c/deconv"),
    ]
)
CONFIG = contrib(
    quant_delay=2,
    rules=(Rule(selector=Selector(name="a/**"), weights=WeightOverrides(bits=4), origin="c.yaml:3"),),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "model.pb"
    path.write_bytes(text_format.Parse(GRAPH, GraphDef()).SerializeToString(deterministic=True))
    return path


def run(path: Path, mode: Literal["train", "eval"] | None) -> tuple[Report, Model]:
    model = load(path)
    prepared = prepare_model(model, CONFIG)
    plan = plan_model(model, CONFIG, prepared)
    rewritten = None
    if mode == "train":
        rewritten = train_model(model, plan, prepared, "graph_def")
    elif mode == "eval":
        sources = RangeSources(config=CONFIG)
        rewritten = evaluate_model(model, Recovered(plan, "", False), CONFIG, sources, None, freezes=True).rewritten
    output = None if mode is None else "out.pb"
    report = build_report(
        model_path="model.pb", model_kind=model.kind, plan=plan, mode=mode, rewritten=rewritten, output=output
    )
    return report, model


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_the_report_agrees_with_the_graph(path: Path, mode: Literal["train", "eval"]) -> None:
    before = {node.name for node in load(path).graph_def.node}
    report, model = run(path, mode)
    nodes: dict[str, Any] = {node.name: node for node in model.graph_def.node}

    quantizers = {node.name for node in nodes.values() if node.op.startswith("FakeQuant")}
    assert {item.node for item in report.inserted} == quantizers
    variables = {name for name in nodes.keys() - before if nodes[name].op == "VariableV2"}
    told = [name for item in report.inserted for name in (*item.variables, *item.averages)]
    assert set(told) | ({"fake_quantization_step"} if mode == "train" else set()) == variables
    assert len(told) == len(set(told))
    for item in report.inserted:
        node = nodes[item.node]
        assert node.op == item.op
        assert node.input[0] == item.quantized.removesuffix(":0")
        assert node.attr["num_bits"].i == item.bits
        assert node.attr["narrow_range"].b == item.narrow_range
        assert item.rewired
        for edge in item.rewired:
            consumer, _, slot = edge.rpartition(":in")
            assert nodes[consumer].input[int(slot)].startswith(item.node.rpartition("/")[0])
    assert report.summary.nodes_inserted == len(nodes.keys() - before)
    assert report.summary.variables_created == len(variables)


def test_what_is_said_about_each_layer(path: Path) -> None:
    report, _ = run(path, "train")
    first, last = report.inserted[0], report.inserted[2]
    assert (first.layer, first.bits, first.because, first.delay) == ("a/Conv2D", 4, "c.yaml:3", 2)
    assert (first.tensor, first.quantized) == ("a/w/read:0", "a/w/read:0")
    assert (last.layer, last.bits, last.because) == ("b/Conv2D", 8, None)
    assert (last.tensor, last.quantized) == ("b/w/read:0", "b/mul_fold:0")
    (fold,) = report.folds
    assert (fold.layer, fold.batch_norm, fold.statistics) == ("b/Conv2D", "b/bn", "moving")
    assert fold.inserted is not None and "b/Conv2D_Fold" in fold.inserted
    deconv, image = report.left_out
    assert image.code == "input-not-quantized"
    assert (deconv.name, deconv.code) == ("c/deconv", "layer-not-quantizable")
    assert (report.summary.layers, report.summary.layers_quantized) == (3, 2)


def test_the_dry_run_announces_the_same_quantizers(path: Path) -> None:
    dry, model = run(path, None)
    done, _ = run(path, "train")
    assert [item.node for item in dry.inserted] == [item.node for item in done.inserted]
    assert [item.quantized for item in dry.inserted] == [item.quantized for item in done.inserted]
    assert model.graph_def.SerializeToString(deterministic=True) == path.read_bytes()


def test_the_same_run_gives_the_same_bytes(path: Path) -> None:
    one, other = run(path, "train")[0], run(path, "train")[0]
    assert to_json(one) == to_json(other)
    assert render(one, "md") == render(other, "md")
    assert str(path) not in render(one, "json")


def test_a_plan_that_was_kept_gives_the_same_report(path: Path) -> None:
    model = load(path)
    prepared = prepare_model(model, CONFIG)
    kept = plan_from_json(plan_to_json(plan_model(model, CONFIG, prepared)), "plan.json")
    rewritten = train_model(model, kept, prepared, "graph_def")
    report = build_report(
        model_path="model.pb",
        model_kind="graph_def",
        plan=kept,
        mode="train",
        rewritten=rewritten,
        output="out.pb",
    )
    assert to_json(report) == to_json(run(path, "train")[0])
