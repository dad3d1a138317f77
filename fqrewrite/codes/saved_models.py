"""What can be wrong about a SavedModel, and what is meant of it. By code: its meaning, and what to do."""

from __future__ import annotations

SAVED_MODELS: dict[str, tuple[str, str]] = {
    "saved-model-file": (
        "The graph of a SavedModel, under another name than saved_model.pb.",
        "Call the file saved_model.pb, in the directory with its variables, and give that directory.",
    ),
    "saved-model-option": (
        "Tags or signatures were given for something that is no SavedModel.",
        "Leave --tag-set and --signature out; --outputs names the outputs of any graph.",
    ),
    "tag-set-unknown": (
        "The SavedModel has no graph with these tags.",
        "Give all tags of one of those that are listed: --tag-set serve,gpu.",
    ),
    "tag-set-ambiguous": (
        "The SavedModel holds several graphs, and it is not known which is meant.",
        "Give all tags of one of those that are listed: --tag-set serve,gpu.",
    ),
    "signature-unknown": (
        "The SavedModel's graph has no signature of that name.",
        "Give one of those that are listed: --signature KEY.",
    ),
    "signature-ambiguous": (
        "The SavedModel's graph has several signatures, none of them the default.",
        "Say which are meant: --signature KEY, which may be given several times.",
    ),
    "signature-none": (
        "A SavedModel of TensorFlow 2 without signatures.",
        "Save it with one: tf.saved_model.save(model, path, signatures=model.call.get_concrete_function(...)).",
    ),
    "signature-damaged": (
        "A signature of the SavedModel names a tensor that its graph does not have.",
        "Choose another with --signature, or save the model again.",
    ),
    "object-graph-damaged": (
        "Something that the objects of a SavedModel of TensorFlow 2 refer to is not in it.",
        "Check that the file is complete; save it again.",
    ),
    "saved-model-variables-missing": (
        "The variables of a SavedModel are not where they belong.",
        "Copy the folder variables/ of the SavedModel, too.",
    ),
}
