"""SavedModels of TensorFlow 1 in and out: what is rewritten, and that all the rest stays as it is."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import FROZEN, ROOT, Run, refused
from numeric import session_config, tf1
from saved_models import PICTURES, classifier, contents, graphs_in, meta_graph, write_saved_model

from fqrewrite.cli import cli
from fqrewrite.model.checkpoint import find_checkpoint
from fqrewrite.model.values import open_values

KINDS = ("reference", "resource")
VARIABLES = ("variables/variables.data-00000-of-00001", "variables/variables.index")
RANGES = {"version": 1, "ranges": {"conv/Relu6:0": [0, 2], "logits:0": [-2, 2]}}

# TensorFlow 2 is run by a process of its own: these tests are graph mode.
CHILD = """
import json, sys
import numpy as np
import tensorflow as tf

pictures = tf.constant(np.load(sys.argv[1]))
found = {}
for path in sys.argv[2:]:
    loaded = tf.saved_model.load(path, tags=["serve"])
    found[path] = {
        name: {key: value.numpy().astype(str if value.dtype == tf.string else float).tolist()
               for key, value in function(image=pictures).items()}
        for name, function in loaded.signatures.items()
    }
print(json.dumps(found))
"""


def rewrite(*args: str | Path) -> None:
    """Runs a command in this process: TensorFlow takes longer to import than all the rest."""
    cli([*map(str, args), "-q"], prog_name="fqrewrite", standalone_mode=False)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """The classifier with reference variables, and with resource variables."""
    folder = tmp_path_factory.mktemp("classifiers")
    return {kind: classifier(folder / kind, resource=kind == "resource") for kind in KINDS}


@pytest.fixture(scope="module")
def evaluated(models: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Eval graphs of them, with given ranges."""
    folder = tmp_path_factory.mktemp("evaluated")
    (folder / "ranges.json").write_text(json.dumps(RANGES), encoding="utf-8")
    for kind, path in models.items():
        rewrite("eval", path, "--preset", "contrib", "--ranges", folder / "ranges.json", "-o", folder / kind)
    return {kind: folder / kind for kind in KINDS}


def run_signature(directory: Path, key: str, *tags: str) -> dict[str, Any]:
    """What a signature gives for the pictures, in TensorFlow 1's way."""
    with tf1.Graph().as_default(), tf1.Session(config=session_config()) as session:
        signature = tf1.saved_model.load(session, list(tags) or ["serve"], str(directory)).signature_def[key]
        fetched = {name: info.name for name, info in signature.outputs.items()}
        found: dict[str, Any] = session.run(fetched, {signature.inputs["image"].name: PICTURES})
        return found


def run_tf2(folder: Path, *directories: Path) -> dict[str, Any]:
    """What every signature gives for the pictures, in TensorFlow 2's way, by directory."""
    np.save(folder / "pictures.npy", PICTURES)
    command = [sys.executable, "-c", CHILD, *map(str, (folder / "pictures.npy", *directories))]
    done = subprocess.run(command, capture_output=True, check=True, timeout=120)
    found: dict[str, Any] = json.loads(done.stdout.decode().splitlines()[-1])
    return {Path(path).name: value for path, value in found.items()}


def saved_values(directory: Path) -> dict[str, Any]:
    checkpoint = find_checkpoint(directory / "variables" / "variables")
    assert checkpoint is not None
    values = open_values(checkpoint)
    return {key: values.read(key) for key in values}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tags", ["serve", "train,gpu"])
def test_an_empty_plan_gives_the_same_files(models: Mapping[str, Path], tmp_path: Path, kind: str, tags: str) -> None:
    before = contents(models[kind])
    rewrite("train", models[kind], "--tag-set", tags, "--scope", "conv/b", "--allow-empty", "-o", tmp_path / "out")
    assert contents(tmp_path / "out") == before == contents(models[kind])


def test_an_empty_plan_copies_a_model_of_tensorflow_2(tmp_path: Path) -> None:
    graph = meta_graph(FROZEN, "serve", serving_default=({"a": "x:0"}, {"b": "dense/Relu:0"}))
    graph.object_graph_def.nodes.add()
    source = write_saved_model(tmp_path / "m", graph)
    (source / "assets").mkdir()
    for name in ("variables/variables.index", VARIABLES[0], "fingerprint.pb", "keras_metadata.pb"):
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_bytes(name.encode())
    (tmp_path / "c.yaml").write_text("rules: [{match: {op: MatMul}, quantize: false}]")
    rewrite("train", source, "--allow-empty", "-c", tmp_path / "c.yaml", "-o", tmp_path / "out")
    assert contents(tmp_path / "out") == contents(source)
    assert (tmp_path / "out" / "assets").is_dir()


