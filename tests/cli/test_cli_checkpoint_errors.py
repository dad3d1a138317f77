"""Checkpoints that cannot be evaluated: one clear error each, and nothing is written."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import EXAMPLES, NET, Run, Write, refused
from quantized_training import values

from fqrewrite.cli import cli
from fqrewrite.errors import FqrewriteError
from fqrewrite.proto import MetaGraphDef


@pytest.fixture
def copied(trained: Any, folder: Path) -> Path:
    """A checkpoint of its own, to be damaged: ``ckpt-110`` in the test's folder."""
    for path in trained.checkpoints.glob("ckpt-110.*"):
        shutil.copy(path, folder)
    return folder / "ckpt-110"


def refused_eval(run: Run, folder: Path, status: int, code: str, *said: str, args: tuple[str, ...] = ()) -> None:
    """Checks that `eval` of the copied checkpoint is refused, and writes nothing in any form."""
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    refused(run("eval", "ckpt-110", "-o", "out.pb", *args), status, code, *said)
    assert {path: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def write_values(prefix: Path, saved: dict[str, Any]) -> None:
    from fqrewrite.model.checkpoint_write import checkpoint_files

    for path, data in checkpoint_files(saved, prefix):
        Path(path).write_bytes(data)


def error_of(checkpoint: Path) -> FqrewriteError:
    """The error of `eval` of a checkpoint, in this process; TensorFlow takes longer to import than all the rest."""
    before = sorted(checkpoint.parent.iterdir())
    with pytest.raises(FqrewriteError) as caught:
        cli(["eval", str(checkpoint), "-o", str(checkpoint.with_name("out.pb"))], standalone_mode=False)
    assert sorted(checkpoint.parent.iterdir()) == before
    return caught.value


def test_a_corrupt_index(run: Run, folder: Path, copied: Path) -> None:
    index = copied.with_suffix(".index")
    whole = index.read_bytes()
    index.write_bytes(whole[:50] + bytes([whole[50] ^ 0xFF]) + whole[51:])
    refused_eval(run, folder, 3, "checkpoint-corrupt", "ckpt-110")
    for data in (whole[: len(whole) // 2], b"hello\n" * 99, b""):
        index.write_bytes(data)
        assert error_of(copied).code == "checkpoint-corrupt"


def test_corrupt_data(run: Run, folder: Path, copied: Path) -> None:
    shard = folder / "ckpt-110.data-00000-of-00001"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:5000])
    refused_eval(run, folder, 3, "checkpoint-corrupt", "ckpt-110")
    shard.write_bytes(bytes(255 - byte for byte in whole))
    assert error_of(copied).code == "checkpoint-corrupt"


def test_a_missing_shard_or_index(run: Run, folder: Path, copied: Path) -> None:
    (folder / "ckpt-110.data-00000-of-00001").rename(folder / "kept")
    refused_eval(run, folder, 3, "checkpoint-shard-missing", "ckpt-110.data-00000-of-00001")
    (folder / "kept").rename(folder / "ckpt-110.data-00000-of-00001")
    copied.with_suffix(".index").unlink()
    refused_eval(run, folder, 3, "checkpoint-index-missing", "ckpt-110.index")


def test_a_wrong_shape_and_a_wrong_dtype(run: Run, folder: Path, copied: Path) -> None:
    saved = values(copied)
    write_values(copied, {**saved, "conv0/weights": np.zeros((3, 3, 1, 8), np.float32)})
    refused_eval(run, folder, 3, "checkpoint-shape-differs", "conv0/weights", "[3, 3, 1, 16]", "[3, 3, 1, 8]")
    write_values(copied, {**saved, "conv0/weights": saved["conv0/weights"].astype(np.float64)})
    error = error_of(copied)
    assert (error.code, "conv0/weights" in error.what, "float64" in error.what) == (
        "checkpoint-dtype-differs",
        True,
        True,
    )


def test_missing_variables(run: Run, folder: Path, copied: Path) -> None:
    saved = values(copied)
    gone = ("conv0/weights", "conv0/BatchNorm/gamma", "logits/biases", "conv0/BatchNorm/moving_mean")
    write_values(copied, {name: value for name, value in saved.items() if name not in gone})
    listed = [
        "4 of the 57 variables are not in the checkpoint",
        "conv0/weights: weights of Conv2D conv0/Conv2D\n",
        "conv0/BatchNorm/gamma: gamma of FusedBatchNormV3 conv0/BatchNorm/FusedBatchNormV3\n",
        "conv0/BatchNorm/moving_mean: moving mean of FusedBatchNormV3 conv0/BatchNorm/FusedBatchNormV3\n",
        "logits/biases: bias of BiasAdd logits/BiasAdd\n",
    ]
    refused_eval(run, folder, 3, "checkpoint-variables-missing", *listed)
    write_values(copied, {f"model/{name}": value for name, value in saved.items()})
    error = error_of(copied)
    assert error.code == "checkpoint-variables-missing"
    assert "57 of the 57" in error.what and "'model/" in error.what and "another name scope" in error.what


def test_ranges_that_were_never_trained(run: Run, folder: Path, copied: Path) -> None:
    saved = values(copied)
    steps = [name for name in saved if name.startswith("conv0/Relu6/quant/") and name.endswith("local_step")]
    write_values(copied, {**saved, **{name: np.zeros_like(saved[name]) for name in steps}})
    refused_eval(run, folder, 1, "range-unknown", "conv0/Relu6:0", "local_step", "--ranges")
    write_values(copied, {name: value for name, value in saved.items() if name != "conv0/Relu6/quant/min"})
    error = error_of(copied)
    assert error.code == "range-unknown"
    assert "conv0/Relu6:0" in error.what and "conv0/Relu6/quant/min is not in the checkpoint" in error.what


def test_ranges_that_are_none(run: Run, folder: Path, copied: Path) -> None:
    saved = values(copied)
    write_values(copied, {**saved, "conv0/Relu6/quant/max": np.float32("nan")})
    refused_eval(run, folder, 3, "range-invalid", "conv0/Relu6/quant/min and max", "not finite")


def test_settings_that_differ_from_the_plan_in_the_model(run: Run, folder: Path, copied: Path) -> None:
    for args, said in (
        (("--weight-bits", "4"), "'weights.bits' than --weight-bits gives"),
        (("--scope", "conv0"), "'scope' than --scope gives"),
    ):
        refused_eval(run, folder, 2, "plan-in-model", said, args=args)
    (folder / "c.yaml").write_text("version: 1\nactivations: {ema_decay: 0.5}\n", encoding="utf-8")
    refused_eval(run, folder, 2, "plan-in-model", "c.yaml:2", args=("-c", "c.yaml"))


def test_another_plan_than_that_in_the_model(run: Run, folder: Path, copied: Path, model: Path) -> None:
    assert run("plan", "model.meta", "-o", "plan.json", "--report-format", "md").status == 0
    done = run("eval", "ckpt-110", "-o", "out.pb", "--plan", "plan.json")
    assert done.status == 2 and ("[plan-mismatch]" in done.err or "[plan-conflict]" in done.err)


def test_the_provenance_is_damaged(run: Run, folder: Path, copied: Path) -> None:
    meta = MetaGraphDef.FromString(copied.with_suffix(".meta").read_bytes())
    (marker,) = (node for node in meta.graph_def.node if node.name == "fqrewrite/provenance")
    whole = marker.attr["value"].tensor.string_val[0]
    for content in (whole[:-40], whole.replace(b'"schema":2', b'"schema":1')):
        marker.attr["value"].tensor.string_val[0] = content
        copied.with_suffix(".meta").write_bytes(meta.SerializeToString())
        refused_eval(run, folder, 1, "provenance-unreadable", "fqrewrite")


def test_where_there_is_no_checkpoint(run: Run, folder: Path, copied: Path, write: Write) -> None:
    write("in.pb", NET)
    (folder / "empty").mkdir()
    done = run("eval", "in.pb", "--model", "ckpt-110.meta", "-o", "out.pb")
    refused(done, 2, "model-without-checkpoint", "in.pb")
    refused(run("eval", "empty", "-o", "out.pb"), 3, "is-a-directory", "empty")
    refused(run("warm-start", "in.pb", "ckpt-110.meta", "-o", "warm"), 3, "checkpoint-not-found", "in.pb")
    (folder / "empty" / "checkpoint").write_text('model_checkpoint_path: "gone-7"\n', encoding="utf-8")
    refused(run("eval", "empty", "-o", "out.pb"), 3, "checkpoint-not-found", "gone-7")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="permissions do not bind this user")
