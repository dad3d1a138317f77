"""Where a model ends and its loss begins.

A training graph is there to compute a loss; an eval graph, what the loss compares with the labels. Labels are inputs
that reach no layer: what the layers compute and something that depends on labels reads is the model's result. Another
input that comes in behind the last layer looks the same, so that an output is taken for a loss only where it is
computed as losses and metrics are: by a cross entropy, or as one number for the whole batch.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from fqrewrite.ir.graph import Graph, Node, Value
from fqrewrite.match.parameters import Parameters, constant_ints
from fqrewrite.match.phase import PLACEHOLDERS, open_predicates
from fqrewrite.match.reach import ancestors, readers
from fqrewrite.proto.attrs import get_shape

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
_PASS = frozenset({"StopGradient", "CheckNumerics"})
_CROSS_ENTROPIES = frozenset({"SoftmaxCrossEntropyWithLogits", "SparseSoftmaxCrossEntropyWithLogits"})
_LOSSES = _CROSS_ENTROPIES | {"CTCLoss", "CTCLossV2", "L2Loss", "Log1p"}  # Log1p ends the stable logistic losses
_REDUCTIONS = frozenset({"Mean", "Sum", "Max", "Min", "Prod"})


def before_labels(graph: Graph, outputs: tuple[Value, ...]) -> tuple[Value, ...]:
    """Replaces each output that depends on labels by the model's results that it is computed from.

    An output that depends on no labels stays; so does one for which no such result is found.

    Args:
        graph: only read.
        outputs: the tensors that are the point of the training graph.
    """
    needed = {output: ancestors([output.node]) for output in outputs}
    labels = set(_labels(graph, set().union(*needed.values())))
    labelled = readers(labels)
    found: list[Value] = []
    for output, nodes in needed.items():
        losses = nodes & labelled
        is_loss = any(_is_loss(node) for node in losses)
        found += (_results(graph, losses, labels, labelled) if is_loss else []) or [output]
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
        value
        for value in _inputs(graph)
        if not _is_setting(value.node) and not any(node.op in _LAYERS and node in model for node in readers([value]))
    ]


def _is_setting(node: Node) -> bool:
    """Whether an input is one number for all the batch, such as a temperature, and says nothing about an example."""
    return node.op in PLACEHOLDERS and get_shape(node.proto, "shape") == ()


def _is_loss(node: Node) -> bool:
    """Whether an operation is one of a loss or metric, when it depends on labels."""
    if node.op in _REDUCTIONS and len(node.inputs) == 2:
        axes = constant_ints(node.inputs[1])  # None: computed from the rank
        return axes is None or 0 in axes
    return node.op in _LOSSES


def _inputs(graph: Graph) -> Iterator[Value]:
    """Tensors that come from outside; each part of a pipeline's element is one. What decides conditionals is none."""
    switches = set(open_predicates(graph))
    ops = [op for op in graph.op_types() if op in PLACEHOLDERS or op.startswith(_PIPELINES)]
    for node in graph.by_op(*ops):
        if node.op in PLACEHOLDERS:
            if node not in switches:
                yield node.value()
        else:
            for port in sorted({consumer.inputs[slot].port for consumer, slot in node.uses}):
                yield Value(node, port)


def _results(graph: Graph, losses: set[Node], labels: set[Value], labelled: set[Node]) -> list[Value]:
    """The first values on the way to an output that do not depend on labels, and are read by what does.

    Args:
        graph: only read.
        losses: the nodes that the output needs and that depend on labels.
        labels: the labels.
        labelled: all nodes that depend on them.
    """
    data = readers(value for value in _inputs(graph) if value not in labels)
    parameters = Parameters()
    frontier: dict[Value, None] = {}
    for node in sorted(losses, key=lambda node: node.index):
        for value in node.inputs:
            source = value.node
            if (
                value not in labels
                and source not in labelled
                and source in data
                and source.op not in _SHAPES
                and not parameters.is_parameter(value)
            ):
                frontier[_strip(value)] = None
    behind = _computed_without_layers(frontier)
    return [value for value in frontier if value.node not in behind and value.node.op not in PLACEHOLDERS]


def _computed_without_layers(values: Iterable[Value]) -> set[Node]:
    """What is only another form of these values, as probabilities are of logits; a second stage of a model is not."""
    queue = [consumer for value in values for consumer in value.consumers() if consumer.op not in _LAYERS]
    found = set(queue)
    for node in queue:
        new = {consumer for consumer, _ in node.uses if consumer.op not in _LAYERS} - found
        found |= new
        queue += new
    return found


def _strip(value: Value) -> Value:
    """The value in front of what changes nothing, and of a Reshape that only brings it into the loss's own form."""
    while value.node.op in _PASS or (value.node.op == "Reshape" and _is_for_loss(value.node)):
        value = value.node.inputs[0]
    return value


def _is_for_loss(reshape: Node) -> bool:
    """Whether only a cross entropy reads it, or the shape is computed from that of the very tensor, as they do."""
    if all(consumer.op in _CROSS_ENTROPIES for consumer, _ in reshape.uses):
        return True
    shapes = (node for node in ancestors([reshape.inputs[1].node]) if node.op == "Shape")
    return any(node.inputs[0] == reshape.inputs[0] for node in shapes)