@pytest.mark.parametrize("kind", KINDS)
def test_train_changes_one_graph_only(models: Mapping[str, Path], tmp_path: Path, kind: str) -> None:
    source, target = models[kind], tmp_path / "out"
    rewrite("train", source, "--preset", "contrib", "-o", target)
    before, after = contents(source), contents(target)
    assert set(before) == set(after)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"saved_model.pb", *VARIABLES}
    (old, old_train), (new, new_train) = graphs_in(source), graphs_in(target)
    assert new_train == old_train
    assert old_train.SerializeToString(deterministic=True) in after["saved_model.pb"] or (
        new_train.SerializeToString() == old_train.SerializeToString()
    )
    assert new.signature_def == old.signature_def and new.meta_info_def == old.meta_info_def
    assert new.collection_def["saved_model_main_op"] == old.collection_def["saved_model_main_op"]
    assert list(new.asset_file_def) == list(old.asset_file_def)
    old_values, new_values = saved_values(source), saved_values(target)
    for key, value in old_values.items():
        np.testing.assert_array_equal(new_values[key], value)
    added = {key: new_values[key] for key in set(new_values) - set(old_values)}
    assert float(added["conv/act_quant/max"] if "conv/act_quant/max" in added else added["act_quant/max"]) == 6
    assert all(np.isfinite(value).all() for value in added.values())
    defined = {
        definition.partition(b":0")[0].rpartition(b"\n")[2]
        for definition in new.collection_def["variables"].bytes_list.value
    }
    assert len(defined) == len(new_values)
    again = tmp_path / "again"
    rewrite("train", source, "--preset", "contrib", "-o", again)
    rewrite("train", source, "--preset", "contrib", "-o", again)  # over what is there
    assert contents(again)["saved_model.pb"] == after["saved_model.pb"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_training_graph_trains_and_becomes_an_eval_graph(
    models: Mapping[str, Path], tmp_path: Path, kind: str
) -> None:
    target, trained = tmp_path / "out", tmp_path / "trained"
    rewrite("train", models[kind], "--preset", "contrib", "-o", target)
    with tf1.Graph().as_default() as graph, tf1.Session(config=session_config()) as session:
        meta = tf1.saved_model.load(session, ["serve"], str(target))
        signature = meta.signature_def["serving_default"]
        scores, names = (graph.get_tensor_by_name(signature.outputs[key].name) for key in ("scores", "names"))
        feed = {signature.inputs["image"].name: PICTURES}
        assert set(session.run(names, feed)) <= {b"ant", b"bee", b"cow", b"dog", b"elk"}
        assert len(tf1.trainable_variables()) == 4
        loss = tf1.reduce_mean(tf1.square(scores - 1))
        step = tf1.train.GradientDescentOptimizer(0.1).minimize(loss)
        losses = [session.run([loss, step], feed)[0] for _ in range(30)]
        assert losses[-1] < 0.3 * losses[0]
        (main_op,) = meta.collection_def["saved_model_main_op"].node_list.value
        graph.clear_collection("saved_model_main_op")  # else the builder takes no other, and wants one
        builder = tf1.saved_model.Builder(str(trained))
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            dict(meta.signature_def.items()),
            assets_collection=tf1.get_collection(tf1.GraphKeys.ASSET_FILEPATHS),
            main_op=graph.get_operation_by_name(main_op),
            clear_devices=True,
        )
        builder.save()
        values = session.run({v.op.name: v for v in tf1.global_variables()})
    rewrite("eval", trained, "-o", tmp_path / "eval")
    (meta_graph_def,) = graphs_in(tmp_path / "eval")
    assert not [name for name in contents(tmp_path / "eval") if name.startswith("variables")]
    nodes = {node.name: node for node in meta_graph_def.graph_def.node}
    scope = next(name.rpartition("/")[0] for name in nodes if name.endswith("act_quant/FakeQuantWithMinMaxVars"))
    constant = nodes[nodes[f"{scope}/FakeQuantWithMinMaxVars"].input[2]].attr["value"].tensor
    assert constant.float_val[0] == values[f"{scope}/max"]
    got = run_signature(tmp_path / "eval", "serving_default")
    assert set(got) == {"scores", "names"}
    assert np.mean((got["scores"] - 1) ** 2) < 0.4 * losses[0]


