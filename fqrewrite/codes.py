"""Every stable code a user can meet: what it means and what to do. README's table and `fqrewrite explain` are made of it.

Kinds: an "error" ends the run; "left-out" is the reason for which a layer or tensor stays as it is; a "note" is worth
knowing. Codes are never renamed.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Kind = Literal["error", "left-out", "note"]


class Code(msgspec.Struct, frozen=True):
    """One stable code.

    Attributes:
        name: as it stands in messages and reports.
        kind: "error", "left-out" or "note".
        meaning: one or two sentences, Markdown.
        remedy: what to do, one sentence.
    """

    name: str
    kind: Kind
    meaning: str
    remedy: str


_ERRORS: dict[str, tuple[str, str]] = {
    "already-rewritten": (
        "The graph carries this tool's mark, or fake quantizers as tf.contrib.quantize inserts them.",
        "Rewrite the float graph that it was made from.",
    ),
    "graph-has-gradients": (
        "The graph holds a backward pass or an optimizer. Quantizers inserted now would miss the gradients, which "
        "would be those of another function.",
        "Export the graph before `minimize` or `gradients` is called, rewrite it, then add the optimizer.",
    ),
    "nothing-quantized": (
        "The rewrite would insert no quantizer at all.",
        "Look at what was left out and why in the report; pass --allow-empty if that is what you want.",
    ),
    "nothing-trainable": (
        "Every layer's weights are constants (a frozen graph), so a training graph would have nothing to train.",
        "Rewrite the graph with its variables (.meta with checkpoint), or use `fqrewrite eval`, which takes frozen graphs.",
    ),
    "training-graph-in-eval": (
        "The graph normalises with the statistics of the batch (batch norm in training mode), so an eval graph made "
        "of it would not be an inference graph.",
        "Build the graph with is_training=False and rewrite that; its variables have the same names.",
    ),
    "scope-matches-nothing": ("No node is in the configured scope.", "Correct `scope`, or leave it out."),
    "output-not-found": ("A named output is not in the graph.", "Correct `outputs`; `fqrewrite plan` lists candidates."),
    "outputs-ambiguous": (
        "No output is named by a config, a signature or a collection, and several tensors look like one.",
        "Name the outputs: --outputs a:0,b:0.",
    ),
    "outputs-none": ("No tensor looks like an output.", "Name the outputs: --outputs a:0."),
    "plan-mismatch": (
        "The plan was made from another file, or by another version of its format.",
        "Make the plan again with `fqrewrite plan MODEL --json -o plan.json`.",
    ),
    "plan-unreadable": ("The plan file is no plan.", "Make it with `fqrewrite plan MODEL --json -o plan.json`."),
    "plan-conflict": (
        "An option was given that would change a plan that is already made.",
        "Leave the option out, or leave --plan out.",
    ),
    "node-name-missing": ("A node of the graph has no name or no op.", "Export the graph again; the file is damaged."),
    "duplicate-node-name": (
        "Two nodes have one name, which TensorFlow does not allow.",
        "Export the graph again, or import one part of it under a name scope.",
    ),
    "dangling-input": (
        "A node reads a node that is not in the graph.",
        "Export the whole graph; the file was cut from a larger one.",
    ),
    "bad-input-syntax": ("An input is not written as TensorFlow writes tensors.", "Export the graph again."),
    "graph-cycle": (
        "Nodes depend on each other in a circle that is no while loop.",
        "Export the graph again; TensorFlow cannot run it either.",
    ),
    "no-such-node": ("A plan names a node that the graph does not have.", "Make the plan again from this very file."),
    "broken-invariant": ("The edited graph is inconsistent: a bug of fqrewrite.", "Please report it with the input."),
    "item-realised-twice": ("A plan lists one item twice.", "Make the plan again."),
    "unknown-code": ("There is no such code.", "`fqrewrite explain` without a code lists them all."),
    "internal-error": ("fqrewrite met a case it does not know: a bug.", "Please report it with the input."),
}

_LEFT_OUT: dict[str, tuple[str, str]] = {
    "already-quantized": (
        "A fake quantizer of the model's own is there.",
        "Nothing, if it is meant; else remove it from the model.",
    ),
    "batch-norm-channels-differ": (
        "The batch norm does not normalise the layer's output channels.",
        "Normalise the layer's own output, before it is reshaped.",
    ),
    "batch-norm-not-after-layer": (
        "A batch norm that follows no layer (for instance one behind an activation) cannot be folded; it stays float.",
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
        "A conditional on an is_training or learning-phase placeholder chooses between two batch norms.",
        "Build the graph with a Python bool for is_training (K.set_learning_phase for Keras), once for training and "
        "once for eval.",
    ),
    "batch-norm-without-moving-average": (
        "A batch norm in training mode without moving-average updates has no inference form.",
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
    "inside-control-flow": (
        "Quantizers with state cannot be put inside a v1 conditional or while loop.",
        "Unroll the loop, or fix the condition when the graph is built.",
    ),
    "inside-dropout": (
        "Dropout is gone in the inference graph, so a quantizer in it would have no counterpart.",
        "Nothing.",
    ),
    "inside-function": (
        "The layer is in the body of a library function, which this version does not rewrite.",
        "Export the graph with functions inlined.",
    ),
    "layer-not-quantizable": (
        "An operation with weights that the preset has no quantizer for.",
        "Keep it float, or build the layer from Conv2D, DepthwiseConv2dNative or MatMul.",
    ),
    "outside-scope": ("It is outside the configured `scope`.", "Widen `scope`, or leave it out."),
    "weights-are-data": (
        "Both inputs depend on the graph's input, as in attention: there are no weights to quantize.",
        "Nothing; its inputs are quantized where layers before it end.",
    ),
}

_NOTES: dict[str, tuple[str, str]] = {
    "output-not-quantized": (
        "The fetched tensor is the last one; its quantizer stands behind it and nothing reads it (as in contrib).",
        "Fetch the quantizer's output, <scope>/FakeQuantWithMinMaxVars:0, to see the quantized numbers.",
    ),
    "per-channel-unavailable": (
        "Per-channel weights were asked for where the layer cannot have them; per tensor was taken.",
        "Nothing, or set `granularity: per_tensor` for this layer.",
    ),
    "range-not-trained": (
        "The ranges of activations are variables with initial values; an eval graph needs trained ones.",
        "Restore a checkpoint of the matching training graph before the graph is frozen.",
    ),
    "saver-dropped": (
        "The saver stored in the model does not know the new variables and was left out.",
        "Nothing: `import_meta_graph` makes a new saver for all variables.",
    ),
    "second-batch-norm": ("Two batch norms follow one layer; the first is folded.", "Give each its own layer."),
    "selector-matches-nothing": ("A rule of the config matches no layer.", "Correct the selector."),
    "stale-shapes-dropped": (
        "`_output_shapes` attributes that the edits made stale were removed.",
        "Nothing.",
    ),
}


def _codes(kind: Kind, table: dict[str, tuple[str, str]]) -> dict[str, Code]:
    return {name: Code(name, kind, meaning, remedy) for name, (meaning, remedy) in table.items()}


CODES: dict[str, Code] = {**_codes("error", _ERRORS), **_codes("left-out", _LEFT_OUT), **_codes("note", _NOTES)}
