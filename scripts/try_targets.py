"""Graphs of the presets in the tools that they are for: OpenVINO, onnxruntime, TFLite's older converter.

    python scripts/try_targets.py [--models DIR]        # presets, on a small net and on emotion.pb of ../shared/models
    python scripts/try_targets.py --settings            # what becomes of settings that a preset does not have

Each graph is made by `fqrewrite calibrate` and `eval`, given to the tool, and run on random inputs next to the
fake-quantized graph in TensorFlow. Prints a Markdown table: operations on data in integers and in float, and how far
the outputs differ, in steps of the output's quantizer. With --settings the rows are the small net with other schemes
than the preset's, with `target: null` so that nothing is refused: the reasons in fqrewrite/config/targets.py come from
there. A tool that is not installed is skipped: `pip install openvino`, `pip install tf2onnx onnx onnxruntime`.
"""

from __future__ import annotations

import os

# oneDNN's rewrites change numbers and can crash TF 2.21's CPU build; both must be set before the import.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import importlib.util
import json
import logging
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from integer_tasks.route import ROOT, Array, StepFailed, fqrewrite, run_graph, save

tf1 = tf.compat.v1
SAMPLES = 16

# Settings that differ from the preset's, for each target: what --settings tries.
SETTINGS = {
    "openvino": (
        "weights: {granularity: per_tensor}",
        "weights: {symmetric: false}",
        "weights: {narrow_range: false}",
        "weights: {bits: 4}",
        "activations: {symmetric: true}",
        "activations: {bits: 7}",
        "activations: {bits: 4}",
    ),
    "onnx-qdq": (
        "weights: {granularity: per_channel}",
        "weights: {symmetric: true}",
        "weights: {narrow_range: true}",
        "weights: {symmetric: true, narrow_range: true}",
        "weights: {bits: 4}",
        "weights: {bits: 5}",
        "activations: {symmetric: true}",
        "activations: {bits: 4}",
    ),
    "tflite-uint8": (
        "weights: {granularity: per_channel}",
        "weights: {symmetric: true}",
        "weights: {narrow_range: false}",
        "weights: {bits: 4}",
        "activations: {symmetric: true}",
        "activations: {bits: 4}",
    ),
}


class Run(NamedTuple):
    """What a tool made of a graph.

    Attributes:
        outputs: in the order of the graph's outputs; None when the tool does not give them.
        operations: those on data that it runs in integers, and in float, counted by kind.
        weights: how it holds them.
        steps: (greatest, mean) difference in steps, when the tool measured it itself.
    """

    outputs: list[Array] | None
    integer: Counter[str]
    floating: Counter[str]
    weights: str
    steps: tuple[float, float] | None = None


class Graph(NamedTuple):
    """A fake-quantized graph: its file, its outputs, and inputs by placeholder."""

    file: Path
    outputs: list[str]
    feeds: dict[str, Array]


# The operand of onnxruntime's operations that holds the weights.
_WEIGHTS = {"QLinearConv": 3, "QLinearMatMul": 3, "QGemm": 3, "Conv": 1, "FusedConv": 1, "Gemm": 1, "MatMul": 1}


def run_openvino(graph: Graph) -> Run:
    """`openvino.convert_model` and the CPU plugin."""
    import openvino

    # Without the names, whatever nobody reads is an output too: the layers from before batch norms were folded in.
    model = openvino.convert_model(graph.file, output=graph.outputs)
    keys = [port.any_name.removesuffix(":0") for port in model.inputs]
    model.reshape({index: list(graph.feeds[key].shape) for index, key in enumerate(keys)})
    # bfloat16, the plugin's choice on some processors, has nothing to do with the integers.
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    results = compiled([graph.feeds[key] for key in keys])
    integer, floating, weights = Counter[str](), Counter[str](), Counter[str]()
    for node in compiled.get_runtime_model().get_ops():
        facts = node.get_rt_info()
        kind, precision = (facts[key].astype(str) for key in ("layerType", "runtimePrecision"))
        if kind == "Const":
            weights[precision] += 1
        elif kind not in ("Input", "Output", "Reorder", "Reshape"):
            (integer if precision in ("u8", "i8") else floating)[kind] += 1
    held = ", ".join(f"{count} {kind}" for kind, count in sorted(weights.items()) if kind != "i32")
    # By name, as the outputs of a graph with several need not keep their order.
    by_name = {name.removesuffix(":0"): np.array(results[port]) for port in compiled.outputs for name in port.names}
    return Run([by_name[name.removesuffix(":0")] for name in graph.outputs], integer, floating, held)


