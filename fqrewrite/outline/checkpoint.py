"""The variables of a trainable SavedModel: the old checkpoint with the new variables in it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fqrewrite.model.checkpoint import Checkpoint
from fqrewrite.model.checkpoint_write import checkpoint_files
from fqrewrite.model.object_checkpoint import OBJECT_GRAPH_KEY
from fqrewrite.model.values import open_values
from fqrewrite.outline.records import TrackableObjectGraph
from fqrewrite.outline.variables import NewVariable, extend_tracking
from fqrewrite.proto.tensors import to_numpy


def extended_object_graph(serialized: bytes, objects: Any, variables: Sequence[NewVariable]) -> bytes:
    """The graph of a checkpoint's objects with the new ones of a model.

    Args:
        serialized: TrackableObjectGraph.
        objects: SavedObjectGraph of the model.
        variables: the new variables, which `objects` holds.
    """
    graph = TrackableObjectGraph.FromString(serialized)
    keys = {variable.node.name: variable.key for variable in variables}
    numbered = {
        number: (node.variable.name, keys[node.variable.name])
        for number, node in enumerate(objects.nodes)
        if node.HasField("variable") and node.variable.name in keys
    }
    extend_tracking(graph, objects, numbered)
    return bytes(graph.SerializeToString(deterministic=True))


def extended_checkpoint(
    source: Checkpoint, prefix: str | os.PathLike[str], objects: Any, variables: Sequence[NewVariable]
) -> list[tuple[Path, bytes]]:
    """The files of a checkpoint that holds what another does, and new variables. Imports TensorFlow.

    Args:
        source: the checkpoint of the model as it was.
        prefix: of the files.
        objects: SavedObjectGraph of the rewritten model.
        variables: the new variables.

    Raises:
        ConfigError, InputError: see `model.values.open_values` and `model.checkpoint_write.checkpoint_files`.
    """
    import numpy

    values = open_values(source)
    arrays: dict[str, Any] = {key: values.read(key) for key in values}
    if OBJECT_GRAPH_KEY in arrays:
        extended = extended_object_graph(arrays[OBJECT_GRAPH_KEY].item(), objects, variables)
        arrays[OBJECT_GRAPH_KEY] = numpy.array(extended, dtype=object)
    arrays |= {variable.key: to_numpy(variable.start) for variable in variables}
    return checkpoint_files(arrays, prefix)
