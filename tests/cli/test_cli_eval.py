"""`eval` of checkpoints: how a checkpoint is named, what is written, and that its numbers are those of training."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import EXAMPLES, Run, run_in
from google.protobuf import text_format
from numeric import FAKE_QUANTS
from quantized_training import (
    LOGITS,
    pictures,
    resume_training,
    run_checkpoint,
    run_graph,
    start_training,
    values,
)

from fqrewrite.cli import cli
from fqrewrite.match.refusals import MARKER_NAME
from fqrewrite.proto import GraphDef, MetaGraphDef
from fqrewrite.proto.tensors import to_numpy

TRAINING = ("Assign", "Apply", "Save", "Restore", "VarHandle", "Variable", "ReadVariable", "Random", "Iterator")
CONTROL_FLOW = {"Switch", "Merge", "Enter", "Exit", "NextIteration", "LoopCond", "If", "StatelessIf", "While"}


def graph_of(path: Path) -> Any:
    return GraphDef.FromString(path.read_bytes())


def nodes_of(path: Path) -> dict[str, Any]:
    """The nodes of a graph by name, but for what tells of its making."""
    return {node.name: node for node in graph_of(path).node if node.name != MARKER_NAME}


def evaluate(*args: str | Path) -> None:
    """Runs ``fqrewrite eval ARGS... -q`` in this process: TensorFlow takes longer to import than all the rest."""
    cli(["eval", *map(str, args), "-q"], prog_name="fqrewrite", standalone_mode=False)


@pytest.fixture(scope="session")
def logits(trained: Any) -> Any:
    """What the frozen graph gives."""
    return run_graph(graph_of(trained.frozen), LOGITS, {"images:0": pictures()})


def test_a_frozen_graph_is_for_inference_only(trained: Any, logits: Any) -> None:
    graph = graph_of(trained.frozen)
    ops = {node.op for node in graph.node}
    assert not [op for op in ops if op.startswith(TRAINING) or "Grad" in op or "Backprop" in op]
    assert not ops & CONTROL_FLOW
    assert [node.name for node in graph.node if node.op.startswith("Placeholder")] == ["images"]
    assert sum(node.op in FAKE_QUANTS for node in graph.node) == 28
    assert not any(entry.startswith("^") for node in graph.node for entry in node.input)
    labels = np.load(EXAMPLES / "sample.npz")["labels"][:64]
    assert np.mean(logits.argmax(axis=1) == labels) > 0.8
    report = json.loads((trained.folder / "frozen.pb.report.json").read_text(encoding="utf-8"))
    assert report["input"]["kind"] == "checkpoint"
    assert report["outputs"] == [LOGITS]
    assert {item["range"]["origin"] for item in report["inserted"]} == {"checkpoint"}
    assert report["changes"]["frozen"] == 57 and report["changes"]["removed"]["gradient"] > 0
    assert "frozen            57 variables" in trained.evaluated.out


def test_ranges_are_those_of_the_checkpoint(trained: Any) -> None:
    nodes = {node.name: node for node in graph_of(trained.frozen).node}
    saved = values(trained.latest)
    quantizers = [node for node in nodes.values() if node.op in FAKE_QUANTS]
    for node in quantizers:
        scope = node.name.rpartition("/")[0]
        for end, name in zip(("min", "max"), node.input[1:], strict=True):
            got = to_numpy(nodes[name].attr["value"].tensor)
            np.testing.assert_array_equal(got, saved[f"{scope}/{end}"], err_msg=scope)


def test_the_numbers_of_the_training_graph_in_inference_form(trained: Any, logits: Any, tmp_path: Path) -> None:
    """Restored into the eval graph that is made of the training graph without a checkpoint."""
    assert run_in(tmp_path, "eval", trained.train, "-o", "e.meta", "-q").status == 0
    got = run_checkpoint(tmp_path / "e.meta", trained.latest, LOGITS, {"images:0": pictures()})
    np.testing.assert_allclose(logits, got, rtol=1e-4, atol=1e-6)


def test_the_numbers_of_the_training_graph_itself(trained: Any, logits: Any) -> None:
    """Its batch norms are frozen by now; made to read ranges instead of learning them, it computes the same."""
    meta = MetaGraphDef.FromString(trained.latest.with_suffix(".meta").read_bytes())
    nodes = {node.name: node for node in meta.graph_def.node}
    for node in meta.graph_def.node:
        if node.op in FAKE_QUANTS:
            scope = node.name.rpartition("/")[0]
            node.input[1:] = [f"{scope}/{end}/Read/ReadVariableOp" for end in ("min", "max")]
            assert all(name in nodes for name in node.input)
    from numeric import parse

    meta = parse(meta.SerializeToString())
    got = run_checkpoint(meta, trained.latest, LOGITS, {"images:0": pictures()})
    np.testing.assert_allclose(logits, got, rtol=1e-4, atol=1e-5)


def test_every_name_of_a_checkpoint(trained: Any, tmp_path: Path) -> None:
    wanted = trained.frozen.read_bytes()
    done = run_in(tmp_path, "eval", trained.checkpoints, "-o", "directory.pb", "-q")  # the state file names the latest
    assert done == (0, "", "")
    assert (tmp_path / "directory.pb").read_bytes() == wanted
    for suffix in (".index", ".meta", ".data-00000-of-00001"):
        evaluate(f"{trained.latest}{suffix}", "-o", tmp_path / "out.pb")
        assert (tmp_path / "out.pb").read_bytes() == wanted, suffix
    evaluate(f"{trained.checkpoints}/ckpt-100", "-o", tmp_path / "out.pb")
    assert (tmp_path / "out.pb").read_bytes() != wanted


def test_a_directory_that_was_moved_with_its_state_file(trained: Any, tmp_path: Path) -> None:
    shutil.copytree(trained.checkpoints, tmp_path / "moved")
    evaluate(tmp_path / "moved", "-o", tmp_path / "out.pb")
    assert (tmp_path / "out.pb").read_bytes() == trained.frozen.read_bytes()


def test_a_checkpoint_without_its_graph(trained: Any, run: Run, folder: Path) -> None:
    for path in trained.checkpoints.glob("ckpt-110.*"):
        if path.suffix != ".meta":
            shutil.copy(path, folder)
    done = run("eval", "ckpt-110", "-o", "out.pb")
    assert done.status == 2
    assert "[checkpoint-without-graph]" in done.err and "--model" in done.err
    for graph in (trained.train, trained.latest.with_suffix(".meta")):
        evaluate(folder / "ckpt-110", "--model", graph, "-o", folder / "out.pb")
        assert nodes_of(folder / "out.pb") == nodes_of(trained.frozen)


@pytest.mark.parametrize("suffix", [".pbtxt", ".meta", ".meta.pbtxt"])
def test_a_frozen_graph_in_every_form(trained: Any, tmp_path: Path, suffix: str) -> None:
    evaluate(trained.latest, "-o", tmp_path / f"out{suffix}")
    data = (tmp_path / f"out{suffix}").read_bytes()
    message: Any = MetaGraphDef() if ".meta" in suffix else GraphDef()
    if suffix.endswith("pbtxt"):
        text_format.Parse(data.decode(), message)
    else:
        message.ParseFromString(data)
    graph = message.graph_def if ".meta" in suffix else message
    assert sorted(node.name for node in graph.node) == sorted(node.name for node in graph_of(trained.frozen).node)
    nodes = {node.name: node for node in graph.node}
    assert all(node == nodes[node.name] for node in graph_of(trained.frozen).node)
    if ".meta" in suffix:
        assert not message.collection_def and not message.HasField("saver_def")
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"out{suffix}", f"out{suffix}.report.json"]


def test_variables_that_stay(trained: Any, logits: Any, tmp_path: Path) -> None:
    evaluate(trained.latest, "--no-freeze", "-o", tmp_path / "kept.meta")
    names = ["kept.data-00000-of-00001", "kept.index", "kept.meta", "kept.meta.report.json"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    got = run_checkpoint(tmp_path / "kept.meta", tmp_path / "kept", LOGITS, {"images:0": pictures()})
    np.testing.assert_allclose(logits, got, rtol=1e-5, atol=1e-6)
    kept, saved = values(tmp_path / "kept"), values(trained.latest)
    assert len(kept) == 57 + 2 * 28
    for name, value in kept.items():
        np.testing.assert_array_equal(value, saved[name], err_msg=name)


def test_saved_models(trained: Any, logits: Any, tmp_path: Path) -> None:
    evaluate(trained.latest, "-o", tmp_path / "frozen")
    evaluate(trained.latest, "-o", tmp_path / "variables", "--no-freeze")
    assert [path.name for path in (tmp_path / "frozen").iterdir()] == ["saved_model.pb"]
    assert (tmp_path / "variables" / "variables" / "variables.index").exists()
    np.save(tmp_path / "pictures.npy", pictures())
    code = """