def run_onnx(graph: Graph) -> Run:
    """`tf2onnx.convert` with opset 13, and onnxruntime's CPU provider with its default optimisations."""
    import onnx
    import onnxruntime
    import tf2onnx

    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    graph_def = tf1.GraphDef.FromString(graph.file.read_bytes())
    model, _ = tf2onnx.convert.from_graph_def(
        graph_def, input_names=[f"{key}:0" for key in graph.feeds], output_names=graph.outputs, opset=13
    )
    optimised = graph.file.with_suffix(".optimised.onnx")
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(optimised)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    outputs = session.run(graph.outputs, {f"{key}:0": array for key, array in graph.feeds.items()})
    content = onnx.load(optimised).graph
    types = {tensor.name: onnx.TensorProto.DataType.Name(tensor.data_type).lower() for tensor in content.initializer}
    made = {name: node for node in content.node for name in node.output}
    integer, floating, weights = Counter[str](), Counter[str](), Counter[str]()
    for node in content.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            continue
        source = made.get(node.input[0])
        from_float = source is None or source.op_type == "DequantizeLinear"
        (floating if from_float and not node.op_type.startswith("Q") else integer)[node.op_type] += 1
        if node.op_type in _WEIGHTS:
            weights[types.get(node.input[_WEIGHTS[node.op_type]], "computed")] += 1
    held = ", ".join(f"{count} {kind}" for kind, count in sorted(weights.items()))
    return Run(outputs, integer, floating, held)


def run_tflite(graph: Graph, target: str) -> Run:
    """`fqrewrite check --convert`."""
    report = graph.file.with_suffix(".check.json")
    data = graph.file.with_suffix(".npz")
    save(data, graph.feeds)
    arguments = ("--target", target, "--convert", "--data", data, "--samples", SAMPLES, "--json", "-o", report)
    fqrewrite("check", graph.file, *arguments, folder=graph.file.parent, statuses=(0, 1))
    found = json.loads(report.read_bytes())["conversion"]
    if found["error"]:
        raise StepFailed(f"{found['error']} (while {found['stage']})")
    floating = Counter(island["op"] for island in found["islands"])
    everything = Counter(
        {op: count for op, count in found["operations"].items() if op not in ("QUANTIZE", "DEQUANTIZE")}
    )
    greatest = max(output["max_error"] for output in found["outputs"])
    mean = float(np.mean([output["mean_error"] for output in found["outputs"]]))
    return Run(None, everything - floating, floating, "", (greatest, mean))


class Tool(NamedTuple):
    """A consumer of graphs: the modules that it needs, and how it is run."""

    modules: tuple[str, ...]
    run: Callable[[Graph], Run]


TOOLS = {
    "openvino": Tool(("openvino",), run_openvino),
    "onnx-qdq": Tool(("tf2onnx", "onnx", "onnxruntime"), run_onnx),
    "tflite-uint8": Tool((), lambda graph: run_tflite(graph, "tflite-uint8")),
    "tflite-int8": Tool((), lambda graph: run_tflite(graph, "tflite-int8")),
}


def small_net(file: Path) -> None:
    """A frozen float net: conv, depthwise conv, residual add, concat, pool and matmul, with batch norms; 3 layers deep.

    Its numbers are random, with channels of very different size, as folded batch norms make them.
    """
    random = np.random.RandomState(0)

    def normal(*shape: int) -> Array:
        numbers: Array = random.randn(*shape) / np.sqrt(np.prod(shape[:-1]))
        return numbers.astype(np.float32)

    def batch_norm(x: Any) -> Any:
        count = int(x.shape[-1])
        parameters = [random.uniform(0.3, 3, count), random.randn(count), random.randn(count) / 2]
        scale, offset, mean = (array.astype(np.float32) for array in parameters)
        variance = random.uniform(0.5, 2, count).astype(np.float32)
        return tf1.nn.fused_batch_norm(x, scale, offset, mean, variance, is_training=False)[0]

    with tf.Graph().as_default() as graph:
        x = tf1.placeholder(tf.float32, [None, 16, 16, 8], name="x")
        a = tf.nn.relu(batch_norm(tf.nn.conv2d(x, normal(3, 3, 8, 16), 1, "SAME", name="conv1")), name="relu1")
        depthwise = tf1.nn.depthwise_conv2d_native(a, normal(3, 3, 16, 1), [1, 1, 1, 1], "SAME", name="depthwise")
        b = tf.nn.relu6(batch_norm(depthwise), name="relu2")
        c = batch_norm(tf.nn.conv2d(b, normal(1, 1, 16, 16), 1, "SAME", name="conv2"))
        d = tf.concat([tf.nn.relu(tf.add(a, c, name="add"), name="relu3"), b], axis=3, name="concat")
        e = tf.reduce_mean(tf.nn.max_pool2d(d, 2, 2, "VALID", name="pool"), axis=[1, 2], name="mean")
        f = tf.nn.bias_add(tf.matmul(e, normal(32, 10), name="matmul"), normal(1, 10)[0])
        tf.identity(f, name="logits")
        file.write_bytes(graph.as_graph_def().SerializeToString(deterministic=True))


