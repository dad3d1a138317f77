"""A training script for TensorFlow 1.x, of which only the import changed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import ROOT
from numeric import tf1
from quantized_training import pictures, run_graph

from fqrewrite.cli import cli
from fqrewrite.model.container import load

SCRIPT = ROOT / "scripts" / "contrib_era_training.py"
# Name and shape of every variable in the checkpoint that the script wrote on TensorFlow 1.15.5, with contrib.
CONTRIB = json.loads(Path(__file__).with_name("contrib_era_variables.json").read_text(encoding="utf-8"))


@pytest.mark.heavy
def test_it_trains_and_converts_as_on_tensorflow_1(tmp_path: Path) -> None:
    """On TensorFlow 1.15.5 it ends at a loss of 0.18, with 0.90 of the pictures right, and 0.91 in integers."""
    words = [sys.executable, str(SCRIPT), str(tmp_path), "--steps", "300"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    # The first losses that contrib's graph gives; no quantizer is active yet.
    assert result["losses"][:3] == pytest.approx([2.7078147, 2.3770304, 2.2209198], rel=1e-5)
    assert result["accuracy"] > 0.85
    assert result["integer_accuracy"] == pytest.approx(result["accuracy"], abs=0.02)
    assert result["types"] == ["int32", "uint8"]
    checkpoint = tf1.train.latest_checkpoint(str(tmp_path))
    assert {name: list(shape) for name, shape in tf1.train.list_variables(checkpoint)} == CONTRIB
    # The graph beside the checkpoint tells of its making: the command line makes the same eval graph of it.
    cli.main(["eval", checkpoint, "-o", str(tmp_path / "eval.pb"), "-q"], standalone_mode=False)
    sample = load(tmp_path / "eval.pb").graph_def
    logits = run_graph(sample, "logits/act_quant/FakeQuantWithMinMaxVars:0", {"images:0": pictures(256)})
    np.testing.assert_allclose(logits, np.load(tmp_path / "logits.npy")[:256], atol=1e-6)
