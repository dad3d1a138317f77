"""What is worth knowing and concerns no single layer. By code: its meaning, and what to do."""

from __future__ import annotations

NOTES: dict[str, tuple[str, str]] = {
    "output-not-quantized": (
        "The fetched tensor is the last one; its quantizer stands behind it and nothing reads it (as in contrib).",
        "Fetch the quantizer's output, <scope>/FakeQuantWithMinMaxVars:0, to see the quantized numbers.",
    ),
    "output-not-trained": (
        "The quantizer behind an output has no range, because the loss read the output itself, which stays float.",
        "Nothing; or give its range with --ranges, or compute the loss from the quantizer's output.",
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
    "range-stretched": (
        "Few values make the range of a tensor at least twice as wide as 99.99 % of its values need.",
        "Try `fqrewrite calibrate --method percentile` (or mse), and see with `fqrewrite compare` which is better.",
    ),
    "signature-dropped": (
        "A signature of the SavedModel cannot be served by the eval graph, and is left out.",
        "Nothing, if it is meant; else choose it, too: --signature KEY.",
    ),
    "signature-not-rewritten": (
        "A signature of the SavedModel that was not chosen is kept; its own layers stay float.",
        "Nothing, if it is meant; else choose it, too: --signature KEY.",
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
    "not-thawed": (
        "A constant that looks like a parameter stays a constant.",
        "Nothing, if it is meant.",
    ),
    "output-range-in-updates": (
        "A quantizer stands behind an output and nothing reads it, so no training step would learn its range.",
        "Run the collection UPDATE_OPS with the training step, as batch norm asks for anyway.",
    ),
    "outputs-before-labels": (
        "The output depends on labels; the eval graph gives what the loss compares with them.",
        "Nothing, or name other outputs: --outputs logits:0.",
    ),
    "predicate-unknown": (
        "A boolean placeholder decides a conditional, and nothing says what it is in inference or training.",
        "Bind it: --set NAME=false.",
    ),
    "random-in-inference": (
        "The eval graph still computes with random numbers.",
        "Nothing, if it is meant; else bind what switches them off, or name other outputs.",
    ),
    "range-unused": (
        "A range is given for a tensor that no quantizer is on.",
        "Compare the name with `fqrewrite plan`; nothing, if the file holds ranges of all tensors.",
    ),
    "range-widened": (
        "An observed range did not hold zero, and was widened to it.",
        "Nothing, if the tensor is never zero; else measure it again.",
    ),
    "output-beside": (
        "An output of a live graph could not take the place of the tensor of that name, whose operation exists.",
        "Fetch the tensor that the note names.",
    ),
    "float-function-removed": (
        "Another way to call a SavedModel's root object runs the same layers in float (in training mode, for "
        "instance); it would train them without quantization, and was taken out.",
        "Nothing; or keep the original model for it.",
    ),
    "keras-not-revived": (
        "The SavedModel was saved by Keras, which would make the float model again from what it keeps of each layer.",
        "Load it with `tf.saved_model.load`.",
    ),
    "custom-gradient-lost": (
        "A gradient that the model defines itself is not in the SavedModel, or needs what the rewrite took out.",
        "Nothing, if TensorFlow's own gradient of these operations is as good; else export the model with "
        "`experimental_custom_gradients=True`, or leave the layer out.",
    ),
}
