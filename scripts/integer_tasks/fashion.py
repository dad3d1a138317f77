"""Fashion-MNIST: the accuracy of the shipped net, quantized after training, and trained quantized for an epoch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fashion_mnist
import numpy as np
import qat_fashion_mnist

from integer_tasks.route import PRESET, IntegerModel, Result, StepFailed, convert, fqrewrite, make_integer, run_integer

CALIBRATION_IMAGES = 2_000
MODEL = qat_fashion_mnist.EXAMPLE / "model"
TRAINING, INFERENCE = MODEL.with_name("model.meta"), MODEL.with_name("model_eval.meta")


def results(folder: Path, data_folder: Path) -> Iterator[Result]:
    """A row for each of the two ways.

    Args:
        folder: to work in.
        data_folder: the idx files.
    """
    try:
        data = qat_fashion_mnist.Data(
            *fashion_mnist.load("train", data_folder), *fashion_mnist.load("test", data_folder)
        )
    except fashion_mnist.DataError as error:
        raise StepFailed(str(error)) from error
    floating = qat_fashion_mnist.float_accuracy(INFERENCE, MODEL, data.test_images, data.test_labels)
    task = f"% of {len(data.test_images):,} pictures right"

    print("\nFashion-MNIST, quantized after training", flush=True)
    calibration = {"images": fashion_mnist.to_input(data.train_images[:CALIBRATION_IMAGES])}
    model = make_integer(MODEL, "ptq", calibration, folder, options=("--model", INFERENCE), batch=100)
    accuracy = integer_accuracy(model, data)
    yield model.result("Fashion-MNIST, quantized after training", task, f"{floating:.2f}", f"{accuracy:.2f}")

    print("\nFashion-MNIST, quantization-aware training", flush=True)
    fqrewrite("train", TRAINING, *PRESET, "-o", "train.meta", "-q", folder=folder)
    fqrewrite("warm-start", MODEL, "train.meta", "--ranges", "ptq.ranges.json", "-o", "start", folder=folder)
    checkpoint = qat_fashion_mnist.fine_tune(
        folder / "train.meta",
        folder / "start",
        data,
        folder / "ckpt",
        epochs=1,
        batch=qat_fashion_mnist.BATCH,
        seed=1,
    )
    fqrewrite("eval", Path(checkpoint).name, "-o", "qat.pb", "-q", folder=folder)
    model = convert(folder / "qat.pb", folder / "ptq.npz")
    accuracy = integer_accuracy(model, data)
    yield model.result("Fashion-MNIST, one epoch of QAT", task, f"{floating:.2f}", f"{accuracy:.2f}")


def integer_accuracy(model: IntegerModel, data: qat_fashion_mnist.Data) -> float:
    """In percent of the test images."""
    (logits,) = run_integer(model, {"images": fashion_mnist.to_input(data.test_images)}, batch=1_000)
    return float(100 * np.mean(logits.argmax(axis=1) == data.test_labels))