@pytest.mark.parametrize("kind", KINDS)
def test_what_an_eval_graph_keeps(models: Mapping[str, Path], evaluated: Mapping[str, Path], kind: str) -> None:
    before, after = contents(models[kind]), contents(evaluated[kind])
    assert {name for name in before if before[name] != after.get(name)} == {"saved_model.pb"}  # the other has variables
    (old, old_train), (new, new_train) = graphs_in(models[kind]), graphs_in(evaluated[kind])
    assert new_train == old_train and new.meta_info_def.tags == old.meta_info_def.tags
    assert not [node for node in new.graph_def.node if "Var" in node.op and "Vars" not in node.op]
    assert set(new.signature_def) == {"serving_default", "raw"}
    for key, signature in old.signature_def.items():
        assert new.signature_def[key].inputs == signature.inputs
        for name, info in signature.outputs.items():
            written = new.signature_def[key].outputs[name]
            assert (written.dtype, written.tensor_shape) == (info.dtype, info.tensor_shape)
    assert new.signature_def["serving_default"].outputs["scores"].name.endswith("FakeQuantWithMinMaxVars:0")
    assert new.signature_def["raw"].outputs["scores"].name == "logits:0"
    floats = run_signature(models[kind], "serving_default")
    got = run_signature(evaluated[kind], "serving_default")
    assert np.abs(got["scores"] - floats["scores"]).max() < 0.1
    assert list(got["names"]) == list(floats["names"])
    assert run_signature(evaluated[kind], "loss", "train", "gpu")["scores"].shape == (8, 5)
    report = json.loads(Path(f"{evaluated[kind]}.report.json").read_text(encoding="utf-8"))
    assert report["input"]["kind"] == "saved_model"
    assert "signature-not-rewritten" in {note["code"] for note in report["notes"]}


def test_tensorflow_2_loads_all_of_them(
    models: Mapping[str, Path], evaluated: Mapping[str, Path], tmp_path: Path
) -> None:
    rewrite("train", models["resource"], "--preset", "contrib", "-o", tmp_path / "trained")
    directory = shutil.copytree(evaluated["resource"], tmp_path / "evaluated")
    found = run_tf2(tmp_path, models["resource"], tmp_path / "trained", directory)
    wanted = found["resource"]["serving_default"]
    for name in ("trained", "evaluated"):
        assert set(found[name]) == {"serving_default", "raw"}
    got = found["evaluated"]["serving_default"]
    assert got["names"] == wanted["names"]
    assert np.abs(np.subtract(got["scores"], wanted["scores"])).max() < 0.1


def test_variables_that_stay(models: Mapping[str, Path], tmp_path: Path) -> None:
    """The other graph reads the old values; the eval graph reads them, too, and finds its ranges beside them."""
    (tmp_path / "ranges.json").write_text(json.dumps(RANGES), encoding="utf-8")
    given = ("--preset", "contrib", "--ranges", tmp_path / "ranges.json", "-o", tmp_path / "out")
    rewrite("eval", models["resource"], "--no-freeze", *given)
    assert set(saved_values(models["resource"])) < set(saved_values(tmp_path / "out"))
    floats = run_signature(models["resource"], "serving_default")
    assert np.abs(run_signature(tmp_path / "out", "serving_default")["scores"] - floats["scores"]).max() < 0.1
    assert run_signature(tmp_path / "out", "loss", "train", "gpu")["scores"].shape == (8, 5)


def test_another_graph_and_other_signatures(models: Mapping[str, Path], tmp_path: Path) -> None:
    source = models["reference"]
    rewrite("train", source, "--tag-set", "gpu,train", "--preset", "contrib", "-o", tmp_path / "train")
    (serve, train), (old_serve, old_train) = graphs_in(tmp_path / "train"), graphs_in(source)
    assert serve == old_serve and len(train.graph_def.node) > len(old_train.graph_def.node)
    rewrite("train", source, "--signature", "raw", "--preset", "contrib", "-o", tmp_path / "raw")
    (tmp_path / "ranges.json").write_text(json.dumps(RANGES), encoding="utf-8")
    # What was trained knows what for; the range of the output was given.
    rewrite("eval", tmp_path / "raw", "--ranges", tmp_path / "ranges.json", "-o", tmp_path / "eval")
    signatures = graphs_in(tmp_path / "eval")[0].signature_def
    assert signatures["raw"].outputs["scores"].name.endswith("FakeQuantWithMinMaxVars:0")
    assert signatures["serving_default"].outputs["scores"].name == "logits:0"


