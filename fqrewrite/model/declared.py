"""The outputs that a model itself declares."""

from __future__ import annotations

from fqrewrite.model.collections import LOSSES, node_list
from fqrewrite.model.container import Model
from fqrewrite.model.saved_model import output_names

# Collections that projects use for the tensors that a model is built for; of a training graph those are its losses.
_OUTPUT_COLLECTIONS = ("outputs", "predictions", "logits", "end_points", "endpoints", LOSSES)


def declared_outputs(model: Model) -> tuple[str, ...]:
    """Output tensors that signatures name, of a SavedModel those chosen, or else those in collections made for it."""
    if model.kind != "meta_graph":
        return ()
    meta_graph = model.message
    saved_model = model.saved_model
    signatures = sorted(meta_graph.signature_def) if saved_model is None else saved_model.signatures
    names = [name for key in signatures for name in output_names(meta_graph.signature_def[key])]
    if not names:
        names = next(filter(None, (node_list(meta_graph, key) for key in _OUTPUT_COLLECTIONS)), [])
    return tuple(dict.fromkeys(names))
