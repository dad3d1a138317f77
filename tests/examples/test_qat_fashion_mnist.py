"""The example script's whole way, float checkpoint to integers, on the images that are shipped."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import ROOT

SCRIPT = ROOT / "scripts" / "qat_fashion_mnist.py"


def _figures(output: str) -> dict[str, list[float]]:
    """Rows of the printed table, by the bits of the weights: float, PTQ twice, QAT twice; percent."""
    cells = [line.strip("| ").split(" | ") for line in output.splitlines() if line.startswith("| ")]
    return {row[0]: [float(cell) for cell in row[1:]] for row in cells[1:]}


def _run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    words = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=900)


def test_float_checkpoint_to_integer_models(tmp_path: Path) -> None:
    done = _run("--quick", "--work", tmp_path)
    assert done.returncode == 0, done.stderr
    figures = _figures(done.stdout)
    assert set(figures) == {"8 bits", "4 bits"}
    for float_accuracy, ptq, ptq_integer, qat, qat_integer in figures.values():
        assert float_accuracy == pytest.approx(90.62, abs=0.01)
        # Kernels round differently: of 256 images a few may fall on the other side.
        assert ptq_integer == pytest.approx(ptq, abs=3)
        assert qat_integer == pytest.approx(qat, abs=3)
        # It was fine-tuned on these very images.
        assert qat_integer > ptq_integer
    assert figures["8 bits"][2] == pytest.approx(figures["8 bits"][0], abs=2)
    assert figures["4 bits"][4] - figures["4 bits"][2] > 3


def test_missing_data_set_is_one_message(tmp_path: Path) -> None:
    done = _run("--data", tmp_path)
    assert done.returncode == 1
    assert "dataset-fashion-mnist" in done.stderr
    assert "Traceback" not in done.stderr
