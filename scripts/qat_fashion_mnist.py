"""Quantization-aware training of the Fashion-MNIST example from files, from float checkpoint to integer model.

    python scripts/qat_fashion_mnist.py [--quick] [--train-float] [--data DIR] [--work DIR] [--readme]

With the preset tflite-int8, for 8-bit and for 4-bit weights (activations 8 bits in both), it

 1. measures the ranges of activations on training images and writes the post-training-quantized graph of the float
    checkpoint: `fqrewrite calibrate`, `fqrewrite eval MODEL --ranges`;
 2. makes a training graph and its first checkpoint: `fqrewrite train`, `fqrewrite warm-start`;
 3. fine-tunes that in a plain TensorFlow session and writes the eval graph of the last checkpoint: `fqrewrite eval`;
 4. converts both graphs to TFLite, where nothing may be left in float, and runs them on the test images:
    `fqrewrite check --convert --tflite`.

It prints the accuracies as a Markdown table. With --quick the shipped 256 images are training and test set alike,
which shows that everything runs and nothing about accuracy.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

# oneDNN's rewrites change numbers and can crash TF 2.21's CPU build; both must be set before the import.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import fashion_mnist
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from update_readme import write_part

tf1 = tf.compat.v1

SCRIPTS = Path(__file__).resolve().parent
ROOT = SCRIPTS.parent
EXAMPLE = ROOT / "examples" / "fashion_mnist"
BATCH = 128
LEARNING_RATE = 1e-3
# 256 images: 24 steps.
QUICK = {"epochs": 6, "batch": 64}
CALIBRATION_IMAGES = 2_000
DATA = "calibration.npz"
CHUNK = 1_000

Images: TypeAlias = NDArray[np.uint8]
Labels: TypeAlias = NDArray[np.int64]


class Data(NamedTuple):
    """Images uint8[N, 28, 28] and labels int64[N] of both splits."""

    train_images: Images
    train_labels: Labels
    test_images: Images
    test_labels: Labels


class Scheme(NamedTuple):
    """How tensors are quantized."""

    name: str
    title: str
    config: str


SCHEMES = (
    Scheme("8-8", "8 bits", "version: 1\n"),
    Scheme("4-8", "4 bits", "version: 1\nweights: {bits: 4}\n"),
)


class Accuracies(NamedTuple):
    """Percent of test images classified rightly, by one quantized model in both of its forms."""

    fake_quant: float
    integer: float


class Result(NamedTuple):
    """What post-training quantization and quantization-aware training make of one float model."""

    scheme: Scheme
    ptq: Accuracies
    qat: Accuracies


class StepFailed(Exception):
    """A child process ended badly; the message is what it wrote to standard error."""


def run(*command: str | Path, folder: Path) -> None:
    """Runs a Python program in a child process: fqrewrite as its users do.

    Args:
        command: what follows `python`.
        folder: the working directory.

    Raises:
        StepFailed: its exit status is not 0.
    """
    words = [sys.executable, *map(str, command)]
    search = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": search}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StepFailed(f"{' '.join(words)}\nended with status {done.returncode}:\n{done.stderr[-4000:]}")


def fqrewrite(*arguments: str | Path, folder: Path) -> None:
    """Prints and runs `fqrewrite ARGUMENTS`, as `run`."""
    print("  $ fqrewrite", *arguments, flush=True)
    run("-m", "fqrewrite", *arguments, folder=folder)


def fine_tune(graph: Path, start: Path, data: Data, checkpoint: Path, *, epochs: int, batch: int, seed: int) -> str:
    """Trains the graph that `fqrewrite train` wrote, with Adam, the rate falling to 0 on half a cosine.

    Nothing in here knows of quantization: the graph is a MetaGraphDef of stock operations.

    Returns:
        The path of the checkpoint, with its meta graph beside it.
    """
    shuffle = np.random.default_rng(seed)
    per_epoch = len(data.train_images) // batch
    with tf.Graph().as_default() as built:
        tf1.set_random_seed(seed)
        tf1.train.import_meta_graph(str(graph))
        # Before the optimizer adds its slots to the same collection.
        model_variables = tf1.global_variables()
        loss = built.get_tensor_by_name("loss:0")
        rate = tf1.placeholder(tf.float32, [], name="learning_rate")
        with tf.control_dependencies(tf1.get_collection(tf1.GraphKeys.UPDATE_OPS)):
            step = tf1.train.AdamOptimizer(rate).minimize(loss)
        saver = tf1.train.Saver()
        with session() as running:
            running.run(tf1.global_variables_initializer())
            tf1.train.Saver(model_variables).restore(running, str(start))
            for epoch in range(epochs):
                begin, total = time.perf_counter(), 0.0
                order = shuffle.permutation(len(data.train_images))[: per_epoch * batch]
                for index, rows in enumerate(order.reshape(per_epoch, batch)):
                    done = (epoch * per_epoch + index) / (epochs * per_epoch)
                    feed = {
                        "images:0": fashion_mnist.to_input(data.train_images[rows]),
                        "labels:0": data.train_labels[rows],
                        rate: LEARNING_RATE * 0.5 * (1 + np.cos(np.pi * done)),
                    }
                    total += running.run([step, loss], feed)[1]
                seconds = time.perf_counter() - begin
                print(f"  epoch {epoch + 1}/{epochs}: loss {total / per_epoch:.4f}, {seconds:.0f} s", flush=True)
            saved: str = saver.save(running, str(checkpoint), global_step=epochs * per_epoch, write_state=False)
            return saved


def train_float(folder: Path, options: argparse.Namespace) -> None:
    """Trains the float model as the shipped one was."""
    print("$ train_fashion_mnist.py --out", folder, flush=True)
    words = ("--data", options.data.resolve(), "--out", folder, "--seed", str(options.seed))
    run(SCRIPTS / "train_fashion_mnist.py", *words, folder=ROOT)


def float_accuracy(graph: Path, checkpoint: Path, images: Images, labels: Labels) -> float:
    """Of an inference MetaGraphDef with the variables of a checkpoint, in percent."""
    with tf.Graph().as_default(), session() as running:
        tf1.train.import_meta_graph(str(graph)).restore(running, str(checkpoint))
        return session_accuracy(running, "logits/BiasAdd:0", images, labels)


def quantized_accuracies(graph: Path, images: Images, labels: Labels) -> Accuracies:
    """Of a frozen graph that `fqrewrite eval` wrote: run in a session, and converted and run in integers."""
    (output,) = json.loads(Path(f"{graph}.report.json").read_bytes())["outputs"]
    with tf.Graph().as_default(), session() as running:
        tf1.import_graph_def(tf1.GraphDef.FromString(graph.read_bytes()), name="")
        fake_quant = session_accuracy(running, output, images, labels)
    model = graph.with_suffix(".tflite")
    fqrewrite("check", graph.name, "--convert", "--data", DATA, "--tflite", model.name, folder=graph.parent)
    return Accuracies(fake_quant, integer_accuracy(model, images, labels))


def session_accuracy(running: Any, logits: str, images: Images, labels: Labels) -> float:
    """Of a tensor float32[N, 10] of the session's graph, in percent."""
    right = 0
    for rows in chunks(len(images)):
        values = running.run(logits, {"images:0": fashion_mnist.to_input(images[rows])})
        right += int((values.argmax(axis=1) == labels[rows]).sum())
    return 100 * right / len(images)


