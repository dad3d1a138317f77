"""Bringing a source graph into the form that is planned on, and into the form that an eval graph is made of.

The form that is planned on is the training graph without its backward pass: placeholders bound, conditionals on the
phase resolved to training. The inference form has the same nodes under the same names, so that one plan serves both:
a conditional takes its inference side, but where the plan rewrites something in the training side; batch norms
normalise with their moving averages; dropout is gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from fqrewrite.config.records import Config
from fqrewrite.ir.editor import Editor
from fqrewrite.ir.functions import functions_of
from fqrewrite.ir.graph import Graph, Node, Value
from fqrewrite.ir.topology import topological_order
from fqrewrite.match.conditionals import Resolution, has_conditionals, resolve_predicates
from fqrewrite.match.labels import depends_on_labels
from fqrewrite.match.parameters import Parameters, dtype_of
from fqrewrite.match.phase import find_phases, takes_batch_statistics
from fqrewrite.match.predicates import Predicates
from fqrewrite.match.reach import ancestors, with_initializers
from fqrewrite.match.refusals import backward_pass
from fqrewrite.plans.items import Plan, Preparation
from fqrewrite.proto.dtypes import DT_BOOL
from fqrewrite.source.bindings import Binding, checked_bindings
from fqrewrite.transform.conditionals import bind, inline, resolve
from fqrewrite.transform.prune import prune

PREPARATION = "preparation"
"""The item of the edit log under which these edits stand."""

_ASSIGNMENTS = ("Assign", "Scatter")


def decide_preparation(graph: Graph, config: Config, *, strip_training: bool, thaw: bool) -> Preparation:
    """Decides what is to be done to a graph before it is planned on; only reads it.

    Raises:
        ConfigError: `binding-not-found` for a value of what is no placeholder, `binding-value` for one of the wrong
            dtype or number of elements.
    """
    bound = checked_bindings(config, graph)
    order = topological_order(graph) if has_conditionals(graph) else []
    phases = find_phases(graph, order) if order else {}
    # A phase that is bound to training is one still: the eval graph of a training graph has the other.
    phases = {name: value for name, value in phases.items() if bound.get(name, value) == value}
    return Preparation(
        bound={name: value for name, value in bound.items() if name not in phases},
        phases=phases,
        training=not phases or _has_updates(graph) or not takes_batch_statistics(graph, order, phases),
        strip_training=strip_training,
        thaw=thaw,
    )


def _has_updates(graph: Graph) -> bool:
    """Whether moving averages are updated, if only in a branch of a conditional."""
    functions = functions_of(graph.graph_def).values()
    return bool(data_updates(graph)) or any(
        node.op.startswith(_ASSIGNMENTS) for function in functions for node in function.node_def
    )


def data_updates(graph: Graph) -> list[Node]:
    """Assignments of something computed from data in the forward pass: moving averages."""
    backward = backward_pass(graph)
    parameters = Parameters()
    ops = [op for op in graph.op_types() if op.startswith(_ASSIGNMENTS)]
    return [
        node
        for node in graph.by_op(*ops)
        if node not in backward and any(not parameters.is_parameter(value) for value in node.inputs[1:])
    ]


def strip(editor: Editor, outputs: Iterable[Value], also: Iterable[Node]) -> dict[str, int]:
    """Removes the backward pass, and whatever else the outputs do not need.

    Variables stay together with their initializers and plain reads; so do the updates of moving averages, and what
    fills lookup tables.

    Args:
        editor: of the graph.
        outputs: tensors that stay.
        also: nodes that stay with them, unless they are part of the backward pass.

    Returns:
        The number of nodes removed by kind, see `transform.prune`.
    """
    graph = editor.graph
    roots = [value.node for value in outputs]
    backward = _wait_no_more(editor)
    labelled = depends_on_labels(graph, ancestors(roots))
    roots += [node for node in data_updates(graph) if node not in labelled]
    roots += [node for node in also if node not in backward]
    return prune(editor, with_initializers(ancestors(roots)))


def _wait_no_more(editor: Editor) -> set[Node]:
    """Lets nothing in the forward pass wait for the backward pass, as a loss does that is fetched to train.

    Returns:
        The backward pass, and what only waits for it.
    """
    backward = backward_pass(editor.graph)
    for node in topological_order(editor.graph) if backward else ():
        waits = backward.intersection(node.controls) if node not in backward else ()
        if waits and not node.inputs:
            backward.add(node)
            continue
        for control in waits:
            editor.drop_control(node, control)
    return backward


def resolve_for_planning(editor: Editor, preparation: Preparation, kept: Iterable[str]) -> int:
    """Brings a graph into the form that is planned on; returns the number of conditionals that were resolved.

    The sides of conditionals that are not taken are removed, and so are their own nodes, but for what something waits
    for and these nodes, which are read from outside: outputs, updates.
    """
    if not preparation.bound and not preparation.phases:
        return 0
    graph = editor.graph
    bound = _bound(graph, preparation, training=preparation.training)
    known, count, passed = _resolution(graph, bound), 0, list[Node]()
    while known.branches:
        passed += inline(editor, known.branches)
        count += len(known.branches)
        known = _resolution(graph, bound)
    resolve(editor, known, known.choices)
    bind(editor, bound)
    editor.remove(known.dead)
    needed = {control for node in graph for control in node.controls} | {graph.node(name) for name in kept}
    passed += [*known.switches, *known.choices]
    editor.remove([node for node in passed if node.name in graph and not node.uses and node not in needed])
    return len(known.choices) + count


def resolve_for_inference(editor: Editor, preparation: Preparation, plan: Plan, outputs: Iterable[Value]) -> int:
    """Brings a source graph into its inference form; returns the number of conditionals that were resolved.

    Nothing is removed: which side of a conditional the plan's names are on shows afterwards, by what the outputs need.

    Args:
        editor: of the source graph.
        preparation: what the plan was made on.
        plan: names of nodes that must be in the result.
        outputs: the tensors that are the point of the graph.
    """
    if not preparation.bound and not preparation.phases:
        return 0
    graph, touched = editor.graph, _touched(plan)
    training = _bound(graph, preparation, training=preparation.training)
    inference = _bound(graph, preparation, training=False)
    count = 0
    while True:
        sides = _Sides(_resolution(graph, training), _resolution(graph, inference))
        branches = sides.inference.branches
        if not branches:
            break
        chosen = {}
        for node, taken in branches.items():
            other = sides.training.branches.get(node, taken)
            scope = f"{node.name}/{'then' if other else 'else'}/"
            chosen[node] = other if any(name.startswith(scope) for name in touched) else taken
        inline(editor, chosen)
        count += len(branches)
    roots = [value.node for value in outputs]
    choices = sides.choose(roots, {graph.nodes[name] for name in touched if name in graph})
    resolve(editor, sides.inference, choices)
    bind(editor, inference)
    return count + len(choices)


class _Sides(NamedTuple):
    """What the conditionals of a graph come to in training and in inference."""

    training: Resolution
    inference: Resolution

    def choose(self, roots: list[Node], touched: set[Node]) -> dict[Node, Value]:
        """The inference side of every conditional, but the training side where only that leads to what is touched."""
        choices = dict(self.inference.choices)
        differing = [node for node, value in self.training.choices.items() if choices.get(node, value) != value]
        if differing:
            only = _reach(roots, self.training.choices) - _reach(roots, choices)
            for node in differing:
                value = self.training.choices[node]
                if value.node in only and not touched.isdisjoint(_within(value.node, only)):
                    choices[node] = value
        return choices


def _reach(roots: list[Node], choices: Mapping[Node, Value]) -> set[Node]:
    """What the roots need when each of these nodes reads its choice only."""
    found, queue = set(roots), list(roots)
    for node in queue:
        choice = choices.get(node)
        sources = [value.node for value in node.inputs] if choice is None else [choice.node]
        for source in (*sources, *node.controls):
            if source not in found:
                found.add(source)
                queue.append(source)
    return found


def _within(node: Node, region: set[Node]) -> set[Node]:
    """What a node of a region needs of that region."""
    found, queue = {node}, [node]
    for current in queue:
        for value in current.inputs:
            if value.node in region and value.node not in found:
                found.add(value.node)
                queue.append(value.node)
    return found


def _touched(plan: Plan) -> set[str]:
    """Names of the nodes that a plan folds or quantizes."""
    names = {item.layer for item in plan.folds} | {item.norm for item in plan.folds}
    for item in plan.quantizers:
        if item.role == "weights":
            names.update(edge.rpartition(":in")[0] for edge in item.edges or ())
        else:
            names.add(item.tensor.rpartition(":")[0])
    return names


def _resolution(graph: Graph, bound: Mapping[Node, Binding]) -> Resolution:
    scalars = {node: value for node, value in bound.items() if not isinstance(value, tuple)}
    return resolve_predicates(graph, topological_order(graph), Predicates(scalars))


def _bound(graph: Graph, preparation: Preparation, *, training: bool) -> dict[Node, Binding]:
    """Placeholders and their values, phases those of training or of inference."""
    bound: dict[Node, Binding] = {
        graph.nodes[name]: value for name, value in preparation.bound.items() if name in graph
    }
    for name, value in preparation.phases.items():
        if name in graph:
            node = graph.nodes[name]
            bound[node] = value == training if dtype_of(node) == DT_BOOL else int(value == training)
    return bound
