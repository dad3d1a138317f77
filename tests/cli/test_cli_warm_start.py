"""`warm-start`: what is in the checkpoint, and that training and eval take it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from command_line import EXAMPLES, Run
from quantized_training import LOGITS, pictures, run_checkpoint, values

from fqrewrite.proto import MetaGraphDef

EPSILON = 1e-3


def test_a_checkpoint_for_the_first_step(trained: Any) -> None:
    made, float_values = values(trained.warm), values(EXAMPLES / "model")
    meta = MetaGraphDef.FromString(trained.train.read_bytes())
    assert made.keys() == {node.name for node in meta.graph_def.node if node.op == "VarHandleOp"}
    for name, value in float_values.items():
        np.testing.assert_array_equal(made[name], value, err_msg=name)
    assert made["fake_quantization_step"] == 0 and made["fake_quantization_step"].dtype == np.int64
    weights = [name.removesuffix("/min") for name in made if name.endswith("weights_quant/min")]
    activations = [name.removesuffix("/min") for name in made if name.endswith("/min") and "weights" not in name]
    assert (len(weights), len(activations)) == (12, 16)
    for scope in activations:
        assert (made[f"{scope}/min"], made[f"{scope}/max"]) == (-6, 6), scope
        for end in ("min", "max"):
            assert made[f"{scope}/{scope}/{end}/local_step"] == 0
            assert made[f"{scope}/{scope}/{end}/biased"] == 0
    said = trained.warm_start.out
    assert "from the float model  57 variables\n" in said and "ranges of weights     12, from the weights\n" in said
    assert "ranges at their start 16 (the first training step sets them)" in said


def test_ranges_of_weights_are_those_of_the_folded_weights(trained: Any) -> None:
    made, saved = values(trained.warm), values(EXAMPLES / "model")
    for scope, weights in (("conv0", "conv0/weights"), ("block1/pointwise", "block1/pointwise/weights")):
        norm = f"{scope}/BatchNorm"
        gamma = saved[f"{norm}/gamma"] / np.sqrt(saved[f"{norm}/moving_variance"] + EPSILON)
        largest = np.abs(saved[weights] * gamma).max(axis=(0, 1, 2))
        got = [made[f"{scope}/weights_quant/{end}"] for end in ("min", "max")]
        np.testing.assert_allclose(got, [-largest, largest], rtol=1e-6)
    largest = np.abs(saved["logits/weights"]).max()
    assert made["logits/weights_quant/min"] == -largest and made["logits/weights_quant/max"] == largest


def test_known_ranges_of_activations(trained: Any, run: Run, folder: Path) -> None:
    (folder / "train.meta").write_bytes(trained.train.read_bytes())
    ranges = {"conv0/Relu6:0": [0, 5], "nose:0": [0, 1]}
    (folder / "ranges.json").write_text(json.dumps({"version": 1, "ranges": ranges}), encoding="utf-8")
    done = run("warm-start", EXAMPLES / "model.index", "train.meta", "-o", "warm", "--ranges", "ranges.json")
    assert (done.status, done.err) == (0, "")
    assert "ranges from file      1\n" in done.out and "range-unused" in done.out and "nose:0" in done.out
    made = values(folder / "warm")
    assert (made["conv0/Relu6/quant/min"], made["conv0/Relu6/quant/max"]) == (0, 5)
    # As after a thousand steps: the average behind the range is 1 - 0.999 ** 1000 of it.
    biased, step = (made[f"conv0/Relu6/quant/conv0/Relu6/quant/max/{name}"] for name in ("biased", "local_step"))
    np.testing.assert_allclose(biased / (1 - 0.999**step), 5, rtol=1e-3)
    assert step == 1000
    assert made["logits/BiasAdd/quant/logits/BiasAdd/quant/max/local_step"] == 0
    names = ["ranges.json", "train.meta", "warm.data-00000-of-00001", "warm.index"]
    assert sorted(path.name for path in folder.iterdir()) == names


def test_the_training_graph_computes_what_the_float_model_does(trained: Any) -> None:
    """With the ranges of the first batch, for which it is exact but for 8 bits."""
    feed = {"images:0": pictures()}
    float_logits = run_checkpoint(EXAMPLES / "model_eval.meta", EXAMPLES / "model", "logits/BiasAdd:0", feed)
    labels = {"labels:0": np.load(EXAMPLES / "sample.npz")["labels"][:64]}
    logits = run_checkpoint(trained.train, trained.warm, LOGITS, {**feed, **labels})
    assert np.isfinite(logits).all()
    # The training graph normalises with this batch's own statistics.
    assert np.mean(logits.argmax(axis=1) == float_logits.argmax(axis=1)) > 0.8


def test_a_warm_start_is_not_evaluated(trained: Any, run: Run, folder: Path) -> None:
    """Its activations have no ranges yet."""
    done = run("eval", trained.warm, "--model", trained.train, "-o", "out.pb")
    assert done.status == 1
    assert "[range-unknown]" in done.err and "conv0/Relu6:0" in done.err and "--ranges" in done.err
    assert not list(folder.iterdir())
