#!/usr/bin/env python3
"""How fast fqrewrite rewrites: seconds of whole processes, medians of interleaved runs.

    bench.py [--resnet BEFORE.meta] [--runs 15] [--json FILE] [--check]

ResNet    `fqrewrite train` of a ResNet-152-sized training MetaGraphDef, against a process that only parses and
          serialises the same file with the same message classes. Without --resnet a recorded graph of that size beside
          the repository is taken if there is one, else one is built here, node for node as tf.contrib.slim builds it.
chains    `fqrewrite train` of chains of 100 and of 800 layers of conv, batch norm and relu (42 nodes each).
help      `fqrewrite --help`.

Needs nothing but fqrewrite's own dependencies. With --check the exit status is 1 when a goal is missed, else always 0.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from fqrewrite.model.collections import add_variables, variable_def  # noqa: E402
from fqrewrite.proto import MetaGraphDef, TensorProto  # noqa: E402
from fqrewrite.proto import attrs as to  # noqa: E402
from fqrewrite.proto.dtypes import DT_FLOAT, DT_INT32  # noqa: E402
from fqrewrite.proto.tensors import scalar_tensor, vector_tensor  # noqa: E402

RECORDED_RESNET = ROOT.parent / "shared/golden/real/resnet_v1_152/train/before.meta"
PARSE_AND_SERIALISE = """
import sys
from fqrewrite.proto import MetaGraphDef
with open(sys.argv[1], "rb") as file:
    message = MetaGraphDef.FromString(file.read())
with open(sys.argv[2], "wb") as file:
    file.write(message.SerializeToString())