def integer_accuracy(tflite: Path, images: Images, labels: Labels) -> float:
    """Of a TFLite model that takes and gives float32 and computes in integers, in percent."""
    interpreter = tf.lite.Interpreter(str(tflite), num_threads=2)
    source, target = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    interpreter.resize_tensor_input(source, [min(CHUNK, len(images)), 28, 28, 1])
    interpreter.allocate_tensors()
    right = 0
    for rows in chunks(len(images)):
        interpreter.set_tensor(source, fashion_mnist.to_input(images[rows]))
        interpreter.invoke()
        right += int((interpreter.get_tensor(target).argmax(axis=1) == labels[rows]).sum())
    return 100 * right / len(images)


def chunks(count: int) -> Iterator[slice]:
    """Slices that cover `count` rows, CHUNK in each; the interpreter's input has one size, so it must divide."""
    size = min(CHUNK, count)
    return (slice(start, start + size) for start in range(0, count - size + 1, size))


def session() -> Any:
    return tf1.Session(config=tf1.ConfigProto(intra_op_parallelism_threads=2, inter_op_parallelism_threads=1))


def evaluate_scheme(scheme: Scheme, model: Path, folder: Path, data: Data, **options: int) -> Result:
    """All steps from the float checkpoint `model`, with `model.meta` and `model_eval.meta` beside it.

    Args:
        folder: where all files are written, by the names that the commands printed show.
        options: of `fine_tune`.
    """
    print(f"\n{scheme.title} weights, 8 bits activations", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(scheme.config, encoding="utf-8")
    execute = partial(fqrewrite, folder=folder)
    training, inference = model.with_name("model.meta"), model.with_name("model_eval.meta")
    np.savez(folder / DATA, images=fashion_mnist.to_input(data.train_images[:CALIBRATION_IMAGES]))
    config, source = ("-c", "config.yaml"), (model, "--model", inference)
    execute("calibrate", *source, *config, "--data", DATA, "--batch-size", "100", "-o", "ranges.json")
    execute("eval", *source, *config, "--ranges", "ranges.json", "-o", "ptq.pb")

    execute("train", training, *config, "-o", "train.meta")
    execute("warm-start", model, "train.meta", "--ranges", "ranges.json", "-o", "start")
    checkpoint = fine_tune(folder / "train.meta", folder / "start", data, folder / "ckpt", **options)
    execute("eval", Path(checkpoint).name, "-o", "qat.pb")

    ptq, qat = (
        quantized_accuracies(folder / name, data.test_images, data.test_labels) for name in ("ptq.pb", "qat.pb")
    )
    return Result(scheme, ptq, qat)


def table(float_percent: float, results: list[Result]) -> str:
    """The figures, in percent, as a Markdown table."""
    lines = [
        "| weights | float | PTQ, fake quant | PTQ, TFLite | QAT, fake quant | QAT, TFLite |",
        "|---|---|---|---|---|---|",
    ]
    for scheme, ptq, qat in results:
        figures = " | ".join(f"{value:.2f}" for value in (float_percent, *ptq, *qat))
        lines.append(f"| {scheme.title} | {figures} |")
    return "\n".join(lines)


def load(options: argparse.Namespace) -> Data:
    """The data set, or with --quick the shipped sample twice."""
    if options.quick:
        with np.load(EXAMPLE / "sample.npz") as sample:
            return Data(*(sample["images"], sample["labels"]) * 2)
    return Data(*fashion_mnist.load("train", options.data), *fashion_mnist.load("test", options.data))


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Quantization-aware training of the Fashion-MNIST example, from float checkpoint to integer model.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--data", type=Path, default=fashion_mnist.DEBIAN_FOLDER, help="the idx files")
    parser.add_argument("--work", type=Path, help="folder to keep all files in; without it they are removed")
    parser.add_argument("--train-float", action="store_true", help="train the float model anew, not the shipped one")
    parser.add_argument("--epochs", type=int, default=1, help="of fine-tuning")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="train and test on the 256 shipped images: a smoke test")
    parser.add_argument("--readme", action="store_true", help="write the table into README.md")
    options = parser.parse_args()
    if options.quick and (options.train_float or options.readme):
        parser.error("--quick shows nothing about accuracy: it goes with neither --train-float nor --readme")
    tf1.logging.set_verbosity(tf1.logging.ERROR)
    tf1.disable_eager_execution()
    tf.config.experimental.enable_op_determinism()
    start = time.perf_counter()
    try:
        data = load(options)
        with tempfile.TemporaryDirectory() as temporary:
            work = (options.work or Path(temporary)).resolve()
            model = EXAMPLE / "model"
            if options.train_float:
                model = work / "float" / "model"
                train_float(model.parent, options)
            float_percent = float_accuracy(
                model.with_name("model_eval.meta"), model, data.test_images, data.test_labels
            )
            training = {"epochs": options.epochs, "batch": BATCH, "seed": options.seed}
            if options.quick:
                training |= QUICK
            results = [evaluate_scheme(scheme, model, work / scheme.name, data, **training) for scheme in SCHEMES]
    except (fashion_mnist.DataError, StepFailed) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    figures = table(float_percent, results)
    print(
        f"\naccuracy in percent on {len(data.test_images):,} images, {time.perf_counter() - start:.0f} s\n\n{figures}"
    )
    if options.readme:
        write_part("qat", figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
