"""What each target refuses, and that its own preset is not refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from fqrewrite.config import presets
from fqrewrite.config.resolve import resolve
from fqrewrite.errors import ConfigError


def config_file(folder: Path, text: str) -> Path:
    file = folder / "c.yaml"
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize("name", [name for name in presets.names() if name != "contrib"])
def test_a_preset_is_what_its_target_runs(name: str) -> None:
    config = resolve(None, preset=name)
    assert (config.target, config.placement) == (name, "integer")


@pytest.mark.parametrize(
    ("preset", "text", "place"),
    [
        ("tflite-int8", "weights: {bits: 5}\n", "c.yaml:2: weights.bits"),
        ("tflite-int8", "weights: {symmetric: false}\n", "c.yaml:2: weights.symmetric"),
        ("tflite-int8", "weights: {narrow_range: false}\n", "c.yaml:2: weights.narrow_range"),
        ("tflite-int8", "activations: {bits: 4}\n", "c.yaml:2: activations.bits"),
        ("tflite-int8", "rules: [{match: a, weights: {bits: 3}}]\n", "c.yaml:2: weights.bits"),
        (
            "tflite-int8",
            "rules: [{match: {op: MatMul}, weights: {granularity: per_channel}}]\n",
            "c.yaml:2: weights.granularity",
        ),
        ("tflite-uint8", "weights: {granularity: per_channel}\n", "c.yaml:2: weights.granularity"),
        ("tflite-uint8", "weights: {bits: 4}\n", "c.yaml:2: weights.bits"),
        ("openvino", "activations: {bits: 7}\n", "c.yaml:2: activations.bits"),
        ("openvino", "weights: {symmetric: false}\n", "c.yaml:2: weights.symmetric"),
        ("openvino", "weights: {bits: 4}\n", "c.yaml:2: weights.bits"),
        ("onnx-qdq", "weights: {narrow_range: true}\n", "c.yaml:2: weights.narrow_range"),
        ("onnx-qdq", "weights: {bits: 5}\n", "c.yaml:2: weights.bits"),
        ("onnx-qdq", "weights: {symmetric: true}\n", "c.yaml:2: weights.symmetric"),
        ("onnx-qdq", "weights: {granularity: per_channel}\n", "c.yaml:2: weights.granularity"),
        ("onnx-qdq", "activations: {symmetric: true}\n", "c.yaml:2: activations.symmetric"),
    ],
)
def test_refuses(tmp_path: Path, preset: str, text: str, place: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(config_file(tmp_path, f"preset: {preset}\n{text}"))
    assert caught.value.code == "target-cannot-run"
    assert place in str(caught.value)
    assert preset in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "weights: {bits: 4}\n",
        "weights: {granularity: per_tensor}\n",
        "activations: {symmetric: true}\n",
        "rules: [{match: {op: Conv2D}, weights: {granularity: per_channel}}]\n",
        # who runs the result is the user's business
        "target: null\nweights: {bits: 5}\n",
    ],
)
def test_takes(tmp_path: Path, text: str) -> None:
    resolve(config_file(tmp_path, f"preset: tflite-int8\n{text}"))


def test_a_flag_is_named() -> None:
    with pytest.raises(ConfigError, match="--weight-bits"):
        resolve(None, preset="tflite-int8", weight_bits=6)
