"""A graph in a TensorFlow session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fqrewrite.errors import InputError
from fqrewrite.ir.graph import Graph
from fqrewrite.match.reach import ancestors
from fqrewrite.model.tensorflow_import import first_line, tensorflow
from fqrewrite.proto import GraphDef

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]

# Of the machine or the graph that the nodes came from, and maybe wrong for what is left of it.
_STALE = ("_class", "_output_shapes")


class Runner:
    """Runs the part of a graph that some tensors need. Opening it imports TensorFlow.

    No graph optimiser works on it: what runs is what is in the graph.

    Args:
        graph: without variables, as far as the fetches need it.
        fetches: tensors, ``node:port``.
        where: the file, for messages.

    Raises:
        InputError: `graph-not-run`.
    """

    def __init__(self, graph: Graph, fetches: Sequence[str], where: str) -> None:
        self.fetches = tuple(fetches)
        self.where = where
        tf = tensorflow()
        tf1 = tf.compat.v1
        self._errors = (tf.errors.OpError, ValueError, TypeError)
        imported = tf1.Graph()
        try:
            message = tf1.GraphDef.FromString(_needed(graph, self.fetches))
            with imported.as_default():
                tf1.import_graph_def(message, name="")
        except self._errors as error:
            raise self._not_run(error) from None
        config = tf1.ConfigProto(allow_soft_placement=True)
        config.graph_options.optimizer_options.opt_level = -1
        config.graph_options.rewrite_options.disable_meta_optimizer = True
        self._session = tf1.Session(graph=imported, config=config)

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def run(self, feed: Mapping[str, Array]) -> list[Array]:
        """The fetched tensors for one feed, which is by the names of `inputs.GraphInput`.

        Raises:
            InputError: `graph-not-run`.
        """
        try:
            found: list[Array] = self._session.run(
                list(self.fetches), {name if ":" in name else f"{name}:0": array for name, array in feed.items()}
            )
        except self._errors as error:
            raise self._not_run(error) from None
        return found

    def _not_run(self, error: Exception) -> InputError:
        return InputError("graph-not-run", f"TensorFlow cannot run the graph: {first_line(error)}", where=self.where)


def _needed(graph: Graph, fetches: Sequence[str]) -> bytes:
    """The GraphDef of what the fetches need, for this machine."""
    needed = ancestors(graph.value(name).node for name in fetches)
    message = GraphDef()
    message.versions.CopyFrom(graph.graph_def.versions)
    message.library.CopyFrom(graph.graph_def.library)
    for node in graph:
        if node in needed:
            proto = message.node.add()
            proto.CopyFrom(node.proto)
            proto.device = ""
            for key in _STALE:
                proto.attr.pop(key, None)
    return bytes(message.SerializeToString())
