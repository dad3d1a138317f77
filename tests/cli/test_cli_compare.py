"""Comparing a float model with its eval graph, tensor by tensor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from calibration import CHECKPOINT, EVAL_GRAPH, FLOAT_LOGITS, fqrewrite, write_pictures
from command_line import Run, Write, refused, write_in
from quantized_training import pictures, run_checkpoint, run_graph

from fqrewrite.errors import FqrewriteError
from fqrewrite.proto import GraphDef

LOGITS = "logits/act_quant/FakeQuantWithMinMaxVars:0"
"""What the eval graph of the shipped model gives with preset contrib."""

MODEL = (CHECKPOINT, "--model", EVAL_GRAPH)


def compared(capsys: pytest.CaptureFixture[str], *args: str | Path) -> dict[str, Any]:
    capsys.readouterr()
    fqrewrite("compare", *args, "--json")
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def failure(*args: str | Path) -> FqrewriteError:
    with pytest.raises(FqrewriteError) as caught:
        fqrewrite("compare", *args)
    return caught.value


def quantized(folder: Path, *options: str, method: str = "mse") -> tuple[Path, Path]:
    """The data that the shipped model was calibrated on, and its eval graph."""
    data = write_pictures(folder / "d.npz")
    options = options or ("--preset", "contrib")
    fqrewrite("calibrate", *MODEL, *options, "--data", data, "-o", folder / "r.json", "--method", method, "-q")
    fqrewrite("eval", *MODEL, *options, "--ranges", folder / "r.json", "-o", folder / "e.pb", "-q")
    return data, folder / "e.pb"


def test_every_quantized_tensor_worst_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, graph = quantized(tmp_path)
    found = compared(capsys, *MODEL[:1], graph, *MODEL[1:], "--data", data)
    assert found["samples"] == 64 and found["missing"] == []
    report = json.loads((tmp_path / "e.pb.report.json").read_text(encoding="utf-8"))
    assert {entry["quantized"].rpartition(":")[0] for entry in found["tensors"]} == {
        item["node"] for item in report["inserted"]
    }
    ratios = [entry["noise"]["sqnr_db"] for entry in found["tensors"]]
    assert ratios == sorted(ratios) and ratios[0] > 10 and ratios[-1] < 60
    kinds = [entry["kind"] for entry in found["tensors"]]
    assert kinds.count("output") == 1 and kinds.count("weights") == kinds.count("activation") - 1
    for entry in found["tensors"]:
        assert (entry["own"] is None) == (entry["kind"] == "weights")
        if entry["own"]:
            assert entry["own"]["sqnr_db"] > entry["noise"]["sqnr_db"] - 1


def test_the_numbers_of_the_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, graph = quantized(tmp_path)
    found = compared(capsys, *MODEL[:1], graph, *MODEL[1:], "--data", data)
    (output,) = (entry for entry in found["tensors"] if entry["kind"] == "output")
    assert (output["tensor"], output["quantized"], output["layer"]) == (FLOAT_LOGITS, LOGITS, "logits/MatMul")
    feed = {"images:0": pictures()}
    wanted = run_checkpoint(EVAL_GRAPH, CHECKPOINT, FLOAT_LOGITS, feed).astype(np.float64)
    error = run_graph(GraphDef.FromString(graph.read_bytes()), LOGITS, feed) - wanted
    assert output["noise"]["sqnr_db"] == pytest.approx(10 * np.log10((wanted**2).sum() / (error**2).sum()), abs=0.05)
    assert output["noise"]["max_error"] == pytest.approx(np.abs(error).max(), rel=0.02)
    assert output["noise"]["mean_error"] == pytest.approx(np.abs(error).mean(), rel=0.02)


def test_the_layer_with_few_bits_stands_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "c.yaml"
    rules = 'rules:\n  - match: "conv0/*"\n    activations: {bits: 3}\n    weights: {bits: 4}\n'
    text = f"version: 1\npreset: contrib\n{rules}"
    config.write_text(text, encoding="utf-8")
    data, graph = quantized(tmp_path, "-c", str(config))
    found = compared(capsys, *MODEL[:1], graph, *MODEL[1:], "--data", data)
    own = {entry["tensor"]: entry["own"]["sqnr_db"] for entry in found["tensors"] if entry["own"]}
    assert min(own, key=lambda tensor: own[tensor]) == "conv0/Relu6:0"
    weights = [entry for entry in found["tensors"] if entry["kind"] == "weights"]
    assert (weights[0]["layer"], weights[0]["bits"]) == ("conv0/Conv2D", 4)


def test_a_trained_checkpoint(trained: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A is the training graph's source with the trained weights, so that only quantization differs."""
    data = write_pictures(tmp_path / "d.npz")
    found = compared(capsys, trained.latest, trained.frozen, "--data", data)
    (output,) = (entry for entry in found["tensors"] if entry["kind"] == "output")
    assert output["noise"]["sqnr_db"] > 15
    # The same with an eval graph that kept its variables; the quantizers' own part is not told apart then.
    fqrewrite("eval", trained.latest, "--no-freeze", "-o", tmp_path / "kept.meta", "-q")
    kept = compared(capsys, trained.latest, tmp_path / "kept", "--data", data)
    (same,) = (entry for entry in kept["tensors"] if entry["kind"] == "output")
    assert same["noise"]["sqnr_db"] == pytest.approx(output["noise"]["sqnr_db"], abs=0.05)


