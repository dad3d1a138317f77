"""Rewritten graphs in use: import, train, save, restore; and the same bytes each time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graphs import Net, one_layer, two_layers
from numeric import parse, run, session_config, tf1
from rewriting import rewrite

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "fashion_mnist"


def sgd(meta: Any, feeds: list[dict[str, Any]], *, rate: float, save: str, restore: str | None = None) -> list[float]:
    """Trains by gradient descent as a user would, and saves all variables; returns the loss of each step."""
    graph = tf1.Graph()
    with graph.as_default():
        tf1.train.import_meta_graph(meta)
        updates = tf1.get_collection(tf1.GraphKeys.UPDATE_OPS)
        loaded = []
        if restore is not None:
            known = {name for name, _ in tf1.train.list_variables(restore)}
            loaded = [v for v in tf1.global_variables() if v.op.name in known]
        saver, loader = tf1.train.Saver(), tf1.train.Saver(loaded) if loaded else None
        with tf1.control_dependencies(updates):
            step = tf1.train.GradientDescentOptimizer(rate).minimize(graph.get_tensor_by_name("loss:0"))
        with tf1.Session(graph=graph, config=session_config()) as session:
            session.run(tf1.global_variables_initializer())
            if loader is not None:
                loader.restore(session, restore)
            losses = [float(session.run([graph.get_tensor_by_name("loss:0"), step], feed)[0]) for feed in feeds]
            saver.save(session, save, write_meta_graph=False)
    return losses


def restored(meta: Any, checkpoint: str, feed: dict[str, Any], fetches: list[str]) -> tuple[list[Any], dict[str, Any]]:
    """Restores every variable of a graph by name; returns what is fetched, and all variables."""
    graph = tf1.Graph()
    with graph.as_default():
        saver = tf1.train.import_meta_graph(meta) or tf1.train.Saver()
        with tf1.Session(graph=graph, config=session_config()) as session:
            saver.restore(session, checkpoint)
            variables = {v.name: v.read_value() for v in tf1.global_variables()}
            return session.run(fetches, feed), session.run(variables)


@pytest.mark.parametrize("resource", [False, True])
def test_a_graph_def_becomes_a_meta_graph_that_trains(resource: bool, tmp_path: Path) -> None:
    net = two_layers(resource=resource)
    made = parse(rewrite(net.graph_def, "train", {"outputs": ["output:0", "loss:0"]}, suffix=".pb").meta)
    losses = sgd(made, net.feeds(1) * 30, rate=0.1, save=str(tmp_path / "model"))
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("resource", [False, True])
@pytest.mark.parametrize("config", [{}, {"quant_delay": 2, "weights": {"granularity": "per_channel"}}], ids=str)
def test_eval_reads_what_training_wrote(config: dict[str, Any], resource: bool, tmp_path: Path) -> None:
    net = two_layers(resource=resource)
    inference = two_layers(resource=resource, training=False)
    checkpoint = str(tmp_path / "model")
    sgd(parse(rewrite(net.meta, "train", config).meta), net.feeds(4), rate=0.05, save=checkpoint)
    made = rewrite(inference.meta, "eval", config)
    fetches = [f"{scope}/act_quant/FakeQuantWithMinMaxVars:0" for scope in ("conv", "dw", "logits")]
    got, variables = restored(parse(made.meta), checkpoint, net.feeds(1)[0], [*fetches, "output:0"])
    saved = {name: tf1.train.load_variable(checkpoint, name) for name, _ in tf1.train.list_variables(checkpoint)}
    ranges = [name for name in variables if name.endswith(("/min:0", "/max:0"))]
    assert len(ranges) == 2 * len(made.plan.quantizers) == 12
    for name in ranges:
        np.testing.assert_array_equal(variables[name], saved[name.removesuffix(":0")])
    for quantized, scope in zip(got, ("conv", "dw", "logits"), strict=False):
        # TensorFlow moves the learned range by up to half a step, so that zero is on the grid.
        low, high = saved[f"{scope}/act_quant/min"], saved[f"{scope}/act_quant/max"]
        step = (high - low) / 255
        assert low - step <= quantized.min() and quantized.max() <= high + step
        assert 2 < len(np.unique(quantized)) <= 256
    assert np.isfinite(got[-1]).all()


@pytest.mark.parametrize("net", [two_layers(resource=False), one_layer("depthwise", norm="fused", resource=True)])
def test_the_same_bytes_whatever_the_hash_seed(net: Net, tmp_path: Path) -> None:
    source = tmp_path / "source.meta"
    source.write_bytes(net.meta)
    code = (
        "import sys, hashlib, rewriting\n"
        "config = {'quant_delay': 2, 'freeze_bn_delay': 3}\n"
        "made = rewriting.rewrite(open(sys.argv[1], 'rb').read(), 'train', config)\n"
        "print(hashlib.sha256(made.meta).hexdigest())"
    )
    digests = set()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
        command = [sys.executable, "-c", code, str(source)]
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        digests.add(done.stdout)
    assert len(digests) == 1


def test_ops_after_the_output_by_control_edges_stay_there() -> None:
    graph = tf1.Graph()
    with graph.as_default():
        x = tf1.placeholder(tf1.float32, (2, 5), name="input")
        weights = tf1.get_variable("fc/weights", (5, 3), use_resource=False)
        count = tf1.get_variable("count", (), initializer=tf1.zeros_initializer(), trainable=False, use_resource=False)
        with tf1.control_dependencies([tf1.assign_add(count, 1.0)]):
            first = tf1.identity(x, name="first")
        y = tf1.nn.relu(tf1.matmul(first, weights, name="fc/MatMul"), name="fc/Relu")
        with tf1.control_dependencies([tf1.assign_add(count, 10.0 * tf1.cast(tf1.size(y), tf1.float32))]):
            output = tf1.identity(y, name="output")
        tf1.add_to_collection("outputs", output)
        meta = tf1.train.export_meta_graph(graph=graph).SerializeToString()
    made = rewrite(meta, "train")
    assert len(made.plan.quantizers) == 2
    feed = {"input:0": np.ones((2, 5), np.float32)}
    step = run(parse(made.meta), [feed], ["output:0"], only=frozenset(("fc/weights:0",)))[0]
    assert step.variables["count:0"] == 61.0


def fashion_feeds(steps: int, batch: int) -> list[dict[str, Any]]:
    sample = np.load(EXAMPLE / "sample.npz")
    random = np.random.RandomState(0)
    feeds = []
    for _ in range(steps):
        chosen = random.choice(len(sample["labels"]), batch, replace=False)
        images = sample["images"][chosen][..., None].astype(np.float32) / 255
        feeds.append({"images:0": images, "labels:0": sample["labels"][chosen]})
    return feeds


def test_the_example_trains_saves_and_restores(tmp_path: Path) -> None:
    checkpoint = str(tmp_path / "quantized")
    made = rewrite((EXAMPLE / "model.meta").read_bytes(), "train", {"outputs": ["loss:0", "accuracy:0"]})
    assert len(made.plan.folds) == 11
    losses = sgd(parse(made.meta), fashion_feeds(200, 32), rate=0.02, save=checkpoint, restore=str(EXAMPLE / "model"))
    assert np.isfinite(losses).all()
    assert np.mean(losses[-50:]) < 0.7 * np.mean(losses[:50])
    inference = rewrite((EXAMPLE / "model_eval.meta").read_bytes(), "eval")
    assert {item.scope for item in inference.plan.quantizers} == {item.scope for item in made.plan.quantizers}
    sample = np.load(EXAMPLE / "sample.npz")
    feed = {"images:0": sample["images"][..., None].astype(np.float32) / 255}
    (logits,), _ = restored(parse(inference.meta), checkpoint, feed, ["logits/BiasAdd:0"])
    assert np.mean(logits.argmax(axis=1) == sample["labels"]) > 0.85
