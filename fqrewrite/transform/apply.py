"""Applying a plan: folds first, then quantizers; every item is realised exactly once."""

from __future__ import annotations

import msgspec

from fqrewrite.errors import GraphError, Refusal
from fqrewrite.ir.block import BlockVariable
from fqrewrite.ir.editor import EditLog, Editor
from fqrewrite.ir.graph import Graph, Node, Value
from fqrewrite.ir.topology import topological_order
from fqrewrite.match.parameters import is_constant, variables_of
from fqrewrite.plans.items import Plan, QuantizerItem
from fqrewrite.transform import templates
from fqrewrite.transform.emitter import Emitter
from fqrewrite.transform.fold import Folded, fold
from fqrewrite.transform.offsets import tell_biases_apart
from fqrewrite.transform.quantize import Mode, quantize, range_tensors
from fqrewrite.transform.respell import respell


class Applied(msgspec.Struct, frozen=True):
    """What an application did: the edits by item, and the variables that it made."""

    log: EditLog
    variables: tuple[BlockVariable, ...]


def check_applicable(plan: Plan, graph: Graph, mode: Mode) -> None:
    """Refuses what a plan cannot do in a mode.

    Raises:
        Refusal: `nothing-trainable` when a training graph is asked of a graph whose layers are all constant.
    """
    if mode == "eval":
        return
    weights = [item for item in plan.quantizers if item.role == "weights"]
    if weights and all(is_constant(graph.value(item.tensor)) for item in weights):
        what = f"the weights of all {len(weights)} layers are constants, as in a frozen graph"
        raise Refusal("nothing-trainable", what)


def apply_plan(plan: Plan, editor: Editor, mode: Mode) -> Applied:
    """Edits the graph as the plan says.

    Args:
        plan: made from the graph of this editor.
        editor: edits the graph in place, and its GraphDef.
        mode: "train" or "eval".

    Raises:
        Refusal: see `check_applicable`.
        GraphError: the plan does not fit the graph.
    """
    graph = editor.graph
    check_applicable(plan, graph, mode)
    if not plan.folds and not plan.quantizers:
        return Applied(editor.log, ())
    emitter = Emitter(editor, resource=plan.resource_variables)
    uniform = {entry.node: entry for entry in plan.uniform_offsets}
    with editor.shared():
        for name in plan.respelled:
            respell(graph.node(name), emitter, mode, uniform.get(name))
        norms = {*plan.respelled, *(item.norm for item in plan.folds)}
        for entry in plan.uniform_offsets:
            if entry.node not in norms:
                tell_biases_apart(entry, graph, emitter)
    folded: dict[str, Folded] = {}
    results: dict[Value, Value] = {}
    retired: dict[Value, Node] = {}
    for fold_item in plan.folds:
        editor.begin(fold_item.id)
        folded[fold_item.id] = fold(fold_item, graph, emitter, mode, uniform.get(fold_item.norm))
        result = folded[fold_item.id].result
        results[graph.value(fold_item.output)] = result
        retired[result] = graph.node(fold_item.norm)
    # Consumers are taken down for all quantizers before the first is inserted: none may see another's own nodes.
    devices = _variable_devices(plan, graph)
    work = [(item, *_site(item, graph, folded, results, retired)) for item in plan.quantizers]
    work.sort(key=lambda entry: _moves(entry[0], entry[1]))  # a node that moves takes its quantized inputs along
    ranges = {item.scope: range_tensors(item, resource=plan.resource_variables) for item in plan.quantizers}
    for item, value, edges in work:
        editor.begin(item.id)
        tied = tuple(ranges[scope] for scope in item.tied_with if scope in ranges)
        moves = _moves(item, value)
        source = _move(value, f"{item.scope}/unquantized", editor) if moves else value
        quantized = quantize(item, source, [] if moves else edges, emitter, mode, devices.get(item.layer, ""), tied)
        if moves:
            editor.become(value.node, templates.IDENTITY, (quantized,))
    editor.commit()
    topological_order(graph)  # edits must not have made a cycle
    return Applied(editor.log, tuple(emitter.variables))


def _moves(item: QuantizerItem, value: Value) -> bool:
    """Whether a node makes place for its quantized result: not for that of a fold, which has a name of its own."""
    return item.takes_name and str(value) == item.tensor


def _move(value: Value, name: str, editor: Editor) -> Value:
    """The same operation under another name."""
    return editor.clone(value.node, name, value.node.inputs).value(value.port)


def _site(
    item: QuantizerItem,
    graph: Graph,
    folded: dict[str, Folded],
    results: dict[Value, Value],
    retired: dict[Value, Node],
) -> tuple[Value, list[tuple[Node, int]]]:
    """What is quantized in the folded graph, and which edges are moved."""
    if item.role == "weights" and item.fold is not None:
        made = folded[item.fold]
        return made.weights, [use for use in made.weights.uses() if use[0] is made.layer]
    if item.edges is not None:
        return graph.value(item.tensor), [_edge(edge, graph) for edge in item.edges]
    value = graph.value(item.tensor)
    value = results.get(value, value)
    # What bears the batch norm's old name hands the folded result on, and stays in front of the quantizer, unless that
    # takes the name over.
    hidden = None if item.takes_name else retired.get(value)
    return value, [use for use in value.uses() if use[0] is not hidden]


def _edge(text: str, graph: Graph) -> tuple[Node, int]:
    name, _, slot = text.rpartition(":in")
    node = graph.node(name)
    if not slot.isdecimal() or int(slot) >= len(node.inputs):
        raise GraphError("no-such-node", f"the graph has no edge {text!r}", where=text)
    return node, int(slot)


def _variable_devices(plan: Plan, graph: Graph) -> dict[str | None, str]:
    """By layer: range variables live where the layer keeps its own variables (a parameter server, for instance)."""
    devices: dict[str | None, str] = {}
    for item in plan.quantizers:
        if item.role == "weights":
            variables = variables_of(graph.value(item.tensor))
            for edge in item.edges or ():
                devices[edge.rpartition(":in")[0]] = variables[0].proto.device if variables else ""
    return devices
