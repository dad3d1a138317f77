"""What ends a run: exit status by the class that it is raised with. By code: its meaning, and what to do."""

from __future__ import annotations

ERRORS: dict[str, tuple[str, str]] = {
    "convert-needed": (
        "An option of `fqrewrite check` needs a conversion.",
        "Add --convert.",
    ),
    "already-rewritten": (
        "The graph carries this tool's mark, or fake quantizers as tf.contrib.quantize inserts them.",
        "Rewrite the float graph that it was made from; for a checkpoint of another tool's training graph, name the "
        "float graph with --model.",
    ),
    "graph-has-gradients": (
        "The graph holds a backward pass or an optimizer. Quantizers inserted now would miss the gradients, which "
        "would be those of another function.",
        "Pass --strip-training, or export the graph before `minimize` or `gradients` is called.",
    ),
    "nothing-quantized": (
        "The rewrite would insert no quantizer at all.",
        "`fqrewrite plan MODEL` lists what is left out and why; pass --allow-empty if that is what you want.",
    ),
    "nothing-trainable": (
        "Every layer's weights are constants (a frozen graph), so a training graph would have nothing to train.",
        "Pass --thaw, which makes variables of them, or rewrite the graph with its variables (.meta).",
    ),
    "training-graph-in-eval": (
        "A batch norm in training mode, which the outputs need, has no moving averages that are known.",
        "Build the graph with is_training=False and rewrite that; its variables have the same names.",
    ),
    "warm-start-not-needed": (
        "The training graph is in a SavedModel of TensorFlow 2, which `train` wrote with the float model's values.",
        "Load it with `tf.saved_model.load` and train it.",
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
    "target-cannot-run": (
        "A setting that the target of the config cannot run: the model would not load, or compute in float.",
        "Take one of the values in the message, or another preset.",
    ),
    "config-selector": (
        "A `match` pattern that could never match a node, or an invalid regular expression.",
        "Use a node name, a scope, a glob (`*`, `**`, `?`) or `regex:...`; rules match nodes, so leave out `:0`.",
    ),
    "file-not-found": ("There is no such file.", "Check the path; for a checkpoint give its .meta."),
    "file-unreadable": ("The operating system cannot read the file.", "Check its permissions and the path."),
    "is-a-directory": (
        "The input is a directory, and neither a SavedModel nor one of checkpoints.",
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
    "function-recursive": (
        "A function calls itself without a condition, so it cannot be inlined.",
        "Export the model without recursion.",
    ),
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
    "binding-not-found": (
        "A value is set for what is no placeholder of the graph.",
        "Correct the name: the message lists the placeholders.",
    ),
    "binding-value": (
        "A value is set for a placeholder that takes another kind or number of values.",
        "Correct the value.",
    ),
    "checkpoint-ambiguous": (
        "The directory holds several checkpoints and no state file that names the latest.",
        "Give the prefix of one.",
    ),
    "checkpoint-corrupt": (
        "The index or the data of the checkpoint is damaged, cut off, or no checkpoint.",
        "Copy or download it again.",
    ),
    "checkpoint-dtype-differs": (
        "Values in the checkpoint have another dtype than the graph's variables.",
        "Give the checkpoint of this model, or the model of this checkpoint with --model.",
    ),
    "checkpoint-dtype-unreadable": (
        "A value in the checkpoint is a variant or a resource, not an array.",
        "Leave that variable out of what the outputs need: it is no weight.",
    ),
    "checkpoint-index-missing": (
        "There are `.data-*` files but no `.index` file.",
        "Copy the `.index` file too.",
    ),
    "checkpoint-not-found": (
        "There is no checkpoint here, or the state file names one that does not exist.",
        "Copy its `.index`, `.meta` and `.data-*` files here, or give another prefix.",
    ),
    "checkpoint-shape-differs": (
        "Values in the checkpoint have another shape than the graph's variables.",
        "Give the checkpoint of this model, or the model of this checkpoint with --model.",
    ),
    "checkpoint-shard-missing": (
        "A `.data-*` file of the checkpoint does not exist.",
        "Copy the file that is named, too.",
    ),
    "checkpoint-state-malformed": (
        "The file `checkpoint` in the directory is empty, or no state file.",
        "Give the checkpoint's prefix instead of its directory.",
    ),
    "checkpoint-unreadable": (
        "A file or directory of the checkpoint may not be read.",
        "Correct its permissions.",
    ),
    "checkpoint-variables-missing": (
        "Variables that the outputs need are not in the checkpoint.",
        "Give the checkpoint of this model, or name its graph with --model.",
    ),
    "checkpoint-without-graph": (
        "The checkpoint has no `.meta` file beside it, so its graph is not known.",
        "Name the graph: --model GRAPH, the file that `fqrewrite train` wrote or the float model.",
    ),
    "function-malformed": (
        "A function's signature, body and call contradict each other.",
        "Export the graph again; the file is damaged.",
    ),
    "model-not-of-checkpoint": (
        "--model names a float graph, and the checkpoint's own graph is one that `fqrewrite train` made.",
        "Leave --model out: the checkpoint's graph carries the plan that it was trained with.",
    ),
    "model-without-checkpoint": (
        "--model names the graph of a checkpoint, and no checkpoint is given.",
        "Give the checkpoint, or leave --model out.",
    ),
    "no-such-function": (
        "A node calls a function that the graph's library does not have.",
        "Export the whole graph with its library.",
    ),
    "no-variables-to-save": (
        "A saver was asked for a graph without variables.",
        "Write a frozen graph.",
    ),
    "nothing-to-thaw": (
        "No constant of the graph is the weights or bias of a layer, or gamma or beta of a batch norm.",
        "Leave out --thaw: the graph keeps its parameters as variables already, or has none.",
    ),
    "output-exists": (
        "The output directory exists and holds other things than a SavedModel, or is a file.",
        "Choose another path, or remove it.",
    ),
    "output-without-variables": (
        "Variables are to be written, but a GraphDef has no file for their values, or a SavedModel gets none.",
        "Freeze, or write a .meta file; for a SavedModel, give the checkpoint.",
    ),
    "plan-in-model": (
        "The model carries the plan that it was made with, and the settings of this run differ from it.",
        "Leave these settings out: the eval graph must match the training graph.",
    ),
    "provenance-ambiguous": (
        "The graph holds several rewritten graphs, imported under different scopes.",
        "Evaluate each by its own checkpoint and graph: --model GRAPH.",
    ),
    "provenance-missing": (
        "The graph does not carry what `fqrewrite train` leaves in it.",
        "Give the file that fqrewrite wrote, or a checkpoint of it whose .meta file was not pruned.",
    ),
    "provenance-unreadable": (
        "What fqrewrite left in the graph is damaged, or of a version whose plans this one does not read.",
        "Use the version of fqrewrite that made it, or rewrite the source again.",
    ),
    "range-invalid": (
        "A range in a ranges file, in a checkpoint or of constant weights is not finite, has min > max, or is for "
        "another number of channels.",
        "Correct the entry, or evaluate with the settings that the model was trained with.",
    ),
    "range-unknown": (
        "The range of a quantizer is in no source, or was never trained; its initial value is not used in its place.",
        "Train (further) with the training graph, give --ranges FILE, or write it under `ranges:` in the config; "
        "of a graph without a checkpoint, --no-freeze keeps ranges as variables.",
    ),
    "ranges-unreadable": (
        "The ranges file cannot be read, is not JSON of that form, or is of another version.",
        'Write {"version": 1, "ranges": {"relu1:0": [0.0, 6.0]}}.',
    ),
    "slice-malformed": (
        "A saver in the graph names an impossible slice of a variable.",
        "Export the graph again.",
    ),
    "tensorflow-missing": (
        "Reading and writing checkpoints needs TensorFlow, which is not installed or does not load.",
        "`pip install tensorflow`.",
    ),
    "unknown-output-argument": (
        "A function names an output that the operation does not have, or the operation is not one of TensorFlow's.",
        "Export the graph with functions inlined, or without the custom operation.",
    ),
    "variable-not-frozen": (
        "A variable that the outputs need is written, or its handle goes to an operation that cannot take a constant.",
        "Name other outputs, or write with --no-freeze.",
    ),
    "variable-value-mismatch": (
        "A value has another dtype or shape than the variable that it is for.",
        "Give the checkpoint of this model.",
    ),
    "variable-value-missing": (
        "A variable that the outputs need has no value.",
        "Give a checkpoint that holds it.",
    ),
    "graph-not-live": (
        "What is to be rewritten in place is no `tf.Graph`, or one that is finalized.",
        "Give a `tf.compat.v1.Graph`, or call it inside `with graph.as_default()`; before a session or a `Supervisor` "
        "finalizes it.",
    ),
    "signature-not-a-call": (
        "A signature of a TensorFlow 2 SavedModel is not one call of a function that the model's objects know.",
        "Export the model again with `tf.saved_model.save` or Keras's `model.export`.",
    ),
    "variable-without-value": (
        "A new variable of a SavedModel starts with a value that is computed in the graph.",
        "Report it: every new variable should start with a constant.",
    ),
}
