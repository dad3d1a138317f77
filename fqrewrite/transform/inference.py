"""From training mode to inference mode, in any float graph: batch norm, dropout, and updates that are forced.

A batch norm takes its moving averages for the statistics of the batch, a dropout hands its data on, and nothing waits
for an update of a variable any more. What only training needs is left where it is, unread, for pruning to remove.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

import msgspec

from fqrewrite.ir.editor import Editor
from fqrewrite.ir.graph import Graph, Node, Value
from fqrewrite.ir.topology import inside_control_flow, topological_order
from fqrewrite.match.batch_norm import BatchNorm, find_batch_norms, reduced_axes, statistic
from fqrewrite.match.dropout import Dropout, find_dropouts
from fqrewrite.match.moving_average import waits
from fqrewrite.match.parameters import READ_OPS, Parameters, dtype_of, read_variable, static_shape
from fqrewrite.match.reach import ancestors
from fqrewrite.proto import NodeDef
from fqrewrite.proto.attrs import type_attr
from fqrewrite.proto.dtypes import DT_INT32
from fqrewrite.transform import templates

_UPDATE = re.compile(
    r"^(Assign(Add|Sub)?(VariableOp)?|(Resource)?(Sparse)?Apply[A-Z]\w*|(Resource)?CountUpTo|"
    r"(Resource)?Scatter(Nd)?(Update|Add|Sub|Mul|Div|Min|Max))$"
)


class NotConverted(msgspec.Struct, frozen=True):
    """A batch norm that stays in training mode, by the node of its output, and why: the end of "it stays because"."""

    name: str
    reason: str


class Inference(msgspec.Struct, frozen=True, kw_only=True):
    """What was turned into inference mode, by the names of the nodes that computed the results.

    Attributes:
        batch_norms: batch norms that take their moving averages now.
        dropouts: dropouts that are gone.
        not_converted: batch norms that still take the statistics of the batch.
    """

    batch_norms: tuple[str, ...] = ()
    dropouts: tuple[str, ...] = ()
    not_converted: tuple[NotConverted, ...] = ()


def to_inference(graph: Graph, editor: Editor, outputs: Sequence[Value] = ()) -> Inference:
    """Turns batch norms and dropouts into inference mode, and lets nothing wait for updates of variables.

    Args:
        graph: conditionals on the phase are resolved.
        editor: of this graph.
        outputs: with them, only what they need is converted and reported.
    """
    parameters = Parameters()
    training = [norm for norm in find_batch_norms(graph, parameters) if norm.training]
    # What only groups updates or initializers, and is no part of the outputs, stays.
    cut_updates(editor, ancestors(output.node for output in outputs) if outputs else set(graph))
    needed = ancestors(output.node for output in outputs) if outputs else set(graph)
    norms = [norm for norm in training if norm.node in needed]
    conditional = inside_control_flow(graph, topological_order(graph)) if norms else set[Node]()
    converted, left = [], []
    for norm in norms:
        problem = _problem(norm, parameters)
        if norm.node in conditional:
            problem = "it is inside a conditional or a while loop"
        if problem is not None:
            left.append(NotConverted(norm.node.name, problem))
            continue
        _convert(norm, editor)
        converted.append(norm.node.name)
    dropouts = [dropout for dropout in find_dropouts(graph) if dropout.result.node in needed]
    _remove_dropouts(dropouts, editor)
    return Inference(
        batch_norms=tuple(converted),
        dropouts=tuple(dropout.result.node.name for dropout in dropouts),
        not_converted=tuple(left),
    )


def cut_updates(editor: Editor, nodes: Collection[Node]) -> None:
    """Drops every control edge that only makes one of these nodes wait for updates of variables."""
    known: dict[Node, bool] = {}
    ordered = (node for node in editor.graph if node in nodes)
    edges = [(node, control) for node in ordered for control in node.controls if _only_updates(control, known)]
    for node, control in edges:
        editor.drop_control(node, control)


def _only_updates(node: Node, known: dict[Node, bool]) -> bool:
    """Whether a node updates a variable, or only groups such updates or reads variables behind them."""
    if node not in known:
        known[node] = False  # of a node that waits for itself in a while loop
        waits_for_updates = bool(node.controls) and all(_only_updates(control, known) for control in node.controls)
        if node.op == "NoOp":
            known[node] = waits_for_updates
        elif node.op in READ_OPS:
            is_plain = read_variable(node.value()) is not None
            known[node] = (is_plain and waits_for_updates) or _only_updates(node.inputs[0].node, known)
        else:
            known[node] = _UPDATE.match(node.op) is not None
    return known[node]


def _problem(norm: BatchNorm, parameters: Parameters) -> str | None:
    """Why a batch norm cannot be converted; None when it can."""
    if norm.affine == "statistics":
        return "its gamma or beta corrects the statistics of the batch, as in batch renormalization"
    if norm.average_factor != 1.0:
        averages = (norm.mean, norm.variance)
        if not all(average is not None and parameters.is_parameter(average) for average in averages):
            return "its running averages are not kept in variables"
    elif norm.moving_mean is None or norm.moving_variance is None:
        return "the graph has no update of its moving averages in a known form"
    return None


def _convert(norm: BatchNorm, editor: Editor) -> None:
    if norm.moving_mean is None or norm.moving_variance is None:
        mean, variance = norm.mean, norm.variance  # the running averages of a fused op
    else:
        mean = _plain_read(norm.moving_mean.read, editor)
        variance = _plain_read(norm.moving_variance.read, editor)
    assert mean is not None and variance is not None, norm.node.name
    if norm.form == "fused":
        _convert_fused(norm.node, mean, variance, editor)
    else:
        assert norm.mean is not None and norm.variance is not None, norm.node.name
        edges = {statistic: _edges(norm, statistic) for statistic in (norm.mean, norm.variance)}
        for used, moving, name in ((norm.mean, mean, "moving_mean"), (norm.variance, variance, "moving_variance")):
            editor.redirect(edges[used], _shaped_like(used, moving, f"{norm.node.name}/{name}", editor))


def _convert_fused(node: Node, mean: Value, variance: Value, editor: Editor) -> None:
    for port, moving in ((1, mean), (2, variance)):
        editor.redirect(Value(node, port).uses(), moving)
    inference = NodeDef()
    inference.CopyFrom(node.proto)
    inference.ClearField("input")
    inference.attr["is_training"].b = False
    inference.attr.pop("exponential_avg_factor", None)
    editor.become(node, inference, (*node.inputs[:3], mean, variance))


def _edges(norm: BatchNorm, used: Value) -> list[tuple[Node, int]]:
    """Where the operations of a batch norm in pieces read one of its statistics."""
    ends = {norm.x, norm.gamma, norm.beta, norm.mean, norm.variance}
    found: list[tuple[Node, int]] = []
    queue = [norm.node]
    for node in queue:
        for slot, operand in enumerate(node.inputs):
            if operand == used:
                found.append((node, slot))
            elif operand not in ends and operand.node not in queue:
                queue.append(operand.node)
    return found


def _plain_read(read: Value, editor: Editor) -> Value:
    """A read of the same variable that waits for nothing."""
    variable = read_variable(read)
    if not waits(read) or variable is None:
        return read
    number = type_attr(dtype_of(variable))
    if variable.op == "VarHandleOp":
        template = templates.template("ReadVariableOp", dtype=number)
    else:
        template = templates.template("Identity", T=number)
    name = _free(editor.graph, f"{variable.name}/inference_read")
    return editor.add(template, name, (variable.value(),), device=variable.proto.device).value()


def _shaped_like(used: Value, moving: Value, name: str, editor: Editor) -> Value:
    """A moving average in the type of the statistic that it replaces, and in a shape that broadcasts the same way."""
    source, target = dtype_of(read_variable(moving) or moving.node), dtype_of(used.node)
    if used.node.op == "Cast":
        target = used.node.proto.attr["DstT"].type
    if source != target:
        cast = templates.template("Cast", SrcT=type_attr(source), DstT=type_attr(target))
        moving = editor.add(cast, _free(editor.graph, f"{name}/Cast"), (moving,)).value()
    shape = _shape(used, moving, name, editor)
    if shape is None:
        return moving
    reshape = templates.template("Reshape", T=type_attr(target), Tshape=type_attr(dtype_of(shape.node)))
    return editor.add(reshape, _free(editor.graph, f"{name}/Reshape"), (moving, shape)).value()


def _shape(used: Value, moving: Value, name: str, editor: Editor) -> Value | None:
    """The shape that a moving average must get; None when it broadcasts as it is."""
    value, computed = used, statistic(used)
    while value != computed:
        if value.node.op == "Reshape":
            return value.node.inputs[1]
        if value.node.op == "Squeeze":
            return None
        value = value.node.inputs[0]
    axes, rank = reduced_axes(used), len(static_shape(moving) or ())
    if axes is None or axes == tuple(range(len(axes))) or rank > 1:
        return None  # channels last
    dims = tuple(1 if axis in axes else -1 for axis in range(axes[-1] + 1))
    return editor.add(templates.vector(dims, DT_INT32), _free(editor.graph, f"{name}/shape")).value()


def _remove_dropouts(dropouts: Sequence[Dropout], editor: Editor) -> None:
    data = {dropout.result: dropout.data for dropout in dropouts}
    for result in data:
        value = data[result]
        while value in data:  # a dropout of what a dropout hands on
            value = data[value]
        editor.redirect(result.uses(), value)
        editor.become(result.node, templates.template("Identity", T=type_attr(dtype_of(result.node))), (value,))


def _free(graph: Graph, name: str) -> str:
    """The name, or the first name with a number behind it that is not taken."""
    number, free = 0, name
    while free in graph:
        number += 1
        free = f"{name}_{number}"
    return free
