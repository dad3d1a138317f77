"""A live `tf.Graph` as the model that a file of it would be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fqrewrite.errors import ConfigError
from fqrewrite.model.container import Model
from fqrewrite.model.tensorflow_import import tensorflow
from fqrewrite.proto import MetaGraphDef

NAME = "live graph"
"""What stands for the file's name in messages and reports."""


def graph_to_rewrite(graph: Any) -> Any:
    """The graph that is meant, which must be one that can still be changed.

    Args:
        graph: `tf.Graph`; None for the default graph.

    Raises:
        ConfigError: `graph-not-live` for anything else than a graph, or a graph that is finalized; and for the default
            graph under eager execution, which builds none.
    """
    tf1 = tensorflow().compat.v1
    if graph is None and tf1.executing_eagerly():
        raise ConfigError("graph-not-live", "there is no default graph: operations are executed eagerly here")
    found = tf1.get_default_graph() if graph is None else graph
    if not isinstance(found, tf1.Graph):
        raise ConfigError("graph-not-live", f"input_graph must be a tf.Graph, not {type(found).__name__}")
    if found.finalized:
        raise ConfigError("graph-not-live", "the graph is finalized, and can no longer be changed")
    return found


def snapshot(graph: Any) -> Model:
    """The graph with its collections, as `tf.train.export_meta_graph` writes it to a file.

    Args:
        graph: `tf.Graph`; stays as it is.
    """
    with graph.as_default():  # under eager execution it would refuse
        exported = tensorflow().compat.v1.train.export_meta_graph()
    raw = exported.SerializeToString(deterministic=True)
    model = Model(Path(NAME), "meta_graph", False, raw, MetaGraphDef.FromString(raw))
    model.edited = True  # there is no file whose bytes could be given back
    return model
