"""Trains the model in examples/fashion_mnist and writes it the way TF1-style projects have theirs.

    python scripts/train_fashion_mnist.py [--data DIR] [--out DIR] [--variables resource|ref]

writes into --out:

    model.meta        training graph: batch norms on batch statistics, loss, moving-average updates in
                      `update_ops`; no gradients, no optimizer, no saver, because a quantization rewrite
                      comes before `minimize`
    model_eval.meta   inference graph, the same variable names, signature `serving_default`: images -> logits
    model.index, model.data-00000-of-00001   the trained model variables, without optimizer slots
    sample.npz        the first 256 test images and labels, for tests that cannot install the data set

The net is a small MobileNet with two residual adds, one before an activation and one without. The seed fixes
data order and initial values, so one machine gives the same checkpoint twice.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any, Literal

# oneDNN's rewrites change numbers and can crash TF 2.21's CPU build; both must be set before the import.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import fashion_mnist
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

tf1 = tf.compat.v1

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "fashion_mnist"
BATCH = 128
LEARNING_RATE = 1e-2
# A model is trained for under 2,000 steps, too few for the usual 0.999.
MOVING_AVERAGE_DECAY = 0.9
EPSILON = 1e-3
SAMPLE_IMAGES = 256


class Net:
    """The layers, built into the default graph.

    Args:
        training: batch norms use batch statistics and put their moving-average updates into UPDATE_OPS.
        resource: resource variables (TensorFlow 2's kind) or reference variables (TensorFlow 1's).
    """

    def __init__(self, *, training: bool, resource: bool) -> None:
        self._training = training
        self._resource = resource

    def logits(self, images: Any) -> Any:
        """float32[N, 28, 28, 1] -> float32[N, 10], the tensor `logits/BiasAdd:0`."""
        x = self._conv("conv0", images, 16, kernel=3)
        x = self._separable("block1", x, 48, stride=2)
        x = self._separable("block2", x, 48, residual="relu6")
        x = self._separable("block3", x, 96, stride=2)
        x = self._separable("block4", x, 96, residual="linear")
        x = self._separable("block5", x, 128)
        x = tf.reduce_mean(x, axis=[1, 2], name="global_pool")
        with tf1.variable_scope("logits"):
            shape = [int(x.shape[-1]), fashion_mnist.CLASSES]
            weights = self._variable("weights", shape, tf1.glorot_uniform_initializer())
            biases = self._variable("biases", shape[1:], tf1.zeros_initializer())
            return tf.nn.bias_add(tf.matmul(x, weights, name="MatMul"), biases, name="BiasAdd")

    def _separable(
        self,
        scope: str,
        x: Any,
        channels: int,
        *,
        stride: int = 1,
        residual: Literal["relu6", "linear"] | None = None,
    ) -> Any:
        """Depthwise 3x3, pointwise 1x1; with `residual` the block's input is added, then "relu6" or not."""
        with tf1.variable_scope(scope):
            y = self._depthwise("depthwise", x, stride=stride)
            y = self._conv("pointwise", y, channels, kernel=1, activate=residual is None)
            if residual is not None:
                y = tf.add(x, y, name="add")
            return tf.nn.relu6(y, name="Relu6") if residual == "relu6" else y

    def _conv(self, scope: str, x: Any, channels: int, *, kernel: int, activate: bool = True) -> Any:
        with tf1.variable_scope(scope):
            shape = [kernel, kernel, int(x.shape[-1]), channels]
            weights = self._variable("weights", shape, _he_normal(kernel * kernel * shape[2]))
            y = tf.nn.conv2d(x, weights, strides=1, padding="SAME", name="Conv2D")
            y = self._batch_norm(y)
            return tf.nn.relu6(y, name="Relu6") if activate else y

    def _depthwise(self, scope: str, x: Any, *, stride: int) -> Any:
        with tf1.variable_scope(scope):
            weights = self._variable("depthwise_weights", [3, 3, int(x.shape[-1]), 1], _he_normal(9))
            strides = [1, stride, stride, 1]
            y = tf1.nn.depthwise_conv2d_native(x, weights, strides, padding="SAME", name="depthwise")
            return tf.nn.relu6(self._batch_norm(y), name="Relu6")

    def _batch_norm(self, x: Any) -> Any:
        """One FusedBatchNormV3 under `BatchNorm`, with the variables and updates of tf_slim's batch_norm."""
        with tf1.variable_scope("BatchNorm"):
            channels = [int(x.shape[-1])]
            gamma = self._variable("gamma", channels, tf1.ones_initializer())
            beta = self._variable("beta", channels, tf1.zeros_initializer())
            mean = self._variable("moving_mean", channels, tf1.zeros_initializer(), trainable=False)
            variance = self._variable("moving_variance", channels, tf1.ones_initializer(), trainable=False)
            if not self._training:
                y, _, _ = tf1.nn.fused_batch_norm(
                    x, gamma, beta, mean, variance, EPSILON, is_training=False, name="FusedBatchNormV3"
                )
                return y
            y, batch_mean, batch_variance = tf1.nn.fused_batch_norm(
                x, gamma, beta, epsilon=EPSILON, is_training=True, name="FusedBatchNormV3"
            )
            for moving, batch in ((mean, batch_mean), (variance, batch_variance)):
                tf1.add_to_collection(tf1.GraphKeys.UPDATE_OPS, self._assign_moving_average(moving, batch))
            return y

    def _assign_moving_average(self, moving: Any, value: Any) -> Any:
        """`moving -= (1 - decay) * (moving - value)`, with the node names of TensorFlow's own helper.

        Returns:
            The assigning op: `AssignMovingAvg/AssignSubVariableOp` (resource) or `AssignMovingAvg` (ref).
        """
        with tf1.name_scope("AssignMovingAvg") as scope, tf1.colocate_with(moving):
            rate = tf.constant(1.0 - MOVING_AVERAGE_DECAY, tf.float32, name="decay")
            delta = tf.multiply(tf.subtract(moving, value, name="sub"), rate, name="mul")
            if self._resource:
                return moving.assign_sub(delta, read_value=False)
            return tf1.assign_sub(moving, delta, name=scope).op

    def _variable(self, name: str, shape: list[int], initializer: Any, *, trainable: bool = True) -> Any:
        return tf1.get_variable(name, shape, tf.float32, initializer, trainable=trainable, use_resource=self._resource)


