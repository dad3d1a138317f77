"""Where a model ends and its loss begins.

A training graph is there to compute a loss; an eval graph, what the loss compares with the labels. Labels are inputs
that reach no layer: what the layers compute and something that depends on labels reads is the model's result.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from fqrewrite.ir.graph import Graph, Node, Value
from fqrewrite.match.parameters import Parameters
from fqrewrite.match.reach import ancestors, readers

_PLACEHOLDERS = frozenset({"Placeholder", "PlaceholderV2", "PlaceholderWithDefault"})
_PIPELINES = ("IteratorGetNext", "QueueDequeue", "ParseExample", "ParseSingleExample", "StagingArea", "Unstage")
_LAYERS = (
    *("Conv2D", "DepthwiseConv2dNative", "MatMul", "Conv3D", "Conv2DBackpropInput", "Conv3DBackpropInputV2"),
    *(
        "BatchMatMul",
        "BatchMatMulV2",
        "BatchMatMulV3",
        "Einsum",
        "LSTMBlockCell",
        "BlockLSTM",
        "GatherV2",
        "ResourceGather",
    ),
)
_SHAPES = frozenset({"Shape", "ShapeN", "Rank", "Size", "ZerosLike", "OnesLike"})
_PASS = frozenset({"Identity", "StopGradient", "CheckNumerics"})


def before_labels(graph: Graph, outputs: tuple[Value, ...]) -> tuple[Value, ...]:
    """Replaces each output that depends on labels by the model's results that it is computed from.

    An output that depends on no labels stays; so does one for which no such result is found.

    Args:
        graph: only read.
        outputs: the tensors that are the point of the training graph.
    """
    labels = _labels(graph, ancestors(output.node for output in outputs))
    labelled = readers(labels) | {value.node for value in labels}
    found: list[Value] = []
    for output in outputs:
        found += (_results(graph, output, labelled) if output.node in labelled else []) or [output]
    return tuple(dict.fromkeys(found))


def depends_on_labels(graph: Graph, model: Collection[Node]) -> set[Node]:
    """Every node that reads labels, directly or not: losses and metrics.

    Args:
        graph: only read.
        model: the nodes that make the forward pass, or more of it; a backward pass has layers that labels reach.
    """
    return readers(_labels(graph, model))


def _labels(graph: Graph, model: Collection[Node]) -> list[Value]:
    return [
        value for value in _inputs(graph) if not any(node.op in _LAYERS and node in model for node in readers([value]))
    ]


def _inputs(graph: Graph) -> Iterator[Value]:
    """Tensors that come from outside; each part of a pipeline's element is one."""
    for node in graph:
        if node.op in _PLACEHOLDERS:
            yield node.value()
        elif node.op.startswith(_PIPELINES):
            for port in sorted({consumer.inputs[slot].port for consumer, slot in node.uses}):
                yield Value(node, port)


def _results(graph: Graph, output: Value, labelled: set[Node]) -> list[Value]:
    """The first values on the way to an output that do not depend on labels, and are read by what does."""
    needed = ancestors([output.node])
    data = readers([value for value in _inputs(graph) if value.node not in labelled])
    parameters = Parameters()
    frontier: dict[Value, None] = {}
    for node in graph:
        if node not in needed or node not in labelled:
            continue
        for value in node.inputs:
            source = value.node
            if (
                source not in labelled
                and source in data
                and source.op not in _SHAPES
                and not parameters.is_parameter(value)
            ):
                frontier[_strip(value)] = None
    behind = readers(frontier)
    return [value for value in frontier if value.node not in behind and value.node.op not in _PLACEHOLDERS]


def _strip(value: Value) -> Value:
    """The value in front of what changes nothing, and of a Reshape that only brings it into the loss's own form."""
    while value.node.op in _PASS or (value.node.op == "Reshape" and _own_shape(value.node)):
        value = value.node.inputs[0]
    return value


def _own_shape(reshape: Node) -> bool:
    """Whether the shape is computed from that of the very tensor, as the cross entropies do."""
    shapes = (node for node in ancestors([reshape.inputs[1].node]) if node.op == "Shape")
    return any(node.inputs[0] == reshape.inputs[0] for node in shapes)
