"""SavedModels of TensorFlow 2 through the whole tool: nets with random weights, as Keras saves them, to TFLite.

    python scripts/try_saved_models.py [--only MobileNetV2 --only ResNet50] [--work DIR] [--readme]

Each goes the way of a user, with the commands printed:

    Keras 2 `model.save` or Keras 3 `model.export`
    fqrewrite plan      every convolution, depthwise convolution and dense layer must be found
    fqrewrite train     the same SavedModel, to be trained
    tf.saved_model.load, 50 steps of Adam on eight random pictures with random labels, tf.saved_model.save
    fqrewrite eval      a frozen SavedModel
    TFLiteConverter.from_saved_model, and fqrewrite check --convert: which operations are float, and were they named?

Needs no network. Prints a Markdown table at the end; with --readme, writes it into README.md. The exit status is 1 when
something is not as it should be. Takes about ten minutes on two cores.
"""

from __future__ import annotations

import os

# oneDNN's rewrites change numbers and can crash TF 2.21's CPU build; both must be set before the import.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import keras
import numpy as np
import tensorflow as tf
import tf_keras
from integer_tasks.route import StepFailed, fqrewrite
from numpy.typing import NDArray
from update_readme import write_part

from fqrewrite.check.flatbuffer import LiteOperation, read_model

Array: TypeAlias = NDArray[Any]

STEPS = 50
SAMPLES, CLASSES = 8, 10
_LAYERS = {"Conv2D": 1, "DepthwiseConv2D": 1, "SeparableConv2D": 2, "Dense": 1}
_GATES = 2
"""Matrix products of an LSTM in each step: of the input and of the state."""


class Net(NamedTuple):
    """A net.

    Attributes:
        keras: the package, keras or tf_keras.
        build: makes the model.
        inputs: samples, first axis `SAMPLES`.
        batch: how many samples the model takes at a time; None for any number.
        more: weights of layers that are no layers of the Keras list, as those of an unrolled LSTM.
        rate: of learning.
    """

    keras: Any
    build: Callable[[Any], Any]
    inputs: Array
    batch: int | None = None
    more: int = 0
    rate: float = 1e-3


class Row(NamedTuple):
    """What came of a net.

    Attributes:
        net: which, and how it was saved.
        layers: in the Keras model.
        found: whose weights are quantized, by the plan.
        losses: of the first and the last step.
        moved: how many of the `ranges` of activations are others after training.
        named, left, unnamed: float operations that `check` named, that the .tflite has, and that were not named.
        seconds: for all of it.
        size: bytes of the .tflite.
    """

    net: str
    layers: int
    found: int
    losses: tuple[float, float]
    moved: int
    ranges: int
    named: int
    left: int
    unnamed: int
    seconds: float
    size: int

    def faults(self) -> Iterator[str]:
        """What is not as it should be."""
        if self.found != self.layers:
            yield f"{self.layers} layers in the Keras model, {self.found} in the plan"
        if not self.losses[1] < self.losses[0]:
            yield f"the loss goes from {self.losses[0]:.3f} to {self.losses[1]:.3f}"
        if self.moved < self.ranges:
            yield f"{self.ranges - self.moved} of {self.ranges} ranges did not move"
        if self.unnamed:
            yield f"{self.unnamed} float operations that `check` did not name"


def pictures(low: float, high: float, size: int = 96) -> Array:
    return np.random.RandomState(0).uniform(low, high, (SAMPLES, size, size, 3)).astype(np.float32)


def application(name: str, size: int = 96) -> Callable[[Any], Any]:
    def build(keras: Any) -> Any:
        options = {"weights": None, "input_shape": (size, size, 3), "classes": CLASSES, "classifier_activation": None}
        return getattr(keras.applications, name)(**options)

    return build


def subclassed(keras: Any) -> Any:
    layers = keras.layers

    class Model(keras.Model):  # type: ignore[misc]
        """A convolution, a batch norm and a separable convolution, put together in Python."""

        def __init__(self) -> None:
            super().__init__()
            self.conv = layers.Conv2D(8, 3, strides=2)
            self.norm = layers.BatchNormalization()
            self.separable = layers.SeparableConv2D(16, 3, activation="relu")
            self.dense = layers.Dense(CLASSES)

        def call(self, x: Any, training: bool = False) -> Any:
            x = tf.nn.swish(self.norm(self.conv(x), training=training))
            return self.dense(tf.reduce_mean(self.separable(x), [1, 2]))

    return Model()