def _he_normal(fan_in: int) -> Any:
    return tf1.truncated_normal_initializer(stddev=(2.0 / fan_in) ** 0.5)


def build_training(*, resource: bool, seed: int) -> tuple[Any, Any]:
    """Builds the training graph into the default graph.

    Returns:
        `loss:0` and `accuracy:0`, float32 scalars; inputs are `images:0` and `labels:0`.
    """
    tf1.set_random_seed(seed)
    images = tf1.placeholder(tf.float32, [None, 28, 28, 1], name="images")
    labels = tf1.placeholder(tf.int64, [None], name="labels")
    logits = Net(training=True, resource=resource).logits(images)
    entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits, name="cross_entropy")
    loss = tf.reduce_mean(entropy, name="loss")
    tf1.add_to_collection(tf1.GraphKeys.LOSSES, loss)
    right = tf.equal(tf.argmax(logits, axis=1, name="prediction"), labels, name="right")
    return loss, tf.reduce_mean(tf.cast(right, tf.float32, name="right_float"), name="accuracy")


def training_meta_graph(*, resource: bool, seed: int) -> Any:
    """The training MetaGraphDef, built in a graph of its own so that no gradient or optimizer is in it."""
    with tf.Graph().as_default():
        build_training(resource=resource, seed=seed)
        return tf1.train.export_meta_graph()


def inference_meta_graph(*, resource: bool, seed: int) -> Any:
    """The inference MetaGraphDef: images -> logits and nothing else, with its signature."""
    with tf.Graph().as_default():
        tf1.set_random_seed(seed)
        images = tf1.placeholder(tf.float32, [None, 28, 28, 1], name="images")
        logits = Net(training=False, resource=resource).logits(images)
        meta_graph = tf1.train.export_meta_graph()
        signature = tf1.saved_model.predict_signature_def({"images": images}, {"logits": logits})
        meta_graph.signature_def["serving_default"].CopyFrom(signature)
        return meta_graph


