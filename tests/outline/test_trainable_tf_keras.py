"""Trainable SavedModels of what Keras 2 saves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy
import pytest
import tensorflow as tf
from outlining import examples, fit, make_trainable, ranges, read_meta_graph

from fqrewrite.outline import Outlined

tf_keras = pytest.importorskip("tf_keras")
pytestmark = [pytest.mark.heavy, pytest.mark.usefixtures("tensorflow_2")]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Outlined]:
    directory = tmp_path_factory.mktemp("keras2")
    tf_keras.utils.set_random_seed(1)
    model = tf_keras.Sequential(
        [
            tf_keras.Input((8, 8, 1)),
            tf_keras.layers.Conv2D(4, 3, activation="swish"),
            tf_keras.layers.BatchNormalization(),
            tf_keras.layers.ReLU(max_value=6),
            tf_keras.layers.GlobalAveragePooling2D(),
            tf_keras.layers.Dense(3),
        ]
    )
    model.compile("adam", "mse")
    images, labels = examples()
    model.fit(images, numpy.eye(3)[labels], verbose=0)  # with an optimizer and its slots
    model.save(str(directory / "float"), save_format="tf")
    return directory, make_trainable(directory / "float", directory / "trainable")


def test_signature_and_calls_are_quantized(saved: tuple[Path, Outlined]) -> None:
    directory, _ = saved
    images, _ = examples()
    old, new = (tf.saved_model.load(str(directory / name)) for name in ("float", "trainable"))
    expected = old.signatures["serving_default"](input_1=images)["dense"].numpy()
    for output in (
        new.signatures["serving_default"](input_1=images)["dense"],
        new(images),
        new(images, training=False),
        new.call_and_return_all_conditional_losses(images, training=False)[0]
        if hasattr(new, "call_and_return_all_conditional_losses")
        else new(images),
    ):
        assert 0 < abs(output.numpy() - expected).max() < 0.1 * abs(expected).max()


def test_float_training_mode_is_gone(saved: tuple[Path, Outlined]) -> None:
    directory, outlined = saved
    removed = [note.text for note in outlined.notes if note.code == "float-function-removed"]
    assert any(text.startswith("__call__") for text in removed)
    loaded = tf.saved_model.load(str(directory / "trainable"))
    with pytest.raises(ValueError, match="Could not find matching concrete function"):
        loaded(examples()[0], training=True)


def test_training(saved: tuple[Path, Outlined], tmp_path: Path) -> None:
    directory, _ = saved
    loaded = tf.saved_model.load(str(directory / "trainable"))
    assert len(loaded.trainable_variables) == 6
    assert len(loaded.variables) == 8 + len(ranges(loaded))
    assert len(loaded.non_trainable_variables) == 2 + len(ranges(loaded))
    images, labels = examples()
    losses = fit(loaded, images, labels)
    assert losses[-1] < losses[0]
    tf.saved_model.save(loaded, str(tmp_path / "again"))
    again = tf.saved_model.load(str(tmp_path / "again"))
    numpy.testing.assert_allclose(again(images), loaded(images), rtol=1e-5, atol=1e-6)


def test_keras_does_not_make_the_float_model_again(saved: tuple[Path, Outlined]) -> None:
    directory, outlined = saved
    assert not (directory / "trainable" / "keras_metadata.pb").exists()
    objects = read_meta_graph(directory / "trainable").object_graph_def
    assert not [node for node in objects.nodes if node.user_object.identifier.startswith("_tf_keras_")]
    assert [note.code for note in outlined.notes].count("keras-not-revived") == 1
    images, _ = examples()
    loaded: Any = tf_keras.models.load_model(str(directory / "trainable"))
    assert not isinstance(loaded, tf_keras.Model)
    assert loaded(images).shape == (16, 3)
