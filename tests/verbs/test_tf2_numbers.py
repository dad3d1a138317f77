"""Rewritten models of TensorFlow 2: without quantizers the float function, and in eval what training computed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.eager.context import eager_mode

from fqrewrite import api

FLOAT = {"preset": "tflite-int8", "quant_delay": 1_000_000_000}
# The ranges are those of the last batch, and the same batch gives the same ranges.
SETTLING = {"preset": "tflite-int8", "activations": {"ema_decay": 0.01}}
X = np.random.RandomState(0).normal(0.1, 1.0, (3, 4, 4)).astype(np.float32)
IMAGE = np.random.RandomState(1).normal(0.1, 1.0, (2, 4, 4, 4)).astype(np.float32)

# What a layer's output channels are along the last axis of its output: the last axis of its weights, the one before it,
# or none. The weights are square, so that no shape tells.
LAYERS: dict[str, tuple[bool, Callable[[Any, Any, Any], Any]]] = {
    "last": (True, lambda x, image, w: tf.einsum("abc,cd->abd", x, w)),
    "before_last": (True, lambda x, image, w: tf.einsum("abc,dc->abd", x, w)),
    "from_the_left": (True, lambda x, image, w: tf.einsum("dc,abc->abd", w, x)),
    "not_last": (False, lambda x, image, w: tf.einsum("abc,cd->adb", x, w)),
    "product": (True, lambda x, image, w: tf.matmul(x, w[None])),
    "transposed_product": (True, lambda x, image, w: tf.matmul(x, w[None], transpose_b=True)),
    "left_product": (False, lambda x, image, w: tf.matmul(w[None], x)),
    "left_matmul": (False, lambda x, image, w: tf.matmul(w, x[0])),
    "transposed": (True, lambda x, image, w: tf.nn.conv2d_transpose(image, w[None, None], [2, 8, 8, 4], 2)),
}


@pytest.fixture(scope="module", autouse=True)
def _eager() -> Iterator[None]:
    """TensorFlow 2 as its users have it; other tests switch the whole process over to graphs."""
    with eager_mode():
        yield


class Normalised(tf.Module):  # type: ignore[misc]
    """Each layer with weights and a batch norm of its own."""

    def __init__(self) -> None:
        super().__init__()
        random = np.random.RandomState(2)
        self.weights = {name: tf.Variable(random.normal(size=(4, 4)).astype(np.float32), name=name) for name in LAYERS}
        self.norms = {
            name: [tf.Variable(random.uniform(0.3, 1.5, 4).astype(np.float32)) for _ in range(4)] for name in LAYERS
        }

    @tf.function(input_signature=[tf.TensorSpec(X.shape, name="x"), tf.TensorSpec(IMAGE.shape, name="image")])  # type: ignore[untyped-decorator]
    def call(self, x: Any, image: Any) -> Any:
        found = {}
        for name, (_, layer) in LAYERS.items():
            gamma, beta, mean, variance = self.norms[name]
            y = layer(x, image, self.weights[name])
            with tf.name_scope(name):
                found[name] = tf.nn.relu(tf.nn.batch_normalization(y, mean, variance, beta, gamma, 1e-3))
        return found


def test_batch_norms_are_folded_along_the_right_axis(tmp_path: Path) -> None:
    net = Normalised()
    tf.saved_model.save(net, str(tmp_path / "float"), signatures=net.call)
    trained = api.train(api.load(tmp_path / "float"), FLOAT)
    api.save(trained, tmp_path / "train")
    folded = {item.norm.partition("/")[0] for item in trained.plan.folds}
    assert folded == {name for name, (folds, _) in LAYERS.items() if folds}
    before, after = (
        tf.saved_model.load(str(tmp_path / name)).signatures["serving_default"](
            x=tf.constant(X), image=tf.constant(IMAGE)
        )
        for name in ("float", "train")
    )
    for name in LAYERS:
        np.testing.assert_allclose(after[name], before[name], rtol=1e-5, atol=1e-5, err_msg=name)


class Words(tf.Module):  # type: ignore[misc]
    """A table of a file, and a layer in a loop."""

    def __init__(self, vocabulary: Path) -> None:
        super().__init__()
        random = np.random.RandomState(3)
        file = tf.lookup.TextFileInitializer(
            str(vocabulary),
            tf.string,
            tf.lookup.TextFileIndex.WHOLE_LINE,
            tf.int64,
            tf.lookup.TextFileIndex.LINE_NUMBER,
        )
        self.table = tf.lookup.StaticHashTable(file, 3)
        self.embedding, self.inner, self.outer = (
            tf.Variable(random.normal(size=(4, 4)).astype(np.float32), name=name)
            for name in ("embedding", "inner", "outer")
        )

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="word")])  # type: ignore[untyped-decorator]
    def call(self, word: Any) -> Any:
        y = tf.gather(self.embedding, self.table.lookup(word))
        _, y = tf.while_loop(lambda i, y: i < 2, lambda i, y: (i + 1, tf.nn.relu(tf.matmul(y, self.inner))), (0, y))
        return {"scores": tf.matmul(y, self.outer)}


def _scores(model: Any) -> Any:
    return model.signatures["serving_default"](word=tf.constant(["a", "b", "c", "d"]))["scores"].numpy()


def test_a_model_that_tensorflow_saved_again_is_evaluated(tmp_path: Path) -> None:
    """Saved again, the loop's functions have other names, and the table is made by functions of functions."""
    (tmp_path / "words.txt").write_text("a\nb\nc\n", encoding="utf-8")
    net = Words(tmp_path / "words.txt")
    tf.saved_model.save(net, str(tmp_path / "float"), signatures=net.call)
    api.save(api.train(api.load(tmp_path / "float"), SETTLING), tmp_path / "train")
    model = tf.saved_model.load(str(tmp_path / "train"))
    for _ in range(6):
        expected = _scores(model)
    assert len(np.unique(expected, axis=0)) == 4
    tf.saved_model.save(model, str(tmp_path / "again"), signatures=dict(model.signatures))
    tf.train.Checkpoint(model=model).write(str(tmp_path / "ckpt"))
    for name, graph in (("again", None), ("ckpt", tmp_path / "train")):
        api.save(api.evaluate(api.load(tmp_path / name, graph=graph)), tmp_path / f"eval_{name}")
        found = _scores(tf.saved_model.load(str(tmp_path / f"eval_{name}")))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
