"""Every stable code a user can meet, what it means and what to do: README's table and `fqrewrite explain`.

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
        "`fqrewrite plan MODEL` lists what is left out and why; pass --allow-empty if that is what you want.",
    ),
    "nothing-trainable": (
        "Every layer's weights are constants (a frozen graph), so a training graph would have nothing to train.",
        "Rewrite the graph with its variables (.meta), or use `fqrewrite eval`, which takes frozen graphs.",
    ),
    "training-graph-in-eval": (
        "The graph normalises with the statistics of the batch (batch norm in training mode), so an eval graph made "
        "of it would not be an inference graph.",
        "Build the graph with is_training=False and rewrite that; its variables have the same names.",
    ),
    "scope-matches-nothing": ("No node is in the configured scope.", "Correct `scope`, or leave it out."),
    "output-not-found": ("A named output is not in the graph.", "Correct `outputs`, or leave it out."),
    "outputs-ambiguous": (
        "No output is named by a config, a signature or a collection, and several tensors look like one.",
        "Name the outputs: --outputs a:0,b:0.",
    ),
    "outputs-none": ("No tensor looks like an output.", "Name the outputs: --outputs a:0."),
    "plan-mismatch": (
        "The plan was made from another file, or by another version of its format.",
        "Make the plan again with `fqrewrite plan MODEL --json -o plan.json`.",
    ),
    "plan-unreadable": (
        "The plan file is no plan, or was edited.",
        "Make it with `fqrewrite plan MODEL -o plan.json`; changes belong into the config that it is made with.",
    ),
    "plan-conflict": (
        "An option was given that would change a plan that is already made.",
        "Leave the option out, or leave --plan out.",
    ),
    "config-not-found": (
        "The config file does not exist.",
        "Check the path after -c; `fqrewrite config init` prints a file to start from.",
    ),
    "config-unreadable": (
        "The config path is a folder, not UTF-8 text, or may not be read.",
        "Give a YAML text file in UTF-8 that you may read.",
    ),
    "config-syntax": (
        "The file is not a single well-formed YAML document.",
        "Correct the YAML at the line named; indent with spaces.",
    ),
    "config-duplicate-key": ("A key is given twice in one mapping.", "Keep one of the two lines."),
    "config-unknown-key": (
        "A key that the format does not have.",
        "Use the key suggested; `fqrewrite config schema` lists all keys.",
    ),
    "config-value": (
        "A value of the wrong type or out of range, a missing `match`, or a rule without effect.",
        "Write what the message says is expected.",
    ),
    "config-version": (
        "The file is of a format version that this fqrewrite does not read.",
        "Write `version: 1`, or install the fqrewrite that reads that version.",
    ),
    "config-preset": ("There is no preset of that name.", "Choose one of the presets listed in the message."),
    "config-selector": (
        "A `match` pattern that could never match a node, or an invalid regular expression.",
        "Use a node name, a scope, a glob (`*`, `**`, `?`) or `regex:...`; rules match nodes, so leave out `:0`.",
    ),
    "file-not-found": ("There is no such file.", "Check the path; for a checkpoint give its .meta."),
    "file-unreadable": ("The operating system cannot read the file.", "Check its permissions and the path."),
    "is-a-directory": (
        "The input is a directory, and not a SavedModel.",
        "Give the .pb, .pbtxt or .meta file in it.",
    ),
    "file-empty": ("The file has no bytes.", "Export or copy it again."),
    "file-truncated": (
        "The file ends in the middle of a graph.",
        "Copy or download it again, and compare sizes.",
    ),
    "file-foreign": (
        "It is not a TensorFlow graph (the message says what it looks like), or it is damaged.",
        "Give the GraphDef or MetaGraphDef that was exported from TensorFlow.",
    ),
    "saved-model-not-supported": (
        "A SavedModel, which this version cannot read yet.",
        "Export a .meta or .pb from it; SavedModels come with a later version.",
    ),
    "pbtxt-syntax": (
        "The text is not protobuf text of a graph; the message names the line.",
        "Correct that line; at the end of the file it was probably cut off.",
    ),
    "graph-empty": ("The graph has no nodes.", "Export the graph that holds the model's operations."),
    "graph-too-large": (
        "The file has 2 GiB or more, protobuf's limit.",
        "Keep weights in variables and a checkpoint, not in constants.",
    ),
    "unknown-fields-in-text": (
        "Text format would lose fields that a later TensorFlow wrote.",
        "Write .pb or .meta.",
    ),
    "output-unwritable": (
        "The output cannot be written: no such directory, no permission, disk full, or not a regular file.",
        "Choose a path that you can write.",
    ),
    "output-suffix": (
        "The output's suffix does not say what to write.",
        "Use .pb, .pbtxt, .meta or .meta.pbtxt.",
    ),
    "output-is-input": ("An output is an input too, perhaps through a link.", "Choose another output path."),
    "outputs-not-distinct": ("Two outputs are the same file.", "Give graph and report different paths."),
    "collection-malformed": (
        "A variable collection holds something other than variables.",
        "Export the MetaGraphDef again.",
    ),
    "tensor-malformed": (
        "A constant's size and shape contradict each other.",
        "The file is damaged; export it again.",
    ),
    "tensor-dtype": (
        "A constant's dtype cannot be computed with.",
        "Cast it to float32, or leave the layer out.",
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
    "wrong-number-of-inputs": (
        "A node has fewer or more inputs than its operation takes, which TensorFlow does not allow.",
        "Export the graph again; the file is damaged.",
    ),
    "bad-input-syntax": ("An input is not written as TensorFlow writes tensors.", "Export the graph again."),
    "graph-cycle": (
        "Nodes depend on each other in a circle that is no while loop.",
        "Export the graph again; TensorFlow cannot run it either.",
    ),
    "no-such-node": ("A plan names a node that the graph does not have.", "Make the plan again from this very file."),
    "broken-invariant": ("The edited graph is inconsistent: a bug of fqrewrite.", "Please report it with the input."),
    "graph-text-syntax": ("A printed graph cannot be read.", "Correct the line named; the form is in `ir/text.py`."),
    "graph-text-inexpressible": (
        "An attribute has no printed form.",
        "Print the GraphDef as pbtxt instead.",
    ),
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
    "batch-norm-conditioned": (
        "A batch norm whose gamma or beta is computed from data stays float behind its layer, which is quantized.",
        "Nothing, if it is meant; else keep gamma and beta in variables.",
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
    "input-not-quantized": (
        "Preset contrib quantizes no input of the graph (as tf.contrib.quantize did not).",
        "Tell the converter the input's range: `quantized_input_stats` of the TFLite v1 converter.",
    ),
    "no-quantizer-in-preset": (
        "A result that preset contrib has no quantizer for, although what goes in is quantized.",
        "Expect a float island here, or build the model from operations that `fqrewrite rules` lists.",
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
    "no-collections": (
        "A GraphDef has no collections, so `import_graph_def` finds no variables to train.",
        "Write a MetaGraphDef: `-o NAME.meta`.",
    ),
    "saver-dropped": (
        "The saver stored in the model does not know the new variables and was left out.",
        "Nothing: `import_meta_graph` makes a new saver for all variables.",
    ),
    "second-batch-norm": ("Two batch norms follow one layer; the first is folded.", "Give each its own layer."),
    "selector-matches-nothing": (
        "A rule of the config matches no layer.",
        "Compare the pattern with the names in `fqrewrite plan`; a glob must match the whole name.",
    ),
    "unfolded-branch": (
        "Something reads a layer in front of its batch norm; that branch keeps the layer unfolded and float.",
        "Nothing, if it is meant; else let it read what is behind the batch norm.",
    ),
    "weights-not-evaluated": (
        "Constant weights are computed by an operation that is not evaluated here, so their range is not known.",
        "Fold constants before (for instance with grappler), or restore trained ranges.",
    ),
    "variable-not-described": (
        "A variable of a GraphDef has no initializer or no read in the graph, so no collection can describe it.",
        "Write a MetaGraphDef from the program that made the graph, and rewrite that.",
    ),
}


def _codes(kind: Kind, table: dict[str, tuple[str, str]]) -> dict[str, Code]:
    return {name: Code(name, kind, meaning, remedy) for name, (meaning, remedy) in table.items()}


CODES: dict[str, Code] = {**_codes("error", _ERRORS), **_codes("left-out", _LEFT_OUT), **_codes("note", _NOTES)}
