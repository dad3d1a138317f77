"""Integer placement in TensorFlow: shared ranges, outputs under their own names, train and eval graph alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from graphs import batch_norm, layer
from numeric import parse, run, tf1
from rewriting import rewrite

SHAPE = (2, 8, 8, 3)
CONFIG = {"preset": "tflite-int8", "activations": {"ema_decay": 0.5}}


def branches(*, resource: bool, training: bool = True) -> bytes:
    """conv, batch norm, relu6; a concatenation of it with a sigmoid and with the input; a dense layer, softmax."""
    graph = tf1.Graph()
    with graph.as_default():
        tf1.set_random_seed(1)
        x = tf1.placeholder(tf1.float32, SHAPE, name="input")
        with tf1.variable_scope("conv"):
            y = layer("conv", x, 4, resource)
            with tf1.variable_scope("BatchNorm"):
                y = batch_norm(y, resource, fused=True, training=training)
            y = tf1.nn.relu6(y, name="Relu6")
        y = tf1.concat([y, tf1.sigmoid(y, name="gate"), x], 3, name="joined")
        y = tf1.reduce_mean(y, [1, 2], name="pooled")
        with tf1.variable_scope("logits"):
            y = layer("matmul", y, 5, resource)
        tf1.add_to_collection("outputs", tf1.nn.softmax(y, name="probabilities"))
        return bytes(tf1.train.export_meta_graph(graph=graph).SerializeToString())


def feeds(steps: int) -> list[dict[str, Any]]:
    generator = np.random.RandomState(1)
    return [{"input:0": generator.normal(0.3, 1.0, SHAPE).astype(np.float32)} for _ in range(steps)]


def ends(node: Any, values: dict[str, Any]) -> tuple[float, float]:
    return tuple(float(values[name if ":" in name else f"{name}:0"]) for name in node.input[1:3])  # type: ignore[return-value]


@pytest.mark.parametrize("resource", [False, True])
def test_tied_tensors_are_quantized_with_the_union_of_their_ranges(resource: bool) -> None:
    meta = parse(rewrite(branches(resource=resource), "train", CONFIG).meta)
    nodes = {node.name: node for node in meta.graph_def.node}
    members = ["conv/Relu6/quant", "input/quant", "joined/quant"]
    quantizers = {scope: nodes[f"{scope}/FakeQuantWithMinMaxVars"] for scope in members}
    fetched = [f"{name}:0" if ":" not in name else name for node in quantizers.values() for name in node.input[1:3]]
    last = run(meta, feeds(4), ["probabilities:0", *fetched])[-1]
    own = {scope: (last.variables[f"{scope}/min:0"], last.variables[f"{scope}/max:0"]) for scope in members}
    low, high = min(pair[0] for pair in own.values()), max(pair[1] for pair in own.values())
    assert low < -1
    assert high > 2
    for scope, node in quantizers.items():
        used = ends(node, last.values)
        # others' ranges are read before or after this step's update
        assert used[0] <= own[scope][0], scope
        assert used[1] >= own[scope][1], scope
        assert used == pytest.approx((low, high), rel=0.35), scope


def test_an_output_is_quantized_under_its_own_name() -> None:
    meta = parse(rewrite(branches(resource=True), "train", CONFIG).meta)
    (step,) = run(meta, feeds(1), ["probabilities:0", "probabilities/quant/unquantized:0"])
    rounded = np.round(np.minimum(step.values["probabilities/quant/unquantized:0"], 255 / 256) * 256) / 256
    np.testing.assert_allclose(step.values["probabilities:0"], rounded, atol=1e-6)


def test_fixed_ranges_have_no_variables() -> None:
    meta = parse(rewrite(branches(resource=False), "train", CONFIG).meta)
    variables = {node.name for node in meta.graph_def.node if node.op == "VariableV2"}
    assert not {name for name in variables if name.startswith(("gate/quant", "probabilities/quant"))}
    assert {"input/quant/min", "joined/quant/max", "logits/MatMul/quant/min"} <= variables


def test_train_and_eval_graph_have_the_same_quantizers() -> None:
    trained = rewrite(branches(resource=False), "train", CONFIG)
    evaluated = rewrite(branches(resource=False), "eval", CONFIG)
    assert trained.plan.quantizers == evaluated.plan.quantizers
    names = [
        {node.name for node in parse(made.meta).graph_def.node if node.op.startswith("FakeQuant")}
        for made in (trained, evaluated)
    ]
    assert names[0] == names[1]


def behind_an_activation(*, training: bool) -> bytes:
    """batch norm, conv, relu, batch norm: neither can be folded."""
    graph = tf1.Graph()
    with graph.as_default():
        tf1.set_random_seed(1)
        y = tf1.placeholder(tf1.float32, SHAPE, name="input")
        for scope in ("first", "second"):
            with tf1.variable_scope(scope):
                y = batch_norm(y, resource=False, fused=True, training=training)
                y = tf1.nn.relu(layer("conv", y, 4, resource=False), name="Relu")
        tf1.add_to_collection("outputs", tf1.nn.tanh(y, name="output"))
        return bytes(tf1.train.export_meta_graph(graph=graph).SerializeToString())


@pytest.mark.parametrize("training", [False, True])
def test_a_batch_norm_that_stands_alone_has_the_same_quantizers_in_both_graphs(training: bool) -> None:
    source = behind_an_activation(training=training)
    trained, evaluated = (rewrite(source, mode, CONFIG) for mode in ("train", "eval"))
    assert trained.plan == evaluated.plan
    assert len(trained.plan.respelled) == 2
    nodes = [[(node.name, node.op) for node in parse(made.meta).graph_def.node] for made in (trained, evaluated)]
    quantizers = [{name for name, op in found if op.startswith("FakeQuant")} for found in nodes]
    assert quantizers[0] == quantizers[1]
    ops = [[op for _, op in found if op in ("FusedBatchNormV3", "DepthwiseConv2dNative")] for found in nodes]
    assert ops == [["FusedBatchNormV3"] * 2, ["DepthwiseConv2dNative"] * 2]
    (step,) = run(parse(trained.meta), feeds(1), ["output:0"])
    assert 0 < np.abs(step.values["output:0"]).max() <= 1
    (step,) = run(parse(evaluated.meta), feeds(1), ["output:0"])  # with ranges that nobody has trained
    assert step.values["output:0"].shape == (2, 8, 8, 4)
