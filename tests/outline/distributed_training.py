"""Trains a SavedModel on two replicas: `python distributed_training.py DIRECTORY`; prints one line of JSON."""

from __future__ import annotations

import json
import sys
import tempfile
from typing import Any

import numpy
import tensorflow as tf


def main(directory: str) -> None:
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        model = tf.saved_model.load(directory)
    images = numpy.random.default_rng(0).normal(size=(8, 8, 8, 1)).astype(numpy.float32)
    labels = numpy.arange(8) % 3
    images += labels[:, None, None, None]
    data = tf.data.Dataset.from_tensor_slices((images, labels)).repeat().batch(8)
    batches = iter(strategy.experimental_distribute_dataset(data))

    def replica_step(images: Any, labels: Any) -> Any:
        with tf.GradientTape() as tape:
            logits = model(images)["logits"]
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        gradients = tape.gradient(loss, model.trainable_variables)
        gradients = tf.distribute.get_replica_context().all_reduce("mean", gradients)
        for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
            variable.assign_sub(0.1 * gradient)
        return loss

    @tf.function  # type: ignore[untyped-decorator]
    def step(batch: Any) -> Any:
        return strategy.reduce("mean", strategy.run(replica_step, batch), axis=None)

    def read() -> dict[str, Any]:
        return {name: value for name, value in vars(model.fqrewrite).items() if hasattr(value, "aggregation")}

    losses = [float(step(next(batches)))]
    maximum = read()["serving_default_image/quant/max"]
    (counter,) = [value for name, value in read().items() if name.endswith("image/quant/max/local_step")]
    found: dict[str, Any] = {
        "maximum_of_each": [float(part.numpy()) for part in maximum.values],
        "maximum": float(maximum.numpy()),
        "expected_of_each": [float(images[:4].max()), float(images[4:].max())],
        "steps_of_each": [float(part.numpy()) for part in counter.values],
        "steps": float(counter.numpy()),
    }
    losses += [float(step(next(batches))) for _ in range(49)]
    found["losses"] = [losses[0], losses[-1]]

    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(model, f"{folder}/saved")
        again = tf.saved_model.load(f"{folder}/saved")
        values = {variable.name: variable.numpy() for variable in model.variables}
        found["saved"] = all(numpy.allclose(values[other.name], other.numpy()) for other in again.variables)
        checkpoint = tf.train.Checkpoint(model=model)
        checkpoint.restore(checkpoint.save(f"{folder}/ckpt")).assert_consumed()
    found["steps_at_the_end"] = float(counter.numpy())
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