def train(
    images: NDArray[np.float32],
    labels: NDArray[np.int64],
    checkpoint: Path,
    *,
    resource: bool,
    seed: int,
    epochs: int,
) -> None:
    """Trains with Adam, the rate falling to 0 on half a cosine, and saves the model variables."""
    shuffle = np.random.default_rng(seed)
    per_epoch = len(images) // BATCH
    with tf.Graph().as_default():
        loss, accuracy = build_training(resource=resource, seed=seed)
        # Before the optimizer adds its slots to the same collection.
        model_variables = tf1.global_variables()
        rate = tf1.placeholder(tf.float32, [], name="learning_rate")
        with tf.control_dependencies(tf1.get_collection(tf1.GraphKeys.UPDATE_OPS)):
            step = tf1.train.AdamOptimizer(rate).minimize(loss)
        saver = tf1.train.Saver(model_variables)
        with tf1.Session(config=_session_config()) as session:
            session.run(tf1.global_variables_initializer())
            for epoch in range(epochs):
                start = time.perf_counter()
                totals = np.zeros(2)
                order = shuffle.permutation(len(images))[: per_epoch * BATCH]
                for index, rows in enumerate(order.reshape(per_epoch, BATCH)):
                    done = (epoch * per_epoch + index) / (epochs * per_epoch)
                    feed = {
                        "images:0": images[rows],
                        "labels:0": labels[rows],
                        rate: LEARNING_RATE * 0.5 * (1 + np.cos(np.pi * done)),
                    }
                    totals += session.run([step, loss, accuracy], feed)[1:]
                mean_loss, mean_accuracy = totals / per_epoch
                seconds = time.perf_counter() - start
                print(
                    f"epoch {epoch + 1}/{epochs}: loss {mean_loss:.4f}, "
                    f"training accuracy {mean_accuracy:.4f}, {seconds:.0f} s",
                    flush=True,
                )
            saver.save(session, str(checkpoint), write_meta_graph=False, write_state=False)


def evaluate(meta_graph_path: Path, checkpoint: Path, images: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Test accuracy, 0 to 1, of an inference MetaGraphDef file with the variables of a checkpoint."""
    right = 0
    with tf.Graph().as_default(), tf1.Session(config=_session_config()) as session:
        tf1.train.import_meta_graph(str(meta_graph_path))
        tf1.train.Saver().restore(session, str(checkpoint))
        for start in range(0, len(images), 1000):
            logits = session.run("logits/BiasAdd:0", {"images:0": images[start : start + 1000]})
            right += int((logits.argmax(axis=1) == labels[start : start + 1000]).sum())
    return right / len(images)


def _session_config() -> Any:
    return tf1.ConfigProto(intra_op_parallelism_threads=2, inter_op_parallelism_threads=1)


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Train and export the Fashion-MNIST example model.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--data", type=Path, default=fashion_mnist.DEBIAN_FOLDER, help="the idx files")
    parser.add_argument("--out", type=Path, default=EXAMPLE, help="folder to write to")
    parser.add_argument("--variables", choices=["resource", "ref"], default="resource")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    tf1.logging.set_verbosity(tf1.logging.ERROR)
    try:
        train_images, train_labels = fashion_mnist.load("train", options.data)
        test_images, test_labels = fashion_mnist.load("test", options.data)
    except fashion_mnist.DataError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1

    resource = options.variables == "resource"
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    checkpoint = out / "model"
    for name, meta_graph in (
        ("model.meta", training_meta_graph(resource=resource, seed=options.seed)),
        ("model_eval.meta", inference_meta_graph(resource=resource, seed=options.seed)),
    ):
        # export_meta_graph's own writer leaves the order of map entries open.
        (out / name).write_bytes(meta_graph.SerializeToString(deterministic=True))
    np.savez_compressed(out / "sample.npz", images=test_images[:SAMPLE_IMAGES], labels=test_labels[:SAMPLE_IMAGES])
    # Only now: it makes TensorFlow build the cross entropy from a dozen ops, which no user's graph has.
    tf.config.experimental.enable_op_determinism()
    train(
        fashion_mnist.to_input(train_images),
        train_labels,
        checkpoint,
        resource=resource,
        seed=options.seed,
        epochs=options.epochs,
    )
    accuracy = evaluate(out / "model_eval.meta", checkpoint, fashion_mnist.to_input(test_images), test_labels)
    print(f"float test accuracy: {accuracy:.4f} ({len(test_images):,} images, model_eval.meta + checkpoint)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
