"""Why a layer, a batch norm or a tensor stays as it is. By code: its meaning, and what to do."""

from __future__ import annotations

LEFT_OUT: dict[str, tuple[str, str]] = {
    "other-signature": (
        "Only signatures of the SavedModel need it that were not chosen; they stay float.",
        "Nothing, if it is meant; else name them, too: --signature KEY.",
    ),
    "already-quantized": (
        "A fake quantizer of the model's own is there.",
        "Nothing, if it is meant; else remove it from the model.",
    ),
    "batch-norm-channels-differ": (
        "The batch norm does not normalise the layer's output channels.",
        "Normalise the layer's own output, before it is reshaped.",
    ),
    "batch-norm-conditioned": (
        "A batch norm whose gamma or beta is computed from data stays float behind its layer, which is quantized.",
        "Nothing, if it is meant; else keep gamma and beta in variables.",
    ),
    "batch-norm-not-after-layer": (
        "A batch norm that follows no layer (for instance one behind an activation) cannot be folded; it stays float. "
        "(What the preset computes in integers where it stands is not listed.)",
        "Put the batch norm between layer and activation, or keep it float.",
    ),
    "batch-norm-running-average": (
        "A FusedBatchNormV3 whose exponential_avg_factor is not 1 mixes batch and moving statistics.",
        "Build the training graph with exponential_avg_factor 1 and explicit moving-average updates.",
    ),
    "batch-norm-statistics-unknown": (
        "The statistics are computed from data in a way that is not known, so folding would change the function.",
        "Use moving averages kept in variables.",
    ),
    "batch-norm-switched": (
        "A conditional that nothing decides beforehand chooses between two batch norms.",
        "Bind what decides it: --set NAME=false (or the value that means inference).",
    ),
    "batch-norm-without-moving-average": (
        "A batch norm in training mode whose moving-average updates are missing, or are in a form not known, cannot be "
        "given its inference form.",
        "Keep the update ops in the graph when it is exported (UPDATE_OPS).",
    ),
    "data-format-differs": (
        "The batch norm's channels are on another axis than the layer's.",
        "Use one data format for layer and batch norm; NHWC for TFLite.",
    ),
    "dtype-not-float32": (
        "Fake quantizers take float32 only.",
        "Export the model in float32.",
    ),
    "excluded-by-config": ("A rule of the config says `quantize: false`.", "Change the rule to quantize it."),
    "float-in-runtime": (
        "The integer runtime computes this operation in float, whatever ranges there are.",
        "Expect a float operation here, or write it with others, as the reason says.",
    ),
    "inside-control-flow": (
        "Quantizers with state cannot be put inside a v1 conditional or while loop.",
        "Unroll the loop, or fix the condition when the graph is built.",
    ),
    "inside-dropout": (
        "Dropout is gone in the inference graph, so a quantizer in it would have no counterpart.",
        "Nothing.",
    ),
    "inside-function": (
        "The layer is in the body of a loop, of a conditional that nothing decides beforehand, or of a function that "
        "stays a call: one that calls itself, or that the converter knows as one operation (a Keras LSTM).",
        "Expect float operations there; or unroll the loop (Keras: `unroll=True`), or take the layer out of it.",
    ),
    "layer-not-quantizable": (
        "An operation with weights that the preset has no quantizer for.",
        "Keep it float, or build the layer from Conv2D, DepthwiseConv2dNative or MatMul.",
    ),
    "input-not-quantized": (
        "Preset contrib quantizes no input of the graph (as tf.contrib.quantize did not).",
        "Take the preset `tflite-int8` (the default), or give the v1 converter its range: `quantized_input_stats`.",
    ),
    "no-quantizer-in-preset": (
        "A result that preset contrib has no quantizer for, although what goes in is quantized.",
        "Take the preset `tflite-int8` (the default), or expect a float island here.",
    ),
    "operand-stays-float": (
        "An operation that reads what a rule of the config, or the runtime, keeps float is computed in float too.",
        "Nothing, if it is meant; else see why its operand stays float.",
    ),
    "operation-not-known": (
        "No rule says how an integer runtime computes this operation, so it is taken for float.",
        "Expect a float operation here, or build the model from operations that `fqrewrite rules` lists.",
    ),
    "outside-scope": ("It is outside the configured `scope`.", "Widen `scope`, or leave it out."),
    "weights-not-finite": (
        "Constant weights hold NaN or infinity, for which there is no range.",
        "Export the model again from a sound checkpoint.",
    ),
    "weights-are-data": (
        "Both inputs depend on the graph's input, as in attention: there are no weights to quantize.",
        "Nothing; its inputs are quantized where layers before it end.",
    ),
}
