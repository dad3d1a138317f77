"""Trainable SavedModels of TensorFlow 2, written without TensorFlow but for the checkpoint.

    capture_names(meta_graph, flat, signatures, variables)                    for the provenance, before it is written
    outlined = outline_saved_model(meta_graph, flat, signatures, variables)   MetaGraphDef, new variables, notes
    outlined.checkpoint(source, prefix)                                       the files of variables/

`meta_graph` is what was read; `flat` is its main graph with the chosen signatures inlined and rewritten. The sub-graph
of each signature becomes one function (its core), which captures the old variables and the new ones. The signature
calls it, and so does what of the root object computed the same: Keras's `serve` and `__call__`, a module's own methods.
The new variables are below the root object's attribute `fqrewrite`, and in the checkpoint.

    core          the FunctionDef of a signature (`body`: nodes in the form of functions; `gradients`: custom gradients)
    wrapper       functions that call a core
    equivalent    which functions of the root compute what a signature does (`numbering`)
    functions     what objects call; the root's `__call__`
    variables     new variables in the object graph and in that of the checkpoint
    saver         the main graph's saver
    compact       taking out what is not needed any more
    checkpoint    the variables' files
    saved_model   all of it together
"""

from __future__ import annotations

from fqrewrite.outline.saved_model import Outlined, capture_names, outline_saved_model

__all__ = ["Outlined", "capture_names", "outline_saved_model"]