def test_an_unreadable_directory(run: Run, folder: Path, copied: Path) -> None:
    locked = folder / "locked"
    locked.mkdir(mode=0)
    try:
        refused(run("eval", "locked", "-o", "out.pb"), 3, "checkpoint-unreadable", "locked")
        refused(run("eval", "locked/ckpt", "-o", "out.pb"), 3, "checkpoint-unreadable", "locked")
    finally:
        locked.chmod(0o700)


def test_a_graph_without_provenance(run: Run, folder: Path, model: Path, model_eval: Path, write: Write) -> None:
    write("in.pb", NET)
    refused(run("show", "in.pb"), 1, "provenance-missing", "in.pb")
    done = run("warm-start", EXAMPLES / "model", "model.meta", "-o", "warm")
    refused(done, 1, "provenance-missing", "model.meta")
    assert run("eval", "model_eval.meta", "-o", "e.meta", "--report", "r.json", "-q").status == 0
    refused(run("warm-start", EXAMPLES / "model", "e.meta", "-o", "warm"), 1, "provenance-missing", "an eval graph")
    for name in ("e.meta", "r.json", "model_eval.meta"):
        (folder / name).unlink()
    assert sorted(path.name for path in folder.iterdir()) == ["in.pb", "model.meta"]


def test_variables_without_a_file_to_go_to(run: Run, folder: Path, copied: Path) -> None:
    refused_eval(run, folder, 2, "output-without-variables", "out.pb", ".meta", args=("--no-freeze",))