def test_to_and_from_other_forms(models: Mapping[str, Path], tmp_path: Path) -> None:
    source = models["resource"]
    np.save(tmp_path / "data.npy", PICTURES)
    rewrite("calibrate", source, "--preset", "contrib", "--data", tmp_path / "data.npy", "-o", tmp_path / "r.json")
    given = ("--preset", "contrib", "--ranges", tmp_path / "r.json")
    rewrite("eval", source, *given, "-o", tmp_path / "eval.pb")
    rewrite("eval", source, *given, "-o", tmp_path / "eval")
    rewrite("train", source, "--preset", "contrib", "-o", tmp_path / "train.meta")
    rewrite("warm-start", source, tmp_path / "train.meta", "-o", tmp_path / "warm")
    checkpoint = find_checkpoint(tmp_path / "warm")
    assert checkpoint is not None
    np.testing.assert_array_equal(open_values(checkpoint).read("conv/w"), saved_values(source)["conv/w"])
    assert (tmp_path / "eval.pb").stat().st_size < (tmp_path / "eval" / "saved_model.pb").stat().st_size


def test_without_variables_tensorflow_is_not_needed(tmp_path: Path) -> None:
    signatures = {"serving_default": ({"a": "x:0"}, {"b": "dense/Relu:0"})}
    source = write_saved_model(tmp_path / "m", meta_graph(FROZEN, "serve", **signatures), meta_graph(FROZEN, "other"))
    (source / "assets").mkdir()
    (source / "assets" / "words").write_bytes(b"words")
    code = (
        "import sys\nsys.modules['tensorflow'] = None\nfrom fqrewrite.cli import cli\n"
        "cli(sys.argv[1:], prog_name='fqrewrite', standalone_mode=False)"
    )
    (tmp_path / "r.json").write_text('{"version": 1, "ranges": {"dense/Relu:0": [0, 6], "x:0": [-1, 1]}}')
    (tmp_path / "c.yaml").write_text("rules: [{match: {op: MatMul}, quantize: false}]")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    commands: list[list[str | Path]] = [
        ["plan", source],
        ["eval", source, "--ranges", tmp_path / "r.json", "-o", tmp_path / "eval"],
        ["train", source, "--allow-empty", "-c", tmp_path / "c.yaml", "-o", tmp_path / "train"],
    ]
    for command in commands:
        arguments = [sys.executable, "-c", code, *map(str, command)]
        done = subprocess.run(arguments, env=environment, capture_output=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr.decode()
    first, second = graphs_in(tmp_path / "eval")
    assert second == graphs_in(source)[1]
    assert any(node.op.startswith("FakeQuant") for node in first.graph_def.node)
    assert (tmp_path / "eval" / "assets" / "words").read_bytes() == b"words"


def test_a_frozen_one_can_be_thawed(tmp_path: Path) -> None:
    signatures = {"serving_default": ({"a": "x:0"}, {"b": "dense/Relu:0"})}
    source = write_saved_model(tmp_path / "m", meta_graph(FROZEN, "serve", **signatures))
    rewrite("train", source, "--thaw", "-o", tmp_path / "out")
    np.testing.assert_array_equal(saved_values(tmp_path / "out")["w"], [[1, -2], [3, 0.5]])
    with tf1.Graph().as_default(), tf1.Session(config=session_config()) as session:
        tf1.saved_model.load(session, ["serve"], str(tmp_path / "out"))
        assert [variable.op.name for variable in tf1.trainable_variables()] == ["w"]
        assert session.run("dense/Relu:0", {"x:0": [[1, 1]]}).shape == (1, 2)


def _damage(directory: Path, kind: str) -> None:
    variables = directory / "variables"
    if kind == "no variables":
        shutil.rmtree(variables)
    elif kind == "no index":
        (directory / VARIABLES[1]).unlink()
    elif kind == "no shard":
        (directory / VARIABLES[0]).unlink()
    elif kind == "damaged index":
        (directory / VARIABLES[1]).write_bytes(bytes(200))
    elif kind == "cut graph":
        data = (directory / "saved_model.pb").read_bytes()
        (directory / "saved_model.pb").write_bytes(data[: len(data) // 2])
    elif kind == "no graph":
        (directory / "saved_model.pb").unlink()


BAD: dict[str, tuple[str, list[str], int, str, str]] = {
    # damage; arguments; exit status, code and what is said
    "tags": ("", ["--tag-set", "tpu"], 2, "tag-set-unknown", "serve; gpu,train"),
    "one of two tags": ("", ["--tag-set", "gpu"], 2, "tag-set-unknown", "gpu,train"),
    "signature": ("", ["--signature", "raww"], 2, "signature-unknown", "'raw', 'serving_default'"),
    "signature of another graph": ("", ["--signature", "loss"], 2, "signature-unknown", "'raw'"),
    "variables": ("no variables", [], 3, "saved-model-variables-missing", "variables/variables.index"),
    "index": ("no index", [], 3, "checkpoint-index-missing", "variables"),
    "shard": ("no shard", [], 3, "checkpoint-shard-missing", "variables.data-00000-of-00001"),
    "damage": ("damaged index", [], 3, "checkpoint-corrupt", "variables"),
    "cut": ("cut graph", [], 3, "file-truncated", "saved_model.pb"),
    "no saved_model.pb": ("no graph", [], 3, "is-a-directory", "neither a SavedModel nor a checkpoint"),
    "outputs": ("", ["--outputs", "logit:0"], 2, "output-not-found", "logits"),
    "plan": ("", ["--plan", "other.json"], 2, "plan-mismatch", "other.json"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("command", ["train", "eval"])
def test_bad_input(run: Run, folder: Path, models: Mapping[str, Path], case: str, command: str) -> None:
    damage, arguments, status, code, said = BAD[case]
    shutil.copytree(models["resource"], folder / "m")
    (folder / "r.json").write_text(json.dumps(RANGES), encoding="utf-8")
    if case == "plan":
        assert run("plan", "m", "--preset", "contrib", "--signature", "raw", "-o", "other.json").status == 0
    _damage(folder / "m", damage)
    before = sorted(path.name for path in folder.rglob("*"))
    ranges = ["--ranges", "r.json"] if command == "eval" else []
    preset = [] if case == "plan" else ["--preset", "contrib"]
    refused(run(command, "m", *arguments, *ranges, *preset, "-o", "out"), status, code, said)
    assert sorted(path.name for path in folder.rglob("*")) == before


@pytest.mark.parametrize("output", ["m", "m/out", "m/out.meta", "m/assets", "."])
def test_nothing_is_written_into_the_input(run: Run, folder: Path, models: Mapping[str, Path], output: str) -> None:
    shutil.copytree(models["reference"], folder / "m")
    before = contents(folder)
    for command in ("train", "eval"):
        refused(run(command, "m", "-o", output), 2, "output-is-input")
    assert contents(folder) == before


def test_options_are_for_saved_models(run: Run, model: Path, folder: Path) -> None:
    for arguments in (["--tag-set", "serve"], ["--signature", "a"]):
        refused(run("plan", "model.meta", *arguments), 2, "saved-model-option")
    np.save(folder / "d.npy", PICTURES)
    refused(
        run("compare", "model.meta", "model.meta", "--data", "d.npy", "--tag-set", "serve"), 2, "saved-model-option"
    )


def test_several_graphs_and_signatures_are_listed(run: Run, folder: Path) -> None:
    ends = ({"a": "x:0"}, {"b": "dense/Relu:0"})
    write_saved_model(folder / "graphs", meta_graph(FROZEN, "a"), meta_graph(FROZEN, "b", "c"))
    refused(run("plan", "graphs"), 2, "tag-set-ambiguous", "a; b,c")
    write_saved_model(folder / "signatures", meta_graph(FROZEN, "serve", one=ends, two=ends))
    refused(run("plan", "signatures"), 2, "signature-ambiguous", "'one', 'two'")
    refused(run("train", "signatures", "--signature", "one", "--thaw", "-o", "out.txt"), 2, "output-suffix")
    assert run("show", "signatures").status == 1  # provenance-missing: nothing needs to be chosen
