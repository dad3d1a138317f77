"""Eval graphs of a third party's training checkpoints: the four music taggers in the PyPI package musicnn 0.1.0.

They are TensorFlow 1.11 and 1.12 training graphs, with Adam, gradients and dropout inside, batch norms behind the
activations, and a bool placeholder that switches between training and inference. For each of them this measures ranges
with the original graph, runs `fqrewrite eval`, and compares with the original in inference mode:

    python scripts/try_musicnn.py                      # downloads the package with pip
    python scripts/try_musicnn.py --package musicnn/   # the unzipped wheel's folder with MTT_musicnn etc.

Prints a table: largest difference of the logits relative to their largest value, without and with quantizers; nodes
and bytes of the training MetaGraphDef and of the frozen eval graph.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import argparse
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

tf1 = tf.compat.v1
tf1.disable_eager_execution()
tf1.logging.set_verbosity(tf1.logging.ERROR)

PACKAGE = "musicnn==0.1.0"
# scripts/integer_task_results.py measures the same nets with preset tflite-int8, as .tflite.
PRESET = ("--preset", "contrib")
NETS = {
    "MTT_musicnn": "model/dense_1/BiasAdd:0",
    "MTT_vgg": "model/dense/BiasAdd:0",
    "MSD_musicnn": "model/dense_1/BiasAdd:0",
    "MSD_vgg": "model/dense/BiasAdd:0",
}
INPUT, IS_TRAINING = "model/Placeholder:0", "model/Placeholder_2:0"


class Figures(NamedTuple):
    """What was measured on one net."""

    float_error: float
    quantized_error: float
    nodes: tuple[int, int]
    size: tuple[int, int]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--package", type=Path, help="folder with the four checkpoints; default: download it")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        package = given.package or download(Path(folder))
        print("| net | nodes | bytes | difference, quantizers out | difference, quantized |\n|---|---|---|---|---|")
        for net, logits in NETS.items():
            found = measure(package / net, logits, Path(folder))
            nodes, size = (f"{before:,} -> {after:,}" for before, after in (found.nodes, found.size))
            print(f"| {net} | {nodes} | {size} | {found.float_error:.1e} | {found.quantized_error:.1e} |", flush=True)


def download(folder: Path) -> Path:
    """The package's folder, out of its wheel."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), PACKAGE]
    subprocess.run(pip, check=True)
    (wheel,) = folder.glob("musicnn-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder / "musicnn"


def measure(checkpoint: Path, logits: str, folder: Path) -> Figures:
    """Makes the eval graph of a checkpoint and compares it with the original."""
    spectrogram = log_mel(4)
    plan = json.loads(fqrewrite("plan", checkpoint / ".meta", *PRESET, "--strip-training", "--json"))
    tensors = [item["tensor"] for item in plan["quantizers"] if item["role"] != "weights"]
    # The loss is no part of the eval graph.
    tensors = [name for name in tensors if name.startswith("model/")]
    *observed, want = run_original(checkpoint, [*tensors, logits], spectrogram)
    ranges = {name: [float(min(0, v.min())), float(max(0, v.max()))] for name, v in zip(tensors, observed, strict=True)}
    ranges_file, output = folder / "ranges.json", folder / f"{checkpoint.name}.pb"
    ranges_file.write_text(json.dumps({"version": 1, "ranges": ranges}))
    fqrewrite("eval", checkpoint, *PRESET, "--ranges", ranges_file, "-o", output, "--quiet")

    (result,) = json.loads(output.with_name(f"{output.name}.report.json").read_text())["outputs"]
    graph_def = tf1.GraphDef.FromString(output.read_bytes())
    feed = {INPUT: spectrogram}
    before = read_meta_graph(checkpoint)
    return Figures(
        float_error=difference(run(quantizers_out(graph_def), result, feed), want),
        quantized_error=difference(run(graph_def, result, feed), want),
        nodes=(len(before.graph_def.node), len(graph_def.node)),
        size=((checkpoint / ".meta").stat().st_size, output.stat().st_size),
    )


def log_mel(patches: int) -> Any:
    """Made-up log-mel patches, float32[patches, 187, 96] in [0, 8]: three seconds each, less energy in high bands."""
    random = np.random.RandomState(0)
    loudness = 0.3 + 0.7 * random.rand(patches, 187, 1)
    return (8 * random.rand(patches, 187, 96) * np.linspace(1.0, 0.2, 96) * loudness).astype(np.float32)


def run_original(checkpoint: Path, fetches: Sequence[str], spectrogram: Any) -> list[Any]:
    """Tensors of the original graph in inference mode, its variables restored."""
    with tf.Graph().as_default(), tf1.Session() as session:
        saver = tf1.train.import_meta_graph(read_meta_graph(checkpoint), clear_devices=True)
        saver.restore(session, f"{checkpoint}/")
        found: list[Any] = session.run(list(fetches), {INPUT: spectrogram, IS_TRAINING: False})
    return found


def read_meta_graph(checkpoint: Path) -> Any:
    """The original MetaGraphDef, without `_output_shapes`, which TensorFlow 2.21 finds wrong."""
    meta_graph = tf1.MetaGraphDef.FromString((checkpoint / ".meta").read_bytes())
    for node in meta_graph.graph_def.node:
        node.attr.pop("_output_shapes", None)
    return meta_graph


def run(graph_def: Any, fetch: str, feed: dict[str, Any]) -> Any:
    with tf.Graph().as_default() as graph, tf1.Session() as session:
        tf1.import_graph_def(graph_def, name="")
        return session.run(graph.get_tensor_by_name(fetch), feed)


def quantizers_out(graph_def: Any) -> Any:
    """A copy whose fake quants hand their input on."""
    copy = tf1.GraphDef.FromString(graph_def.SerializeToString())
    for node in copy.node:
        if node.op.startswith("FakeQuantWithMinMaxVars"):
            node.op = "Identity"
            del node.input[1:]
            node.attr.clear()
            node.attr["T"].type = tf.float32.as_datatype_enum
    return copy


def difference(got: Any, want: Any) -> float:
    return float(np.max(np.abs(got - want)) / np.max(np.abs(want)))


def fqrewrite(*arguments: object) -> str:
    command = [sys.executable, "-m", "fqrewrite", *map(str, arguments)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    main()
