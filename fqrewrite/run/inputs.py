"""What has to be fed to a graph: its placeholders, or what its own input pipeline would give."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from fqrewrite.ir.graph import Graph, Node, Value
from fqrewrite.match.parameters import dtype_of
from fqrewrite.match.phase import PLACEHOLDERS
from fqrewrite.proto.attrs import get_shape, shape_dims
from fqrewrite.proto.dtypes import dtype_name

# The end of an input pipeline, by the attribute that lists the types of what it gives.
_PIPELINES = {
    "IteratorGetNext": "output_types",
    "IteratorGetNextSync": "output_types",
    "QueueDequeueV2": "component_types",
    "QueueDequeueManyV2": "component_types",
    "QueueDequeueUpToV2": "component_types",
}


class GraphInput(msgspec.Struct, frozen=True, kw_only=True):
    """A tensor to be fed.

    Attributes:
        name: of a placeholder's node; ``node:port`` of what an input pipeline gives.
        dtype: TensorFlow's name of it: "float32".
        shape: -1 for an unknown dimension; None when nothing is known.
        optional: whether it has a value of its own.
    """

    name: str
    dtype: str
    shape: tuple[int, ...] | None
    optional: bool

    @property
    def keys(self) -> tuple[str, ...]:
        """The names under which its data may stand: that of output 0 without its port, too."""
        short = self.name.removesuffix(":0")
        return (short, f"{short}:0") if ":" not in short else (self.name,)


def graph_inputs(graph: Graph, fetches: Iterable[Value]) -> tuple[GraphInput, ...]:
    """What these values depend on and nothing in the graph computes, in graph order."""
    read: dict[Value, None] = dict.fromkeys(fetches)
    found: dict[Node, None] = {}
    queue = [value.node for value in read]
    for node in queue:
        if node in found:
            continue
        found[node] = None
        if node.op not in _PIPELINES:  # what stands before the end of a pipeline does not run
            read.update(dict.fromkeys(node.inputs))
            queue += [*(value.node for value in node.inputs), *node.controls]
    return tuple(entry for node in graph if node in found for entry in _inputs(node, read))


def _inputs(node: Node, read: dict[Value, None]) -> Iterator[GraphInput]:
    if node.op in PLACEHOLDERS:
        yield GraphInput(
            name=node.name,
            dtype=dtype_name(dtype_of(node)),
            shape=get_shape(node.proto, "shape"),
            optional=node.op == "PlaceholderWithDefault",
        )
    elif node.op in _PIPELINES:
        shapes = node.proto.attr["output_shapes"].list.shape if "output_shapes" in node.proto.attr else ()
        for port, dtype in enumerate(node.proto.attr[_PIPELINES[node.op]].list.type):
            if Value(node, port) in read:
                shape = shape_dims(shapes[port]) if port < len(shapes) else None
                yield GraphInput(name=f"{node.name}:{port}", dtype=dtype_name(dtype), shape=shape, optional=False)
