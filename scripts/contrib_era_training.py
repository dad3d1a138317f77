"""Quantization-aware training as programs for TensorFlow 1.x did it: the rewrite of a live graph.

    python scripts/contrib_era_training.py FOLDER [--steps 300] [--eval-only]

Builds a convnet for Fashion-MNIST, rewrites its graph, trains it, and saves; builds it again for inference, rewrites
that, restores, freezes, and converts to an integer model. It runs on TensorFlow 1.15 with tf.contrib.quantize and, with
no other difference than the import below, on TensorFlow 2.21 with fqrewrite. Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf

try:
    from tensorflow.contrib import quantize
except ImportError:
    from fqrewrite import tf1 as quantize

SAMPLE = Path(__file__).resolve().parents[1] / "examples" / "fashion_mnist" / "sample.npz"
OUTPUT = "logits/act_quant/FakeQuantWithMinMaxVars"


def batch_norm(net: Any, is_training: bool) -> Any:
    channels = net.shape[-1]
    with tf.variable_scope("BatchNorm"):
        gamma = tf.get_variable("gamma", [channels], initializer=tf.ones_initializer())
        beta = tf.get_variable("beta", [channels], initializer=tf.zeros_initializer())
        moving_mean = tf.get_variable("moving_mean", [channels], initializer=tf.zeros_initializer(), trainable=False)
        moving_variance = tf.get_variable(
            "moving_variance", [channels], initializer=tf.ones_initializer(), trainable=False
        )
        if not is_training:
            net, _, _ = tf.nn.fused_batch_norm(
                net, gamma, beta, moving_mean, moving_variance, epsilon=1e-3, is_training=False
            )
            return net
        net, mean, variance = tf.nn.fused_batch_norm(net, gamma, beta, epsilon=1e-3, is_training=True)
        for moving, value in ((moving_mean, mean), (moving_variance, variance)):
            update = tf.assign_sub(moving, (moving - value) * (1.0 - 0.95))
            tf.add_to_collection(tf.GraphKeys.UPDATE_OPS, update)
        return net


def conv(net: Any, channels: int, size: int, stride: int, is_training: bool, scope: str) -> Any:
    with tf.variable_scope(scope):
        weights = tf.get_variable(
            "weights", [size, size, net.shape[-1], channels], initializer=tf.glorot_uniform_initializer(seed=1)
        )
        net = tf.nn.conv2d(net, weights, strides=[1, stride, stride, 1], padding="SAME")
        return tf.nn.relu6(batch_norm(net, is_training))


def depthwise(net: Any, stride: int, is_training: bool, scope: str) -> Any:
    with tf.variable_scope(scope):
        weights = tf.get_variable(
            "depthwise_weights", [3, 3, net.shape[-1], 1], initializer=tf.glorot_uniform_initializer(seed=2)
        )
        net = tf.nn.depthwise_conv2d(net, weights, strides=[1, stride, stride, 1], padding="SAME")
        return tf.nn.relu6(batch_norm(net, is_training))


def convnet(images: Any, is_training: bool) -> Any:
    net = conv(images, 16, 3, 2, is_training, "conv1")
    net = depthwise(net, 2, is_training, "conv2_dw")
    net = conv(net, 32, 1, 1, is_training, "conv2_pw")
    shortcut = net
    net = depthwise(net, 1, is_training, "conv3_dw")
    net = conv(net, 32, 1, 1, is_training, "conv3_pw") + shortcut
    net = tf.nn.avg_pool(net, ksize=[1, 7, 7, 1], strides=[1, 1, 1, 1], padding="VALID")
    net = tf.reshape(net, [-1, 32])
    with tf.variable_scope("logits"):
        weights = tf.get_variable("weights", [32, 10], initializer=tf.glorot_uniform_initializer(seed=3))
        biases = tf.get_variable("biases", [10], initializer=tf.zeros_initializer())
        return tf.nn.bias_add(tf.matmul(net, weights), biases)


def train(folder: Path, images: Any, labels: Any, steps: int) -> list[float]:
    with tf.Graph().as_default() as graph:
        tf.set_random_seed(1)
        inputs = tf.placeholder(tf.float32, [None, 28, 28, 1], name="images")
        targets = tf.placeholder(tf.int64, [None], name="labels")
        logits = convnet(inputs, is_training=True)
        loss = tf.losses.sparse_softmax_cross_entropy(targets, logits)
        tf.reduce_mean(tf.cast(tf.equal(tf.argmax(logits, 1), targets), tf.float32), name="accuracy")
        tf.summary.scalar("loss", loss)

        quantize.create_training_graph(input_graph=graph, quant_delay=steps // 3)

        global_step = tf.train.get_or_create_global_step()
        with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
            train_op = tf.train.AdamOptimizer(0.01).minimize(loss, global_step=global_step)
        saver = tf.train.Saver()
        random = np.random.RandomState(0)
        losses = []
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            for _ in range(steps):
                chosen = random.choice(len(labels), 32, replace=False)
                feed = {inputs: images[chosen], targets: labels[chosen]}
                losses.append(float(session.run([train_op, loss], feed)[1]))
            saver.save(session, str(folder / "ckpt"), global_step=global_step)
        return losses


def export(folder: Path, images: Any, labels: Any) -> float:
    with tf.Graph().as_default() as graph:
        inputs = tf.placeholder(tf.float32, [None, 28, 28, 1], name="images")
        convnet(inputs, is_training=False)

        quantize.create_eval_graph(input_graph=graph)

        with tf.Session() as session:
            tf.train.Saver().restore(session, tf.train.latest_checkpoint(str(folder)))
            logits = session.run(OUTPUT + ":0", {inputs: images})
            frozen = tf.graph_util.convert_variables_to_constants(session, graph.as_graph_def(), [OUTPUT])
    (folder / "frozen.pb").write_bytes(frozen.SerializeToString())
    np.save(str(folder / "logits.npy"), logits)
    return float(np.mean(logits.argmax(axis=1) == labels))


def convert(folder: Path, images: Any, labels: Any) -> tuple[float, list[str]]:
    converter = tf.lite.TFLiteConverter.from_frozen_graph(str(folder / "frozen.pb"), ["images"], [OUTPUT])
    converter.inference_type = tf.uint8
    converter.quantized_input_stats = {"images": (0.0, 255.0)}
    content = converter.convert()
    (folder / "model.tflite").write_bytes(content)
    interpreter = tf.lite.Interpreter(model_content=content)
    interpreter.allocate_tensors()
    (given,), (wanted,) = interpreter.get_input_details(), interpreter.get_output_details()
    right = 0
    for index, label in enumerate(labels):
        interpreter.set_tensor(given["index"], np.round(images[index : index + 1] * 255).astype(np.uint8))
        interpreter.invoke()
        right += int(interpreter.get_tensor(wanted["index"]).argmax() == label)
    kinds = sorted({str(np.dtype(entry["dtype"])) for entry in interpreter.get_tensor_details()})
    return right / len(labels), kinds


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--eval-only", action="store_true", help="of a checkpoint that is in the folder")
    arguments = parser.parse_args()
    sample = np.load(SAMPLE)
    images, labels = (sample["images"] / 255.0).astype(np.float32)[..., None], sample["labels"].astype(np.int64)
    losses = [] if arguments.eval_only else train(arguments.folder, images, labels, arguments.steps)
    accuracy = export(arguments.folder, images, labels)
    integer, kinds = convert(arguments.folder, images, labels)
    result = {"losses": losses, "accuracy": accuracy, "integer_accuracy": integer, "types": kinds}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