FLOAT_TAIL = """
x = Placeholder {shape: [?, 2]}
w = Const {value: [[1.0, -2.0], [3.0, 0.5]]}
dense/MatMul = MatMul(x, w)
dense/Relu = Relu(dense/MatMul)
y = Elu(dense/Relu)
"""


def test_the_table(run: Run, write: Write, folder: Path) -> None:
    write("net.pb", FLOAT_TAIL)
    np.savez(folder / "d.npz", x=np.random.RandomState(0).normal(size=(9, 2)).astype(np.float32))
    preset = ("--preset", "contrib")
    assert run("calibrate", "net.pb", *preset, "--data", "d.npz", "-o", "r.json", "-q").status == 0
    assert run("eval", "net.pb", *preset, "--ranges", "r.json", "-o", "e.pb", "-q").status == 0
    done = run("compare", "net.pb", "e.pb", "--data", "d.npz")
    assert done.status == 0 and done.err == ""
    title, header, *rows, _, worst = done.out.splitlines()
    assert title == "fqrewrite compare: net.pb, e.pb: 9 samples"
    assert header.split()[:2] == ["kind", "tensor"]
    assert sorted(row.split()[:2] for row in rows) == [
        ["activation", "dense/Relu:0"],
        ["output", "y:0"],
        ["weights", "w:0"],
    ]
    assert worst.startswith("worst by themselves: ") and "w:0" in worst
    assert any(row.split()[0] == "output" and row.rstrip().endswith("-") for row in rows)
    refused(run("compare", "e.pb", "e.pb", "--data", "d.npz"), 1, "already-rewritten")
    refused(run("compare", "net.pb", "net.pb", "--data", "d.npz"), 1, "provenance-missing")


def test_graphs_that_do_not_belong_together(trained: Any, tmp_path: Path) -> None:
    data = write_pictures(tmp_path / "d.npz")
    other = write_in(tmp_path, "net.pb", FLOAT_TAIL)
    assert failure(other, trained.frozen, "--data", data).code == "nothing-to-compare"
    assert failure(trained.latest, trained.train, "--data", data).code == "not-an-eval-graph"


def test_data_that_is_too_large_for_the_model(tmp_path: Path) -> None:
    net = write_in(tmp_path, "net.pb", FLOAT_TAIL)
    np.savez(tmp_path / "d.npz", x=np.ones((9, 2), np.float32))
    np.savez(tmp_path / "bad.npz", x=np.full((9, 2), 3e38, np.float32))
    ranges, graph, preset = tmp_path / "r.json", tmp_path / "e.pb", ("--preset", "contrib", "-q")
    fqrewrite("calibrate", net, *preset, "--data", tmp_path / "d.npz", "-o", ranges)
    fqrewrite("eval", net, *preset, "--ranges", ranges, "-o", graph)
    assert failure(net, graph, "--data", tmp_path / "bad.npz").code == "tensor-not-finite"
