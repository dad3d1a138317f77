"""The files of a SavedModel in which one graph is replaced, and everything else stays as it is, byte for byte."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fqrewrite.errors import InputError, path_text
from fqrewrite.model.container import MOST_BYTES, SAVED_MODEL_FILES
from fqrewrite.model.directory import files_in
from fqrewrite.model.saved_model import FILE_NAME, VARIABLES_PREFIX, serialised
from fqrewrite.model.saved_model_read import SavedModelSource
from fqrewrite.model.variables import VARIABLES

# A hash of saved_model.pb, which is another one then.
_FINGERPRINT = "fingerprint.pb"
# What Keras 2 reads beside the object graph.
_KERAS = "keras_metadata.pb"


def replaced_files(
    source: SavedModelSource, meta_graph: Any, variables: Mapping[str, bytes] | None
) -> dict[str, bytes | Path]:
    """The files of a SavedModel with another graph in place of the chosen one, for `directory.write_directory`.

    Args:
        source: what was opened; its directory is only read.
        meta_graph: MetaGraphDef, complete with its tags.
        variables: the files of the checkpoint by their path in the directory; None for those that the other graphs
            need.

    Raises:
        InputError: codes graph-too-large, file-unreadable.
    """
    files: dict[str, bytes | Path] = {}
    dropped = {*SAVED_MODEL_FILES, _FINGERPRINT, *([_KERAS] if source.has_objects else [])}
    keeps_variables = variables is None and others_have_variables(source)
    for name, file in files_in(source.directory).items():
        if name not in dropped and (keeps_variables or not name.startswith(f"{VARIABLES_PREFIX}.")):
            files[name] = file
    files |= variables or {}
    data = source.replace_meta_graph(serialised(meta_graph))
    if len(data) > MOST_BYTES:
        what = "the SavedModel takes more than 2 GiB, and protobuf handles messages below 2 GiB only"
        raise InputError("graph-too-large", what, where=path_text(source.directory))
    return {**files, FILE_NAME: data}


def others_have_variables(source: SavedModelSource) -> bool:
    """Whether a graph that was not chosen has variables."""
    others = [graph for index, graph in enumerate(source.message.meta_graphs) if index != source.index]
    return any(node.op in VARIABLES for graph in others for node in graph.graph_def.node)
