"""Ranges and values of placeholders that are given: `--ranges`, `ranges:` and `--set`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import EXAMPLES, NET, Run, Write, refused
from graphs import two_layers
from numeric import tf1
from quantized_training import run_graph

from fqrewrite.cli import cli
from fqrewrite.proto import GraphDef

FLOAT = {"x:0": [0, 1], "conv/Relu6:0": [0, 6], "pool:0": [0, 6], "head/BiasAdd:0": [-3, 3]}


def write_ranges(folder: Path, ranges: dict[str, Any]) -> None:
    (folder / "ranges.json").write_text(json.dumps({"version": 1, "ranges": ranges}), encoding="utf-8")


def ranges_of(report: Path) -> dict[str, tuple[Any, Any, Any]]:
    """(origin, minimum, maximum) by the scope of the quantizer."""
    inserted = json.loads(report.read_text(encoding="utf-8"))["inserted"]
    ranges = {item["node"].rpartition("/")[0]: item["range"] for item in inserted}
    return {scope: (known["origin"], known["minimum"], known["maximum"]) for scope, known in ranges.items()}


def _known_range(tensor: str) -> list[float]:
    """A range that holds what the shipped model computes."""
    return [0, 6] if "Relu6" in tensor or "pool" in tensor else [0, 1] if "images" in tensor else [-20, 20]


def test_the_float_checkpoint_and_a_ranges_file(run: Run, folder: Path) -> None:
    """Without training: weights tell their ranges, activations have them from the file."""
    done = run("plan", EXAMPLES / "model_eval.meta", "--report-format", "json")
    tensors = [item["tensor"] for item in json.loads(done.out)["inserted"] if item["role"] != "weights"]
    write_ranges(folder, {tensor: _known_range(tensor) for tensor in tensors})
    done = run(
        "eval", EXAMPLES / "model", "--model", EXAMPLES / "model_eval.meta", "-o", "o.pb", "--ranges", "ranges.json"
    )
    assert (done.status, done.err) == (0, "")
    assert "ranges from       ranges file 16, weights 12\n" in done.out
    sample = np.load(EXAMPLES / "sample.npz")
    feed = {"images:0": (sample["images"][..., None] / 255).astype(np.float32)}
    graph = GraphDef.FromString((folder / "o.pb").read_bytes())
    logits = run_graph(graph, "logits/BiasAdd:0", feed)
    assert np.mean(logits.argmax(axis=1) == sample["labels"]) > 0.75


def test_the_config_goes_before_the_file_and_the_file_before_the_checkpoint(
    trained: Any, run: Run, folder: Path
) -> None:
    write_ranges(folder, {"conv0/Relu6:0": [0, 5], "logits/BiasAdd:0": [-9, 9]})
    (folder / "c.yaml").write_text('version: 1\nranges: {"conv0/Relu6:0": [0, 4]}\n', encoding="utf-8")
    done = run("eval", trained.latest, "-o", "o.pb", "--ranges", "ranges.json", "-c", "c.yaml")
    assert (done.status, done.err) == (0, "")
    assert "ranges from       checkpoint 26, config 1, ranges file 1\n" in done.out
    found = ranges_of(folder / "o.pb.report.json")
    assert found["conv0/Relu6/quant"] == ("config", [0], [4])
    assert found["logits/BiasAdd/quant"] == ("ranges file", [-9], [9])


def test_fixed_ranges_need_no_training(run: Run, write: Write, folder: Path) -> None:
    write("in.pb", NET)
    ranges = json.dumps(FLOAT)
    (folder / "c.yaml").write_text(f"version: 1\nranges: {ranges}\n", encoding="utf-8")
    assert run("train", "in.pb", "-o", "t.meta", "-q", "-c", "c.yaml").status == 0
    trained_ranges = json.loads((folder / "t.meta.report.json").read_text(encoding="utf-8"))["inserted"]
    fixed = {item["tensor"]: item["variables"] for item in trained_ranges if item["range"]["source"] == "constant"}
    assert fixed == {tensor: [] for tensor in FLOAT}
    assert run("eval", "in.pb", "-o", "e.pb", "-q", "-c", "c.yaml").status == 0
    assert ranges_of(folder / "e.pb.report.json")["conv/Relu6/quant"] == ("config", [0], [6])


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("", "ranges-unreadable", "it is not JSON"),
        ("{}", "ranges-unreadable", 'expected {"version": 1, "ranges":'),
        ('{"version": 2, "ranges": {}}', "ranges-unreadable", "version 2"),
        ('{"version": 1, "ranges": {"conv/Relu6:0": [6, 0]}}', "range-invalid", "conv/Relu6:0"),
        ('{"version": 1, "ranges": {"conv/Relu6:0": [[0, 0], [1, 1]]}}', "range-invalid", "conv/Relu6:0"),
    ],
)
def test_files_that_hold_no_ranges(run: Run, write: Write, folder: Path, text: str, code: str, said: str) -> None:
    write("in.pb", NET)
    (folder / "ranges.json").write_text(text, encoding="utf-8")
    done = run("eval", "in.pb", "-o", "o.pb", "--ranges", "ranges.json")
    refused(done, 3, code, "ranges.json", said)
    assert sorted(path.name for path in folder.iterdir()) == ["in.pb", "ranges.json"]


def switched(folder: Path) -> None:
    """Two layers whose batch norms a placeholder switches, as TF1 code with tf.layers does."""
    graph = tf1.Graph()
    with graph.as_default():
        tf1.set_random_seed(1)
        x = tf1.placeholder(tf1.float32, (2, 8, 8, 3), name="x")
        is_training = tf1.placeholder(tf1.bool, (), name="is_training")
        weights = tf1.get_variable("w", (3, 3, 3, 4), initializer=tf1.glorot_uniform_initializer(seed=3))
        ones, zeros = tf1.ones_initializer(), tf1.zeros_initializer()
        gamma, beta = tf1.get_variable("gamma", 4, initializer=ones), tf1.get_variable("beta", 4, initializer=zeros)
        mean = tf1.get_variable("mean", 4, initializer=zeros, trainable=False)
        variance = tf1.get_variable("variance", 4, initializer=ones, trainable=False)
        y = tf1.nn.conv2d(x, weights, strides=1, padding="SAME", name="conv")

        def training() -> Any:
            normed, batch_mean, batch_variance = tf1.nn.fused_batch_norm(y, gamma, beta, is_training=True)
            moved = [
                tf1.assign_sub(mean, (mean - batch_mean) * 0.1),
                tf1.assign_sub(variance, (variance - batch_variance) * 0.1),
            ]
            with tf1.control_dependencies(moved):
                return tf1.identity(normed)

        def inference() -> Any:
            return tf1.nn.fused_batch_norm(y, gamma, beta, mean, variance, is_training=False)[0]

        normed = tf1.cond(is_training, training, inference)
        tf1.add_to_collection("outputs", tf1.nn.relu(normed, name="out"))
        tf1.train.export_meta_graph(str(folder / "in.meta"), graph=graph)


def test_a_placeholder_is_set(run: Run, folder: Path) -> None:
    switched(folder)
    done = run("train", "in.meta", "-o", "t.meta")
    assert (done.status, done.err) == (0, "")
    assert "is_training = true, recognised as the switch between training and inference" in done.out
    done = run("eval", "in.meta", "-o", "e.meta", "--set", "is_training=false")
    assert (done.status, done.err) == (0, "")
    assert "bound             is_training = false" in done.out and "1 folded" in done.out


def test_placeholders_that_cannot_be_set(run: Run, write: Write) -> None:
    write("in.pb", NET)
    refused(run("plan", "in.pb", "--set", "nose=1"), 2, "binding-not-found", "'nose'", "it has x")
    refused(run("plan", "in.pb", "--set", "x=maybe"), 2, "binding-value", "float32", "'maybe'")
    refused(run("plan", "in.pb", "--set", "x"), 2, "config-value", "--set", "NAME=VALUE")


def test_thawed_and_frozen_again(run: Run, folder: Path, tmp_path: Path) -> None:
    """A frozen graph becomes a training graph; its checkpoint becomes a frozen graph of the same function."""
    net = two_layers(resource=False, training=False)
    graph = tf1.Graph()
    with graph.as_default(), tf1.Session(graph=graph) as session:
        tf1.train.import_meta_graph(tf1.MetaGraphDef.FromString(net.meta))
        session.run(tf1.global_variables_initializer())
        frozen = tf1.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), ["output"])
    (folder / "float.pb").write_bytes(frozen.SerializeToString())
    done = run("train", "float.pb", "--thaw", "-o", "train.meta")
    assert (done.status, done.err) == (0, "")
    assert "thawed " in done.out
    graph = tf1.Graph()
    with graph.as_default(), tf1.Session(graph=graph) as session:
        tf1.train.import_meta_graph(str(folder / "train.meta"))
        session.run(tf1.global_variables_initializer())
        wanted = session.run("output:0", net.feeds(1)[0])
        tf1.train.Saver().save(session, str(folder / "ckpt"))
    cli(["eval", str(folder / "ckpt"), "-o", str(folder / "eval.pb"), "-q"], standalone_mode=False)
    report = json.loads((folder / "eval.pb.report.json").read_text(encoding="utf-8"))
    made = GraphDef.FromString((folder / "eval.pb").read_bytes())
    assert not [node.name for node in made.node if node.op.startswith("Var")]
    got = run_graph(made, report["outputs"][0], net.feeds(1)[0])
    step = max(1e-6, float(np.ptp(wanted)) / 255)
    np.testing.assert_allclose(got, wanted, atol=1.5 * step)