def test_outputs_that_are_inputs(run: Run, folder: Path, copied: Path) -> None:
    before = {path: path.read_bytes() for path in folder.iterdir()}
    for args in (("-o", "ckpt-110.meta"), ("-o", "out.pb", "--report", "ckpt-110.index")):
        refused(run("eval", "ckpt-110", *args), 2, "output-is-input")
    refused(run("eval", "ckpt-110", "-o", "ckpt-110.meta", "--no-freeze"), 2, "output-is-input")
    refused(run("warm-start", "ckpt-110", "ckpt-110.meta", "-o", "ckpt-110"), 2, "output-is-input")
    refused(run("warm-start", EXAMPLES / "model", "ckpt-110", "-o", "ckpt-110"), 2, "output-is-input")
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_outputs_that_belong_to_the_checkpoint(trained: Any, run: Run, folder: Path, copied: Path) -> None:
    """What `--model` puts in the place of its graph is its own still; so is the note of which is the latest."""
    shutil.copy(trained.checkpoints / "checkpoint", folder)
    before = {path: path.read_bytes() for path in folder.iterdir()}
    refused(run("eval", "ckpt-110", "--model", trained.train, "-o", "ckpt-110.meta"), 2, "output-is-input")
    refused(run("eval", ".", "-o", "out.pb", "--report", "checkpoint"), 2, "output-is-input", "checkpoint")
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_a_saved_model_that_holds_the_checkpoint(trained: Any, run: Run, folder: Path) -> None:
    variables = folder / "export" / "variables"
    variables.mkdir(parents=True)
    for path in trained.checkpoints.glob("ckpt-110.[id]*"):
        shutil.copy(path, variables / path.name.replace("ckpt-110", "variables"))
    done = run("eval", variables / "variables", "--model", trained.train, "-o", "export")
    refused(done, 2, "output-is-input", "a directory that holds the input")
    assert sorted(path.name.partition(".")[2][:4] for path in variables.iterdir()) == ["data", "inde"]


def test_a_saved_model_without_values_for_its_variables(trained: Any, run: Run, folder: Path) -> None:
    refused(run("eval", trained.train, "-o", "export"), 2, "output-without-variables", "no checkpoint is given")
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    ("report", "status", "code"),
    [("absent/report.json", 3, "output-unwritable"), ("export/report.json", 2, "outputs-not-distinct")],
)
def test_a_saved_model_whose_report_has_no_place(
    run: Run, folder: Path, copied: Path, report: str, status: int, code: str
) -> None:
    before = sorted(folder.iterdir())
    refused(run("eval", "ckpt-110", "-o", "export", "--report", report), status, code, report)
    assert sorted(folder.iterdir()) == before


def test_a_float_graph_for_a_checkpoint_that_knows_its_own(run: Run, folder: Path, copied: Path) -> None:
    done = run("eval", "ckpt-110", "--model", EXAMPLES / "model.meta", "-o", "out.pb")
    refused(done, 2, "model-not-of-checkpoint", "says how it was trained")
    assert not (folder / "out.pb").exists()


def test_a_directory_that_holds_other_things(run: Run, folder: Path, copied: Path) -> None:
    (folder / "export").mkdir()
    (folder / "export" / "notes.txt").write_text("mine\n", encoding="utf-8")
    refused(run("eval", "ckpt-110", "-o", "export"), 2, "output-exists", "export")
    assert [path.name for path in (folder / "export").iterdir()] == ["notes.txt"]
    assert not (folder / "export.report.json").exists()