import sys
import numpy as np
import tensorflow as tf

tf1, images = tf.compat.v1, np.load("pictures.npy")
for name in ("frozen", "variables"):
    function = tf.saved_model.load(name).signatures["serving_default"]
    (result,) = function(images=tf.constant(images)).values()
    np.save(f"{name}-2.npy", result)
    with tf1.Session(graph=tf.Graph()) as session:
        meta = tf1.saved_model.load(session, ["serve"], name)
        signature = meta.signature_def["serving_default"]
        ((key, wanted),) = signature.outputs.items()
        np.save(f"{name}-1.npy", session.run(wanted.name, {signature.inputs["images"].name: images}))
"""
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=dict(os.environ), check=True, capture_output=True)
    for name in ("frozen", "variables"):
        for version in (1, 2):
            got = np.load(tmp_path / f"{name}-{version}.npy")
            np.testing.assert_allclose(logits, got, rtol=1e-5, atol=1e-6)


def test_a_model_that_was_imported_under_a_scope(trained: Any, tmp_path: Path) -> None:
    start_training(trained.train, trained.warm, tmp_path, [3], scope="import/")
    evaluate(tmp_path / "ckpt-3", "-o", tmp_path / "scoped.pb")
    start_training(trained.train, trained.warm, tmp_path / "plain", [3])
    evaluate(tmp_path / "plain" / "ckpt-3", "-o", tmp_path / "plain.pb")
    scoped, plain = (graph_of(tmp_path / name) for name in ("scoped.pb", "plain.pb"))
    assert {node.name for node in scoped.node} == {node.name for node in plain.node}
    feed = {"images:0": pictures()}
    np.testing.assert_array_equal(run_graph(scoped, LOGITS, feed), run_graph(plain, LOGITS, feed))
    shown = run_in(tmp_path, "show", "ckpt-3")
    assert "imported under import/\n" in shown.out


def test_resumed_training_is_the_same_training(trained: Any, tmp_path: Path) -> None:
    resume_training(trained.checkpoints / "ckpt-100", tmp_path, 100, 110)
    resumed, whole = values(tmp_path / "ckpt-110"), values(trained.latest)
    assert resumed.keys() == whole.keys()
    assert len(whole) > 57 * 2
    for name, value in whole.items():
        assert value.tobytes() == resumed[name].tobytes(), name


def test_other_outputs(trained: Any, tmp_path: Path) -> None:
    evaluate(trained.latest, "-o", tmp_path / "part.pb", "--outputs", "conv0/Relu6")
    names = [node.name for node in graph_of(tmp_path / "part.pb").node if node.op in FAKE_QUANTS]
    assert sorted(names) == [
        "conv0/Relu6/quant/FakeQuantWithMinMaxVars",
        "conv0/weights_quant/FakeQuantWithMinMaxVarsPerChannel",
        "images/quant/FakeQuantWithMinMaxVars",
    ]
