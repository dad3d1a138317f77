"""Converts frozen fake-quantized graphs, as `fqrewrite eval` writes them, to integer TFLite models beside them.

    python scripts/convert_tflite.py eval.pb --input images --output logits/act_quant/FakeQuantWithMinMaxVars:0

writes eval.tflite. Preset contrib has no quantizer on the graph's input, so the converter is told that 0 to 255 stand
for 0 to 1.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

# oneDNN's rewrites change numbers and can crash TF 2.21's CPU build; both must be set before the import.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf

# The integer that stands for 0.0 in the input. It is also the `mean` of the converter's `quantized_input_stats`.
ZERO = {"uint8": 0, "int8": -128}


def convert(graph: Path, input_node: str, output: str, integers: str) -> bytes:
    """The TFLite flatbuffer of a frozen graph.

    Args:
        graph: a binary GraphDef without variables, every activation behind a fake quantizer.
        input_node: the placeholder, float32 in [0, 1].
        output: the tensor to compute, a fake quantizer's.
        integers: "uint8", which takes asymmetric weights per tensor, or "int8", which needs symmetric ones and
            stores weights of 4 bits in 4 bits.
    """
    converter = tf.compat.v1.lite.TFLiteConverter.from_frozen_graph(
        str(graph), input_arrays=[input_node], output_arrays=[output.removesuffix(":0")]
    )
    converter.inference_type = tf.as_dtype(integers)
    converter.quantized_input_stats = {input_node: (float(ZERO[integers]), 255.0)}
    flatbuffer: bytes = converter.convert()
    return flatbuffer


def main() -> None:
    parser = argparse.ArgumentParser(description="Convert frozen fake-quantized graphs to integer TFLite models.")
    parser.add_argument("graphs", type=Path, nargs="+", help="GraphDefs; GRAPH.pb becomes GRAPH.tflite")
    parser.add_argument("--input", required=True, help="the placeholder's node name")
    parser.add_argument("--output", required=True, help="the tensor to compute")
    parser.add_argument("--integers", choices=sorted(ZERO), default="uint8")
    options = parser.parse_args()
    for graph in options.graphs:
        graph.with_suffix(".tflite").write_bytes(convert(graph, options.input, options.output, options.integers))


if __name__ == "__main__":
    main()