def quantized(model: Path, target: str, feeds: dict[str, Array], folder: Path, change: str | None = None) -> Graph:
    """The eval graph of a float one.

    Args:
        target: whose preset.
        change: a line of a config that differs from the preset; nothing is then refused.
    """
    (folder / "config.yaml").write_text(
        f"version: 1\npreset: {target}\n" + (f"target: null\n{change}\n" if change else "")
    )
    save(folder / "data.npz", feeds)
    common = ("--config", "config.yaml", "-q")
    file = folder / f"{model.stem}.{target}.pb"
    fqrewrite("calibrate", model, *common, "--data", "data.npz", "-o", "ranges.json", folder=folder)
    fqrewrite("eval", model, *common, "--ranges", "ranges.json", "-o", file, folder=folder)
    return Graph(file, json.loads(Path(f"{file}.report.json").read_bytes())["outputs"], feeds)


def step(graph: Graph, output: str) -> float:
    """One step of the quantizer that an output comes from."""
    graph_def = tf1.GraphDef.FromString(graph.file.read_bytes())
    nodes = {node.name: node for node in graph_def.node}
    node = nodes[output.partition(":")[0]]
    while node.op != "FakeQuantWithMinMaxVars":
        node = nodes[node.input[0].partition(":")[0]]
    low, high = (float(tf.make_ndarray(nodes[name].attr["value"].tensor)) for name in node.input[1:])
    levels: int = 2 ** int(node.attr["num_bits"].i)
    return (high - low) / (levels - 1)


def row(name: str, target: str, model: Path, feeds: dict[str, Array], folder: Path, change: str | None = None) -> str:
    """One line of the table; what goes wrong is said in it."""
    try:
        graph = quantized(model, target, feeds, folder, change)
        ran = TOOLS[target].run(graph)
    except Exception as error:  # the tools raise whatever they like, and all of it is the answer
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        told = [line for line in lines if "Unable" in line or "error:" in line] or lines[-1:]
        return f"| {target} | {name} | fails: {told[0][:160]} | | | |"
    if ran.outputs is None:
        greatest, mean = ran.steps or (float("nan"), float("nan"))
    else:
        wanted = run_graph(graph.file, feeds, graph.outputs, batch=SAMPLES)
        errors = [
            np.abs(found - want) / step(graph, output)
            for found, want, output in zip(ran.outputs, wanted, graph.outputs, strict=True)
        ]
        greatest, mean = max(float(error.max()) for error in errors), float(np.mean([error.mean() for error in errors]))
    floating = ", ".join(f"{count} {kind}" for kind, count in sorted(ran.floating.items())) or "none"
    return f"| {target} | {name} | {ran.integer.total()} | {floating} | {ran.weights} | {greatest:.1f}, {mean:.3f} |"


def rows(options: argparse.Namespace, folder: Path) -> Iterator[str]:
    """The lines of the table."""
    random = np.random.RandomState(1)
    small = folder / "small.pb"
    small_net(small)
    feeds = {"x": random.randn(SAMPLES, 16, 16, 8).astype(np.float32)}
    emotion = (options.models / "emotion.pb").resolve()
    for target, tool in TOOLS.items():
        missing = [module for module in tool.modules if importlib.util.find_spec(module) is None]
        if missing:
            print(f"skipped: {target}: not installed: {', '.join(missing)} (pip install {' '.join(tool.modules)})")
            continue
        if options.settings:
            for change in SETTINGS.get(target, ()):
                yield row(f"`{change}`", target, small, feeds, folder, change)
            continue
        yield row("small net", target, small, feeds, folder)
        if emotion.is_file():
            faces = {"input_1": random.rand(SAMPLES, 64, 64, 1).astype(np.float32)}
            yield row("emotion", target, emotion, faces, folder)
        else:
            print(f"skipped: {emotion} not found; --models names its folder")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=ROOT.parent / "shared" / "models", help="holds emotion.pb")
    parser.add_argument("--settings", action="store_true", help="other settings than the presets'")
    options = parser.parse_args()
    tf1.disable_eager_execution()
    tf1.logging.set_verbosity(tf1.logging.ERROR)
    with tempfile.TemporaryDirectory() as temporary:
        lines = list(rows(options, Path(temporary)))
    print("\n| target | graph | in integers | in float | weights | difference in steps: greatest, mean |")
    print("|---|---|---|---|---|---|")
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
