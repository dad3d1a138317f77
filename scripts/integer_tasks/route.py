"""From a float model to an integer one with the commands that a user would type, and running both."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

tf1 = tf.compat.v1

ROOT = Path(__file__).resolve().parents[2]
PRESET = ("--preset", "tflite-int8")

Array: TypeAlias = NDArray[Any]
Feeds: TypeAlias = Mapping[str, Array]
"""Arrays by placeholder, the node's name; the first axis counts samples."""


class StepFailed(Exception):
    """A command ended badly, or something cannot be had; the message says what, and what to do."""


class Result(NamedTuple):
    """One row of the table.

    Attributes:
        model: what was measured.
        task: what the figures are.
        floating, integer: the figures of the float model, and of the .tflite.
        named: float operations that the static check named before the conversion.
        left: float operations in the converted model; one node can become several.
        unnamed: those of `left` that the check did not name.
    """

    model: str
    task: str
    floating: str
    integer: str
    named: int
    left: int
    unnamed: int


class IntegerModel(NamedTuple):
    """A converted model.

    Attributes:
        file: the .tflite.
        graph: the fake-quantized eval graph that it was made of.
        outputs: tensors of `graph`, in the order in which they were asked for.
        named, left, unnamed: as `Result`.
    """

    file: Path
    graph: Path
    outputs: tuple[str, ...]
    named: int
    left: int
    unnamed: int

    def result(self, model: str, task: str, floating: str, integer: str) -> Result:
        return Result(model, task, floating, integer, self.named, self.left, self.unnamed)


def fqrewrite(*arguments: object, folder: Path, statuses: tuple[int, ...] = (0,)) -> None:
    """Prints and runs `fqrewrite ARGUMENTS` in a folder.

    Raises:
        StepFailed: its exit status is none of `statuses`.
    """
    words = [str(argument) for argument in arguments]
    print("  $ fqrewrite", *words, flush=True)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))}
    command = [sys.executable, "-m", "fqrewrite", *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode not in statuses:
        raise StepFailed(f"{' '.join(command)}\nended with status {done.returncode}:\n{done.stderr[-4000:]}")


def make_integer(
    model: Path,
    name: str,
    data: Feeds,
    folder: Path,
    *,
    options: Sequence[object] = (),
    settings: Sequence[object] = PRESET,
    batch: int = 8,
    method: str = "min-max",
) -> IntegerModel:
    """calibrate -> eval -> check --convert.

    Args:
        model: a frozen graph, a checkpoint or a SavedModel.
        name: of the files that are written into `folder`.
        data: what to calibrate on.
        options: of `calibrate` and `eval`: --outputs, --model.
        settings: likewise: --preset or --config.
        batch: samples that the float graph takes at a time.
        method: of calibration.

    Raises:
        StepFailed: a command failed.
    """
    save(folder / f"{name}.npz", data)
    ranges, output = f"{name}.ranges.json", f"{name}.pb"
    calibration = ("--data", f"{name}.npz", "--batch-size", batch, "--method", method, "-o", ranges)
    fqrewrite("calibrate", model, *options, *settings, *calibration, "-q", folder=folder)
    fqrewrite("eval", model, *options, *settings, "--ranges", ranges, "-o", output, "-q", folder=folder)
    return convert(folder / output, folder / f"{name}.npz")


def convert(graph: Path, data: Path) -> IntegerModel:
    """`check --convert` of an eval graph; float operations are counted, and are no failure.

    Raises:
        StepFailed: there is no model, or it does not run.
    """
    file, report = graph.with_suffix(".tflite"), graph.with_suffix(".check.json")
    files = ("--tflite", file.name, "--json", "-o", report.name)
    compared = ("--data", data.name, "--samples", 2)
    fqrewrite("check", graph.name, "--convert", *compared, *files, folder=graph.parent, statuses=(0, 1))
    found = json.loads(report.read_bytes())
    conversion = found["conversion"]
    if conversion["error"]:
        raise StepFailed(f"{graph}: {conversion['error']} (while {conversion['stage']})")
    islands = conversion["islands"]
    unnamed = [island["tensor"] for island in islands if not island["predicted"]]
    for tensor in unnamed:
        print(f"  float, which the check did not name: {tensor}", flush=True)
    counts = (len(found["static"]["float_operations"]), len(islands), len(unnamed))
    return IntegerModel(file, graph, tuple(found["outputs"]), *counts)


def save(file: Path, data: Feeds) -> None:
    """An .npz file for --data."""
    np.savez(file, allow_pickle=False, **data)


def run_graph(graph: Path, feeds: Feeds, fetches: Sequence[str], *, batch: int = 1) -> list[Array]:
    """Tensors of a frozen GraphDef, samples put together along the first axis."""
    with tf.Graph().as_default() as built, tf1.Session() as session:
        tf1.import_graph_def(tf1.GraphDef.FromString(graph.read_bytes()), name="")
        tensors = [built.get_tensor_by_name(name) for name in fetches]
        parts = [
            session.run(tensors, {f"{node}:0": array[rows] for node, array in feeds.items()})
            for rows in _batches(feeds, batch)
        ]
    return [np.concatenate(part) for part in zip(*parts, strict=True)]


def run_integer(model: IntegerModel, feeds: Feeds, *, batch: int = 1) -> list[Array]:
    """The outputs of the converted model as float32, as `run_graph`, with TFLite's default kernels (XNNPACK)."""
    runner = tf.lite.Interpreter(str(model.file), num_threads=2).get_signature_runner()
    inputs = {key: detail["name"].removesuffix(":0") for key, detail in runner.get_input_details().items()}
    keys = {detail["name"]: key for key, detail in runner.get_output_details().items()}
    parts = []
    for rows in _batches(feeds, batch):
        found = runner(**{key: feeds[node][rows] for key, node in inputs.items()})
        parts.append([np.array(found[keys[name]]) for name in model.outputs])
    return [np.concatenate(part) for part in zip(*parts, strict=True)]


def _batches(feeds: Feeds, size: int) -> list[slice]:
    count = len(next(iter(feeds.values())))
    return [slice(start, start + size) for start in range(0, count, size)]
