"""SavedModels of TensorFlow 2 made trainable, for tests."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fqrewrite.config.resolve import resolve
from fqrewrite.model.container import load
from fqrewrite.outline import Outlined
from fqrewrite.proto import SavedModel
from fqrewrite.verbs.write_train import train_form, train_source, write_train

INT8 = {"preset": "tflite-int8"}


def read_meta_graph(directory: Path) -> Any:
    """The MetaGraphDef of the SavedModel in a directory."""
    return SavedModel.FromString((directory / "saved_model.pb").read_bytes()).meta_graphs[0]


def make_trainable(
    directory: Path, target: Path, signatures: Sequence[str] = (), config: dict[str, Any] = INT8, *, thaw: bool = False
) -> Outlined:
    """Writes the trainable SavedModel of the one in a directory, as `fqrewrite train` does."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder, "config.yaml")
        settings.write_text(json.dumps({"version": 1, **config}), encoding="utf-8")
        resolved = resolve(settings)
    model = load(directory, signatures=tuple(signatures))
    form = train_form(target, model)
    trained = train_source(model, resolved, form, plan=None, strip_training=False, thaw=thaw, allow_empty=False)
    assert trained.outlined is not None
    write_train(form, model, trained, (target.with_suffix(".report"), b""))
    return trained.outlined


def single(outputs: Any) -> Any:
    """The tensor that a model returns, alone or in a dictionary."""
    return next(iter(outputs.values())) if isinstance(outputs, dict) else outputs


def fit(model: Any, images: Any, labels: Any, steps: int = 50) -> list[float]:
    """Trains a loaded model with stochastic gradient descent; returns the losses."""
    import tensorflow as tf

    @tf.function  # type: ignore[untyped-decorator]
    def step() -> Any:
        with tf.GradientTape() as tape:
            logits = single(model(images))
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))
        gradients = tape.gradient(loss, model.trainable_variables)
        assert all(gradient is not None for gradient in gradients)
        for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
            variable.assign_sub(0.1 * gradient)
        return loss

    return [float(step()) for _ in range(steps)]


def ranges(model: Any) -> dict[str, Any]:
    """Values of the new variables by name."""
    return {name: value.numpy() for name, value in vars(model.fqrewrite).items() if hasattr(value, "numpy")}


def examples() -> tuple[Any, Any]:
    """float32[16, 8, 8, 1] images and int64[16] labels that they determine."""
    import numpy

    generator = numpy.random.default_rng(0)
    labels = numpy.arange(16) % 3
    images = generator.normal(size=(16, 8, 8, 1)) + labels[:, None, None, None]
    return images.astype(numpy.float32), labels
