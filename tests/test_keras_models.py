"""Models as Keras saves them, from plan to a TFLite model without float operations but those announced."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import tensorflow as tf

from fqrewrite import api
from fqrewrite.check.records import CheckReport
from fqrewrite.check.targets import TARGETS
from fqrewrite.config.resolve import resolve
from fqrewrite.plans.items import Plan
from fqrewrite.source.open import open_source
from fqrewrite.verbs.calibrate import Choice, calibrate
from fqrewrite.verbs.check import Conditions, check_model, open_checked

pytestmark = [pytest.mark.heavy, pytest.mark.usefixtures("tensorflow_2")]
INT8 = {"preset": "tflite-int8"}
_LAYERS = {"Conv2D": 1, "DepthwiseConv2D": 1, "Dense": 1, "SeparableConv2D": 2}


class Made(NamedTuple):
    """A model.

    Attributes:
        directory: where it is saved.
        layers: how many convolutions, depthwise convolutions and dense layers its Keras layers are.
        batch_norms: how many batch norms are among them.
        inputs: samples.
    """

    directory: Path
    layers: int
    batch_norms: int
    inputs: Any


def _parts(model: Any) -> Iterator[Any]:
    """The Keras layers of a model, also those of models and layers in it."""
    yield from model._flatten_layers(include_self=False)


def _save(model: Any, keras: Any, folder: Path, inputs: Any) -> Made:
    """Saves as users of each Keras do."""
    if keras.__name__ == "keras":
        model.export(str(folder / "model"), verbose=False)
    else:
        tf.saved_model.save(model, str(folder / "model"))
    kinds = [type(layer).__name__ for layer in _parts(model)]
    layers = sum(_LAYERS.get(kind, 0) for kind in kinds)
    return Made(folder / "model", layers, kinds.count("BatchNormalization"), inputs)


def _pictures(low: float = -1.0, high: float = 1.0, size: int = 96) -> Any:
    return np.random.RandomState(0).uniform(low, high, (4, size, size, 3)).astype(np.float32)


def _application(name: str, low: float = -1.0, high: float = 1.0) -> Callable[[Any, Path], Made]:
    def build(keras: Any, folder: Path) -> Made:
        model = getattr(keras.applications, name)(weights=None, input_shape=(96, 96, 3), classes=10)
        return _save(model, keras, folder, _pictures(low, high))

    return build


def _subclassed(keras: Any, folder: Path) -> Made:
    layers = keras.layers

    class Model(keras.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.conv = layers.Conv2D(4, 3)
            self.norm = layers.BatchNormalization()
            self.separable = layers.SeparableConv2D(8, 3, activation="relu")
            self.dense = layers.Dense(3)

        def call(self, x: Any, training: bool = False) -> Any:
            x = tf.nn.swish(self.norm(self.conv(x), training=training))
            return self.dense(tf.reduce_mean(self.separable(x), [1, 2]))

    model = Model()
    model(tf.zeros((1, 12, 12, 3)))
    return _save(model, keras, folder, _pictures(size=12))


def _nested(keras: Any, folder: Path) -> Made:
    layers = keras.layers
    inner = keras.Sequential(
        [
            keras.Input((8, 8, 4)),
            layers.Conv2D(8, 3, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(6.0),
        ]
    )
    outer = [
        keras.Input((16, 16, 3)),
        layers.Rescaling(1 / 255.0, offset=-0.5),
        layers.Conv2D(4, 3, strides=2, padding="same", activation="relu"),
        inner,
        layers.GlobalAveragePooling2D(),
        layers.Dense(3),
    ]
    return _save(keras.Sequential(outer), keras, folder, _pictures(0.0, 255.0, 16))


@pytest.fixture(params=["keras", "tf_keras"])
def keras(request: pytest.FixtureRequest) -> Any:
    return pytest.importorskip(request.param)


def _ranges(made: Made, folder: Path) -> Path:
    data, file = folder / "data.npy", folder / "ranges.json"
    np.save(data, made.inputs)
    config = resolve(None, preset="tflite-int8")
    source = open_source(made.directory)
    found = calibrate(source, config, str(data), Choice(), batch_size=4, progress=lambda done, count: None)
    file.write_text(json.dumps({"version": 1, "ranges": found.ranges}), encoding="utf-8")
    return file


def _converted(made: Made, folder: Path) -> CheckReport:
    """The report of `fqrewrite check --convert` on the eval graph."""
    result = api.evaluate(api.load(made.directory), INT8, ranges=_ranges(made, folder))
    path = folder / "eval"
    api.save(result, path)
    report, model = check_model(open_checked(path), TARGETS["tflite-int8"], path, Conditions(samples=2))
    assert model is not None, report.conversion
    return report


MODELS = {
    "MobileNetV2": _application("MobileNetV2"),
    "ResNet50": _application("ResNet50"),
    "MobileNetV3Small": _application("MobileNetV3Small", 0.0, 255.0),
    "EfficientNetB0": _application("EfficientNetB0", 0.0, 255.0),
    "subclassed": _subclassed,
    "nested": _nested,
}


def _quantized(plan: Plan) -> set[str]:
    """The layers whose weights are quantized."""
    edges = [edge for item in plan.quantizers if item.role == "weights" for edge in item.edges or ()]
    return {edge.rpartition(":in")[0] for edge in edges}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("preset", ["contrib", "tflite-int8"])
def test_the_plan_finds_every_layer(keras: Any, name: str, preset: str, tmp_path: Path) -> None:
    made = MODELS[name](keras, tmp_path)
    plan = api.plan(api.load(made.directory), preset=preset).plan
    quantized = {
        edge.rpartition(":in")[0] for item in plan.quantizers for edge in item.edges or () if item.role == "weights"
    }
    assert len(quantized) == plan.layers == made.layers > 0
    assert len(plan.folds) == made.batch_norms
    assert not [entry for entry in plan.left_out if entry.kind != "tensor"]
    assert all(item.function for item in plan.folds)


@pytest.mark.parametrize("name", MODELS)
def test_eval_converts_to_integers_alone(keras: Any, name: str, tmp_path: Path) -> None:
    report = _converted(MODELS[name](keras, tmp_path), tmp_path)
    assert report.static.prediction == "integer"
    assert report.conversion is not None
    assert report.conversion.islands == ()
    # Integer kernels round otherwise than float ones, and by as much from each other; see README.
    assert all(output.max_error <= 20 for output in report.conversion.outputs)


def _lstm(keras: Any, folder: Path, **options: Any) -> Made:
    """A classifier of sequences; TFLite takes an LSTM only where the size of the batch is known."""
    layers = keras.layers
    tokens = keras.Input((6,), batch_size=1, dtype="int32")
    x = layers.LSTM(8, **options)(layers.Embedding(50, 8)(tokens))
    model = keras.Model(tokens, layers.Dense(3, activation="softmax")(x))
    return _save(model, keras, folder, np.random.RandomState(0).randint(0, 50, (4, 6)).astype(np.int32))


def test_an_lstm_stays_what_the_converter_fuses(tmp_path: Path) -> None:
    """tf_keras marks the function of an LSTM; it stays a call, and its float operation is announced."""
    made = _lstm(pytest.importorskip("tf_keras"), tmp_path)
    plan = api.plan(api.load(made.directory), INT8).plan
    assert [layer.rpartition("/")[2] for layer in _quantized(plan)] == ["MatMul"]
    left = [entry for entry in plan.left_out if entry.kind == "layer"]
    assert {(entry.op, entry.code) for entry in left} == {("MatMul", "inside-function")}
    assert all("/PartitionedCall (PartitionedCall)" in entry.reason for entry in left)
    report = _converted(made, tmp_path)
    assert report.conversion is not None
    assert {island.op for island in report.conversion.islands} == {"GATHER", "UNIDIRECTIONAL_SEQUENCE_LSTM"}
    announced = {finding.name.rpartition("/")[2] for finding in report.static.findings}
    assert {"PartitionedCall", "embedding_lookup:0"} <= announced


def test_a_loop_is_frozen_and_its_layers_are_listed(tmp_path: Path) -> None:
    """The LSTM of Keras 3 is a loop, which TFLite does not take of an unknown batch size; the graph is sound."""
    made = _lstm(pytest.importorskip("keras"), tmp_path)
    plan = api.plan(api.load(made.directory), INT8).plan
    inside = [entry for entry in plan.left_out if entry.code == "inside-function"]
    assert len(inside) == 2
    assert all("(While)" in entry.reason and "while_body" in entry.function for entry in inside)
    result = api.evaluate(api.load(made.directory), INT8, ranges=_ranges(made, tmp_path))
    api.save(result, tmp_path / "eval")
    served, float_ = (_serve(path, made.inputs) for path in (tmp_path / "eval", made.directory))
    np.testing.assert_allclose(served, float_, atol=0.02)


def test_an_unrolled_lstm_is_quantized(tmp_path: Path) -> None:
    made = _lstm(pytest.importorskip("keras"), tmp_path, unroll=True)
    plan = api.plan(api.load(made.directory), INT8).plan
    assert plan.layers == len(_quantized(plan)) >= 12
    report = _converted(made, tmp_path)
    assert report.conversion is not None
    announced = {finding.op for finding in report.static.findings}
    assert {island.op for island in report.conversion.islands if not island.predicted} <= {"GATHER"}
    assert announced <= {"GatherV2", "Fill"}


def _serve(directory: Path, inputs: Any) -> Any:
    signature = tf.saved_model.load(str(directory)).signatures["serving_default"]
    (name,) = signature.structured_input_signature[1]
    (output,) = signature(**{name: tf.constant(inputs)}).values()
    return output.numpy()