"""
MOST_RESNET_RATIO, MOST_CHAIN_SECONDS, MOST_CHAIN_RATIO, MOST_HELP_SECONDS = 3.0, 5.0, 9.0, 0.3
LAYERS = (100, 800)
Shape = tuple[int, ...]


class Slim:
    """Builds a training MetaGraphDef node by node as tf.contrib.slim does, with the attributes that TF 1.15 writes.

    Every method returns the tensor that it made.
    """

    def __init__(self) -> None:
        self.meta = MetaGraphDef()
        self.shapes: dict[str, Shape] = {}

    def add(self, op: str, name: str, inputs: Sequence[str], dims: Shape, owner: str = "", **attributes: Any) -> str:
        """A node of type float32, unless its attributes say otherwise; `owner` is what it is colocated with."""
        node = self.meta.graph_def.node.add(name=name, op=op, input=inputs)
        shapes = node.attr["_output_shapes"].list.shape
        shapes.add().CopyFrom(to.shape_proto(dims))
        if owner:
            node.attr["_class"].list.s.append(f"loc:@{owner}".encode())
        if not {"T", "dtype"} & set(attributes):
            attributes["T"] = to.type_attr(DT_FLOAT)
        for key, value in attributes.items():
            node.attr[key].CopyFrom(value)
        self.shapes[name] = dims
        return name

    def constant(self, name: str, value: float | Sequence[int], owner: str = "") -> str:
        """A float32 scalar or an int32 vector."""
        if isinstance(value, float):
            dtype, tensor = DT_FLOAT, scalar_tensor(value, DT_FLOAT)
        else:
            dtype, tensor = DT_INT32, vector_tensor(value, DT_INT32)
        dims: Shape = () if isinstance(value, float) else (len(value),)
        attributes = {"dtype": to.type_attr(dtype), "value": to.tensor_attr(tensor)}
        return self.add("Const", name, (), dims, owner, **attributes)

    def filled(self, name: str, value: float, dims: Shape, owner: str = "") -> str:
        """A float32 Const with one value throughout."""
        values = [value] if any(dims) else []
        tensor = TensorProto(dtype=DT_FLOAT, tensor_shape=to.shape_proto(dims), float_val=values)
        attributes = {"dtype": to.type_attr(DT_FLOAT), "value": to.tensor_attr(tensor)}
        return self.add("Const", name, (), dims, owner, **attributes)

    def variable(self, name: str, shape: Shape, initial: str, trainable: bool) -> str:
        """A reference variable and its reading."""
        dtype, blank = to.type_attr(DT_FLOAT), to.bytes_attr(b"")
        stored = {"shape": to.shape_attr(shape), "container": blank, "shared_name": blank}
        self.add("VariableV2", name, (), shape, dtype=dtype, **stored)
        locking = {"use_locking": to.bool_attr(True), "validate_shape": to.bool_attr(True)}
        self.add("Assign", f"{name}/Assign", (name, initial), shape, name, **locking)
        read = self.add("Identity", f"{name}/read", (name,), shape, name)
        serialised = variable_def(
            variable=name, initializer=f"{name}/Assign", initial_value=f"{initial}:0", snapshot=f"{read}:0",
            is_resource=False, trainable=trainable,
        )  # fmt: skip
        add_variables(self.meta, [serialised], trainable=trainable)
        return read

    def weights(self, name: str, shape: Shape) -> str:
        """A variable with a truncated normal initializer."""
        start = f"{name}/Initializer/truncated_normal"
        size = self.constant(f"{start}/shape", shape, name)
        mean, deviation = self.constant(f"{start}/mean", 0.0, name), self.constant(f"{start}/stddev", 0.1, name)
        seeds = {"seed": to.int_attr(1234), "seed2": to.int_attr(96)}
        types = {"dtype": to.type_attr(DT_FLOAT), "T": to.type_attr(DT_INT32)}
        drawn = self.add("TruncatedNormal", f"{start}/TruncatedNormal", (size,), shape, name, **types, **seeds)
        scaled = self.add("Mul", f"{start}/mul", (drawn, deviation), shape, name)
        initial = self.add("Add", start, (scaled, mean), shape, name)
        return self.variable(name, shape, initial, trainable=True)

    def conv(self, scope: str, x: str, kernel: int, channels: int, stride: int = 1) -> str:
        """Convolution, batch norm and its two moving averages: 41 nodes."""
        batch, height, width, depth = self.shapes[x]
        weights = self.weights(f"{scope}/weights", (kernel, kernel, depth, channels))
        self.constant(f"{scope}/dilation_rate", (1, 1))
        shape = (batch, -(-height // stride), -(-width // stride), channels)
        attributes = {
            "strides": to.ints_attr((1, stride, stride, 1)), "dilations": to.ints_attr((1, 1, 1, 1)),
            "padding": to.bytes_attr(b"SAME"), "data_format": to.bytes_attr(b"NHWC"),
            "explicit_paddings": to.ints_attr(()), "use_cudnn_on_gpu": to.bool_attr(True),
        }  # fmt: skip
        y = self.add("Conv2D", f"{scope}/Conv2D", (x, weights), shape, **attributes)
        return self._batch_norm(f"{scope}/BatchNorm", y)

    def _batch_norm(self, scope: str, y: str) -> str:
        shape = self.shapes[y]
        channels = shape[-1:]
        reads = {}
        starts = {"gamma": 1.0, "beta": 0.0, "moving_mean": 0.0, "moving_variance": 1.0}
        for which, start in starts.items():
            name = f"{scope}/{which}"
            initial = self.filled(f"{name}/Initializer/{'ones' if start else 'zeros'}", start, channels, name)
            reads[which] = self.variable(name, channels, initial, trainable=which in ("gamma", "beta"))
        empty = [self.filled(f"{scope}/{name}", 0.0, (0,)) for name in ("Const", "Const_1")]
        attributes = {
            "U": to.type_attr(DT_FLOAT), "is_training": to.bool_attr(True), "epsilon": to.float_attr(1.001e-5),
            "data_format": to.bytes_attr(b"NHWC"),
        }  # fmt: skip
        inputs = (y, reads["gamma"], reads["beta"], *empty)
        norm = self.add("FusedBatchNormV3", f"{scope}/FusedBatchNormV3", inputs, shape, **attributes)
        decay = self.constant(f"{scope}/Const_2", 0.997)
        for port, which in enumerate(("moving_mean", "moving_variance"), 1):
            owner, update = f"{scope}/{which}", f"{scope}/AssignMovingAvg" + ("_1" if port == 2 else "")
            one = self.constant(f"{update}/sub/x", 1.0, owner)
            rate = self.add("Sub", f"{update}/sub", (one, decay), (), owner)
            difference = self.add("Sub", f"{update}/sub_1", (reads[which], f"{norm}:{port}"), channels, owner)
            amount = self.add("Mul", f"{update}/mul", (difference, rate), channels, owner)
            locking = {"use_locking": to.bool_attr(False)}
            self.add("AssignSub", update, (owner, amount), channels, owner, **locking)
            self.meta.collection_def["update_ops"].node_list.value.append(update)
        return norm

    def relu(self, name: str, x: str) -> str:
        return self.add("Relu", name, (x,), self.shapes[x])

    def regularizer(self, scope: str) -> str:
        """The L2 loss of a layer's weights."""
        name = f"{scope}/kernel/Regularizer/l2_regularizer"
        scale = self.constant(f"{name}/scale", 1e-4)
        loss = self.add("L2Loss", f"{name}/L2Loss", (f"{scope}/weights/read",), ())
        return self.add("Mul", name, (scale, loss), ())

    def subsampled(self, name: str, x: str) -> str:
        """Every second row and column."""
        batch, height, width, depth = self.shapes[x]
        steps = {"ksize": to.ints_attr((1, 1, 1, 1)), "strides": to.ints_attr((1, 2, 2, 1))}
        kind = {"padding": to.bytes_attr(b"VALID"), "data_format": to.bytes_attr(b"NHWC")}
        return self.add("MaxPool", name, (x,), (batch, -(-height // 2), -(-width // 2), depth), **steps, **kind)

    def image(self, size: int) -> str:
        shape = (2, size, size, 3)
        kind = {"dtype": to.type_attr(DT_FLOAT), "shape": to.shape_attr(shape)}
        return self.add("Placeholder", "input", (), shape, **kind)


def chain(layers: int) -> tuple[Any, str]:
    """A training graph of so many layers of conv, batch norm and relu; returns it and its output."""
    slim = Slim()
    x = slim.image(16)
    for layer in range(layers):
        scope = f"net/conv_{layer}"
        x = slim.relu(f"{scope}/Relu", slim.conv(scope, x, 3, 8))
    return slim.meta, f"{x}:0"


def resnet(blocks: Sequence[int] = (3, 8, 36, 3)) -> tuple[Any, str]:
    """The training graph of a ResNet-152 with L2 losses on its weights; returns it and its output."""
    slim = Slim()
    x = slim.relu("resnet/conv1/Relu", slim.conv("resnet/conv1", slim.image(128), 7, 64, 2))
    losses = [slim.regularizer("resnet/conv1")]
    for block, units in enumerate(blocks):
        depth = 64 << block
        for unit in range(units):
            scope = f"resnet/block{block + 1}/unit_{unit + 1}/bottleneck_v1"
            stride = 2 if unit == units - 1 and block < 3 else 1
            shortcut = x
            if unit == 0:
                shortcut = slim.conv(f"{scope}/shortcut", x, 1, 4 * depth, stride)
                losses.append(slim.regularizer(f"{scope}/shortcut"))
            elif stride == 2:
                shortcut = slim.subsampled(f"{scope}/shortcut/MaxPool", x)
            y = slim.relu(f"{scope}/conv1/Relu", slim.conv(f"{scope}/conv1", x, 1, depth))
            y = slim.relu(f"{scope}/conv2/Relu", slim.conv(f"{scope}/conv2", y, 3, depth, stride))
            y = slim.conv(f"{scope}/conv3", y, 1, 4 * depth)
            total = slim.add("AddV2", f"{scope}/add", (shortcut, y), slim.shapes[y])
            x = slim.relu(f"{scope}/Relu", total)
            losses += [slim.regularizer(f"{scope}/{name}") for name in ("conv1", "conv2", "conv3")]
    slim.add("AddN", "total_loss", losses, (), N=to.int_attr(len(losses)))
    return slim.meta, f"{x}:0"


class Job:
    """A process to be timed.

    Args:
        arguments: after the interpreter; "{out}" becomes a new file each time.
    """

    def __init__(self, *arguments: str) -> None:
        self.arguments = arguments
        self.seconds: list[float] = []

    def run(self, folder: Path) -> Path:
        """Runs it once, on an output that does not exist yet; returns that path."""
        output = Path(tempfile.mkdtemp(dir=folder)) / "out.meta"
        command = [sys.executable, *(argument.replace("{out}", str(output)) for argument in self.arguments)]
        # Byte code is cached, as it is for anybody's second run.
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        environment["PYTHONPATH"] = str(ROOT)
        start = time.perf_counter()
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)
        self.seconds.append(time.perf_counter() - start)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}\n{done.stderr.decode()}")
        return output

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def train(graph: Path, output: str) -> Job:
    return Job("-m", "fqrewrite", "train", str(graph), "--outputs", output, "-o", "{out}")


def time_all(jobs: Sequence[Job], runs: int, folder: Path) -> None:
    """Times the jobs in turn, so that what else goes on in the machine hits all of them; the first turn warms up."""
    for turn in range(runs + 1):
        for job in jobs:
            shutil.rmtree(job.run(folder).parent)
            if turn == 0:
                job.seconds.clear()


def stored(graph: tuple[Any, str], path: Path) -> tuple[Path, str]:
    """Writes a graph to a file; returns the file and the graph's output."""
    path.write_bytes(graph[0].SerializeToString())
    return path, graph[1]


def nodes(path: Path) -> int:
    """How many nodes a MetaGraphDef has."""
    return len(MetaGraphDef.FromString(path.read_bytes()).graph_def.node)


def measure(resnet_file: Path | None, runs: int, folder: Path) -> dict[str, Any]:
    """All the numbers."""
    big = (resnet_file, "total_loss:0") if resnet_file else stored(resnet(), folder / "resnet.meta")
    chains = {layers: stored(chain(layers), folder / f"chain_{layers}.meta") for layers in LAYERS}
    base, rewrite = Job("-c", PARSE_AND_SERIALISE, str(big[0]), "{out}"), train(*big)
    chain_jobs = {layers: train(*graph) for layers, graph in chains.items()}
    usage = Job("-m", "fqrewrite", "--help")
    time_all([base, rewrite], runs, folder)
    time_all([*chain_jobs.values(), usage], runs, folder)
    results: dict[str, Any] = {
        "runs": runs,
        "resnet": {
            "file": str(resnet_file or "synthetic"),
            "nodes_in": nodes(big[0]), "nodes_out": nodes(rewrite.run(folder)),
            "parse_and_serialise_s": base.median, "train_s": rewrite.median, "ratio": rewrite.median / base.median,
        },
        "chains": {
            layers: {
                "nodes_in": nodes(chains[layers][0]), "nodes_out": nodes(job.run(folder)), "train_s": job.median,
            }
            for layers, job in chain_jobs.items()
        },
        "help_s": usage.median,
    }  # fmt: skip
    short, long = (chain_jobs[layers].median for layers in LAYERS)
    results["chain_ratio"] = long / short
    return results


def report(results: Mapping[str, Any]) -> bool:
    """Prints the numbers beside their goals; returns whether all are met."""
    big, short, long = results["resnet"], *(results["chains"][layers] for layers in LAYERS)
    print(f"medians of {results['runs']} runs, whole processes, Python {sys.version.split()[0]}")
    print(f"ResNet-152, {big['nodes_in']} nodes in, {big['nodes_out']} out ({big['file']})")
    print(f"  parse and serialise {big['parse_and_serialise_s'] * 1e3:.0f} ms, train {big['train_s'] * 1e3:.0f} ms")
    for layers, numbers in results["chains"].items():
        sizes = f"{numbers['nodes_in']} nodes in, {numbers['nodes_out']} out"
        print(f"chain of {layers} layers, {sizes}: train {numbers['train_s']:.3f} s")
    goals = [
        ("ResNet-152: train / parse and serialise", big["ratio"], MOST_RESNET_RATIO, ""),
        (f"chain of {LAYERS[1]} layers: train", long["train_s"], MOST_CHAIN_SECONDS, " s"),
        (f"chain of {LAYERS[1]} layers / {LAYERS[0]}", long["train_s"] / short["train_s"], MOST_CHAIN_RATIO, ""),
        ("--help", results["help_s"], MOST_HELP_SECONDS, " s"),
    ]
    for what, got, most, unit in goals:
        print(f"{'ok    ' if got <= most else 'MISSED'} {what}: {got:.2f}{unit} (goal {most:g}{unit})")
    return all(got <= most for _, got, most, _ in goals)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--resnet", type=Path, help="training MetaGraphDef with a total_loss:0, about 7,500 nodes")
    parser.add_argument("--runs", type=int, default=15, help="of each process (default 15)")
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    parser.add_argument("--check", action="store_true", help="exit with status 1 when a goal is missed")
    options = parser.parse_args()
    recorded = options.resnet or (RECORDED_RESNET if RECORDED_RESNET.exists() else None)
    with tempfile.TemporaryDirectory() as folder:
        results = measure(recorded and recorded.resolve(), options.runs, Path(folder))
    met = report(results)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return 1 if options.check and not met else 0


if __name__ == "__main__":
    sys.exit(main())