def nested(keras: Any) -> Any:
    layers = keras.layers
    inner = [
        keras.Input((16, 16, 8)),
        layers.Conv2D(16, 3, padding="same", use_bias=False),
        layers.BatchNormalization(),
        layers.ReLU(6.0),
    ]
    outer = [
        keras.Input((32, 32, 3)),
        layers.Rescaling(1 / 127.5, offset=-1.0),
        layers.Conv2D(8, 3, strides=2, padding="same", activation="relu"),
        keras.Sequential(inner),
        layers.GlobalAveragePooling2D(),
        layers.Dense(CLASSES),
    ]
    return keras.Sequential(outer)


def sequence_classifier(**options: Any) -> Callable[[Any], Any]:
    """A classifier of sequences; TFLite takes an LSTM only where the size of the batch is known."""

    def build(keras: Any) -> Any:
        tokens = keras.Input((WORDS,), batch_size=1, dtype="int32")
        x = keras.layers.LSTM(16, **options)(keras.layers.Embedding(50, 8)(tokens))
        return keras.Model(tokens, keras.layers.Dense(CLASSES)(x))

    return build


WORDS = 6
SENTENCES = np.random.RandomState(0).randint(0, 50, (SAMPLES, WORDS)).astype(np.int32)

NETS = {
    "MobileNetV2": Net(tf_keras, application("MobileNetV2"), pictures(-1, 1)),
    "ResNet50": Net(tf_keras, application("ResNet50", 64), pictures(-1, 1, 64), rate=1e-5),
    "MobileNetV3Small": Net(keras, application("MobileNetV3Small"), pictures(0, 255)),
    "EfficientNetB0": Net(keras, application("EfficientNetB0"), pictures(0, 255), rate=1e-4),
    "subclassed, Keras 2": Net(tf_keras, subclassed, pictures(-1, 1, 32)),
    "subclassed, Keras 3": Net(keras, subclassed, pictures(-1, 1, 32)),
    "nested, Keras 2": Net(tf_keras, nested, pictures(0, 255, 32)),
    "nested, Keras 3": Net(keras, nested, pictures(0, 255, 32)),
    "LSTM, Keras 2": Net(tf_keras, sequence_classifier(), SENTENCES, batch=1, rate=1e-2),
    "LSTM unrolled, Keras 3": Net(
        keras, sequence_classifier(unroll=True), SENTENCES, batch=1, more=_GATES * WORDS, rate=1e-2
    ),
}


def save(net: Net, directory: Path) -> int:
    """Saves a net as users of its Keras do; returns how many layers with weights to quantize it has."""
    net.keras.utils.set_random_seed(1)
    model = net.build(net.keras)
    parts = list(model._flatten_layers(include_self=False))
    _settle(model, net.inputs[: net.batch])
    if net.keras is tf_keras:
        model.save(str(directory))
    else:
        model.export(str(directory), verbose=False)
    return sum(_LAYERS.get(type(part).__name__, 0) for part in parts or model._flatten_layers()) + net.more


