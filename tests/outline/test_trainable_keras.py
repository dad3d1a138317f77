"""Trainable SavedModels of what Keras 3 exports."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import tensorflow as tf
from outlining import examples, fit, make_trainable, read_meta_graph, single

from fqrewrite.ir.functions import functions_of
from fqrewrite.outline.core import signature_of_core
from fqrewrite.outline.records import signature_call

pytestmark = pytest.mark.usefixtures("tensorflow_2")

Models = tuple[Any, Any]
keras = tf.keras


def _sequential() -> Any:
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(4, 3, activation="silu"),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(max_value=6),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3),
        ]
    )


def _nested() -> Any:
    """One model in another, called twice; several inputs, whose order is not that of their names, and outputs."""
    image, extra = keras.Input((8, 8, 1), name="zeta"), keras.Input((4,), name="alpha")
    inner = keras.Sequential(
        [
            keras.layers.Conv2D(4, 3, activation="silu"),
            keras.layers.DepthwiseConv2D(3, activation="relu6"),
            keras.layers.GlobalAveragePooling2D(),
        ]
    )
    hidden = keras.layers.Dense(4, activation="gelu")(inner(image))
    joined = keras.layers.Concatenate()([hidden, keras.layers.Dense(4)(extra), inner(image * 2.0)])
    return keras.Model([image, extra], [keras.layers.Dense(3)(joined), keras.layers.Dense(2)(hidden)])


class Subclassed(tf.keras.Model):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.conv = keras.layers.Conv2D(4, 3, activation="swish")
        self.norm = keras.layers.BatchNormalization()
        self.dense = keras.layers.Dense(3)

    def call(self, image: Any, training: bool = False) -> Any:
        hidden = self.norm(self.conv(image), training=training)
        return {"out": self.dense(keras.ops.mean(hidden, [1, 2]))}


def _subclassed() -> Any:
    model = Subclassed()
    model(tf.zeros([1, 8, 8, 1]))
    return model


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Callable[[], Any]], Path]:
    """Exports a model once and makes it trainable; gives the directory of both."""
    known: dict[Callable[[], Any], Path] = {}

    def export(build: Callable[[], Any]) -> Path:
        if build not in known:
            keras.utils.set_random_seed(1)
            known[build] = tmp_path_factory.mktemp("keras")
            build().export(str(known[build] / "float"), verbose=False)
            make_trainable(known[build] / "float", known[build] / "trainable")
        return known[build]

    return export


def _load(directory: Path) -> Models:
    return tf.saved_model.load(str(directory / "float")), tf.saved_model.load(str(directory / "trainable"))


def _inputs(signature: Any) -> dict[str, Any]:
    generator = numpy.random.default_rng(0)
    specs = signature.structured_input_signature[1]
    shapes = {name: [4 if size is None else size for size in spec.shape] for name, spec in sorted(specs.items())}
    return {name: tf.constant(generator.normal(size=shape), tf.float32) for name, shape in shapes.items()}


def _settled(signature: Any, inputs: dict[str, Any]) -> dict[str, Any]:
    """What a signature returns when ranges that depend on each other, as those of a concatenation, have met."""
    for _ in range(3):
        outputs: dict[str, Any] = signature(**inputs)
    return outputs


def _gradients(model: Any, signature: Any, inputs: dict[str, Any]) -> list[Any]:
    with tf.GradientTape() as tape:
        total = tf.add_n([tf.reduce_sum(output) for output in signature(**inputs).values()])
    gradients = tape.gradient(total, model.trainable_variables)
    assert all(gradient is not None for gradient in gradients)
    return [gradient.numpy() for gradient in gradients]


HEAVY = pytest.mark.heavy


@pytest.mark.parametrize(
    "build", [_sequential, pytest.param(_nested, marks=HEAVY), pytest.param(_subclassed, marks=HEAVY)]
)
def test_signature_numbers_and_gradients(export: Callable[[Callable[[], Any]], Path], build: Callable[[], Any]) -> None:
    old, new = _load(export(build))
    before, after = (model.signatures["serving_default"] for model in (old, new))
    assert before.structured_input_signature == after.structured_input_signature
    assert before.structured_outputs == after.structured_outputs
    inputs = _inputs(before)
    expected, found = before(**inputs), _settled(after, inputs)
    for name, output in expected.items():
        assert 0 < abs(output - found[name]).numpy().max() < 0.3 * abs(output).numpy().max() + 1e-3, name
    pairs = zip(_gradients(old, before, inputs), _gradients(new, after, inputs), strict=True)
    differences = [numpy.linalg.norm(one - other) / numpy.linalg.norm(one) for one, other in pairs]
    assert numpy.median(differences) < 0.3  # a single value may be clipped, and weigh much in its layer


@pytest.mark.heavy
@pytest.mark.parametrize("build", [_sequential, _subclassed])
def test_training(export: Callable[[Callable[[], Any]], Path], build: Callable[[], Any], tmp_path: Path) -> None:
    _, model = _load(export(build))
    images, labels = examples()
    losses = fit(model, images, labels)
    assert losses[-1] < losses[0]
    tf.saved_model.save(model, str(tmp_path / "again"))
    again = tf.saved_model.load(str(tmp_path / "again"))
    one, other = (single(entry.serve(images)) for entry in (model, again))
    numpy.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    assert fit(again, images, labels, steps=5)[-1] < losses[0]


@pytest.mark.heavy
def test_endpoint_runs_the_quantized_graph(export: Callable[[Callable[[], Any]], Path]) -> None:
    """Keras's `serve`, whose arguments are a list in the model's own order."""
    old, new = _load(export(_nested))
    inputs = _inputs(old.signatures["serving_default"])
    passed = [inputs["zeta"], inputs["alpha"]]
    _settled(new.signatures["serving_default"], inputs)
    expected, found = old.serve(passed), new.serve(passed)
    for one, other in zip(expected, found, strict=True):
        assert 0 < abs(one - other).numpy().max() < 0.3 * abs(one).numpy().max()
    # The signature's inputs one after the other, in the order of their names.
    called = new(inputs["alpha"], inputs["zeta"])
    assert sorted(called) == ["output_0", "output_1"]


@pytest.mark.heavy
def test_a_signature_that_computes_the_same_is_rewritten_along(export: Callable[[Callable[[], Any]], Path]) -> None:
    """Keras exports its endpoint as the signature `serve`, and once more as `serving_default`."""
    meta_graph = read_meta_graph(export(_nested) / "trainable")
    calls = [signature_call(meta_graph, key) for key in ("serve", "serving_default")]
    library = functions_of(meta_graph.graph_def)
    cores = [str(library[call.function].node_def[0].attr["f"].func.name) for call in calls]
    assert cores[0] == cores[1] and signature_of_core(library[cores[0]]) == "serving_default"
    old, new = _load(export(_nested))
    inputs = _inputs(old.signatures["serve"])
    expected, found = old.signatures["serve"](**inputs), _settled(new.signatures["serve"], inputs)
    assert list(expected) == list(found)
    for name, output in expected.items():
        assert 0 < abs(output - found[name]).numpy().max() < 0.3 * abs(output).numpy().max(), name


@pytest.mark.heavy
def test_gradients_that_the_model_defines_come_along(export: Callable[[Callable[[], Any]], Path]) -> None:
    """Keras's silu has one; each use in the rewritten function gets a gradient of its own."""
    meta_graph = read_meta_graph(export(_nested) / "trainable")
    library = meta_graph.graph_def.library
    (core,) = [function for function in library.function if function.signature.name.endswith("serving_default_0")]
    used = [node.attr["_gradient_op_type"].s.decode() for node in core.node_def if "_gradient_op_type" in node.attr]
    registered = {entry.registered_op_type: entry.gradient_func for entry in library.registered_gradients}
    assert len(used) == len(set(used)) == 2
    objects = meta_graph.object_graph_def
    for gradient_type in used:
        bound = objects.concrete_functions[registered[gradient_type]].bound_inputs
        captured = [objects.nodes[number].captured_tensor for number in bound]
        assert {entry.concrete_function for entry in captured} == {core.signature.name}
        names = {node.name for node in core.node_def}
        assert all(entry.name.partition(":")[0] in names for entry in captured)


def test_keras_layer_of_the_saved_model_trains(export: Callable[[Callable[[], Any]], Path]) -> None:
    """`keras.layers.TFSMLayer` takes the endpoint, and with it the new variables."""
    layer = keras.layers.TFSMLayer(str(export(_sequential) / "trainable"), call_endpoint="serve")
    images, _ = examples()
    assert layer(images).shape == (16, 3)
    assert len(layer.trainable_weights) == 6