def _settle(model: Any, inputs: Array) -> None:
    """Gives the batch norms the statistics of these inputs, as of a net that has been trained."""
    model(inputs)
    norms = [part for part in model._flatten_layers() if type(part).__name__ == "BatchNormalization"]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    model(inputs, training=True)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def train(directory: Path, net: Net) -> tuple[tuple[float, float], int, int]:
    """Trains what `fqrewrite train` wrote, and saves it beside.

    Returns:
        First and last loss, how many ranges of activations moved, and how many there are.
    """
    model = tf.saved_model.load(str(directory))
    serve = model.signatures["serving_default"]
    (key,) = serve.structured_input_signature[1]
    labels = np.random.RandomState(1).randint(0, CLASSES, SAMPLES)
    optimizer = tf_keras.optimizers.Adam(net.rate)

    @tf.function  # type: ignore[untyped-decorator]
    def step() -> Any:
        with tf.GradientTape() as tape:
            parts = tf.split(net.inputs, SAMPLES // net.batch) if net.batch else [tf.constant(net.inputs)]
            logits = tf.concat([next(iter(serve(**{key: part}).values())) for part in parts], axis=0)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    before = ranges(model)
    losses = [float(step()) for _ in range(STEPS)]
    after = ranges(model)
    tf.saved_model.save(model, str(directory.with_name("trained")), signatures=dict(model.signatures))
    return (losses[0], losses[-1]), sum(after[name] != before[name] for name in before), len(before)


def ranges(model: Any) -> dict[str, tuple[float, float]]:
    """The ranges of activations of a loaded model, by scope."""
    values = {name: value.numpy() for name, value in vars(model.fqrewrite).items() if hasattr(value, "numpy")}
    ends = {name.rpartition("/")[0] for name in values if name.endswith("/min")}
    return {scope: (values[f"{scope}/min"].tolist(), values[f"{scope}/max"].tolist()) for scope in sorted(ends)}


def convert(directory: Path) -> list[LiteOperation]:
    """The operations of the model that TFLite's converter makes of a SavedModel directory."""
    converter = tf.lite.TFLiteConverter.from_saved_model(str(directory))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    return list(read_model(converter.convert()).operations)


def run(name: str, net: Net, folder: Path) -> Row:
    """Takes a net all the way.

    Raises:
        StepFailed: a command failed.
    """
    started = time.perf_counter()
    layers = save(net, folder / "float")
    fqrewrite("plan", "float", "-o", "plan.json", folder=folder)
    plan = json.loads((folder / "plan.json").read_bytes())
    edges = [edge for item in plan["quantizers"] if item["role"] == "weights" for edge in item["edges"]]
    found = len({edge.rpartition(":in")[0] for edge in edges})
    fqrewrite("train", "float", "-o", "train", "-q", folder=folder)
    losses, moved, count = train(folder / "train", net)
    fqrewrite("eval", "trained", "-o", "eval", "-q", folder=folder)
    files = ("--tflite", "model.tflite", "--json", "-o", "check.json")
    fqrewrite("check", "eval", "--convert", "--samples", 2, *files, folder=folder, statuses=(0, 1))
    report = json.loads((folder / "check.json").read_bytes())
    conversion = report["conversion"]
    if conversion["error"]:
        raise StepFailed(f"{name}: {conversion['error']} (while {conversion['stage']})")
    islands = conversion["islands"]
    kinds = {operation.name for operation in convert(folder / "eval") if operation.is_island}
    if kinds != {island["op"] for island in islands}:
        raise StepFailed(f"{name}: the SavedModel, converted here, has {', '.join(kinds) or 'nothing'} in float")
    unnamed = [island for island in islands if not island["predicted"]]
    for island in unnamed:
        print(f"  float, which the check did not name: {island['op']} {island['tensor']}", flush=True)
    named = len(report["static"]["float_operations"])
    seconds = time.perf_counter() - started
    counts = (moved, count, named, len(islands), len(unnamed))
    return Row(name, layers, found, losses, *counts, seconds, conversion["size"])


def table(rows: list[Row]) -> str:
    """As Markdown."""
    heads = (
        *("net", "layers: Keras, plan", "loss: first, last step", "ranges that moved"),
        "float ops: named, found, not named",
    )
    lines = [f"| {' | '.join(heads)} |", "|---|---|---|---|---|"]
    for row in rows:
        floats = f"{row.named}, {row.left}, {row.unnamed}" if row.named or row.left else "none"
        cells = (
            row.net,
            f"{row.layers}, {row.found}",
            f"{row.losses[0]:.3f}, {row.losses[1]:.3f}",
            f"{row.moved} of {row.ranges}",
            floats,
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", help="a net, by its name; may be repeated; default: all")
    parser.add_argument("--work", type=Path, help="folder to keep all files in; without it they are removed")
    parser.add_argument("--readme", action="store_true", help="write the table into README.md")
    options = parser.parse_args()
    chosen = options.only or list(NETS)
    if unknown := sorted(set(chosen) - set(NETS)):
        parser.error(f"--only: there is no net {', '.join(unknown)}, only {'; '.join(NETS)}")
    if options.readme and set(chosen) != set(NETS):
        parser.error("--readme takes all nets")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as temporary:
        for name in chosen:
            folder = (options.work or Path(temporary)).resolve() / name.replace(" ", "_").replace(",", "")
            folder.mkdir(parents=True, exist_ok=True)
            print(f"\n{name}", flush=True)
            try:
                rows.append(run(name, NETS[name], folder))
            except StepFailed as error:
                print(f"error: {name}: {error}", file=sys.stderr)
                return 1
            print(
                f"  {table(rows[-1:]).splitlines()[-1]} {rows[-1].seconds:.0f} s, {rows[-1].size:,} bytes", flush=True
            )
    print(f"\n{table(rows)}")
    faults = [f"{row.net}: {fault}" for row in rows for fault in row.faults()]
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    if options.readme:
        write_part("saved models", table(rows))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
