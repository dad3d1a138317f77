"""The verbs: plan a model, and apply a plan to it. What the command line does, without files and terminals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from fqrewrite.config.records import Config
from fqrewrite.ir.arity import check_arity
from fqrewrite.ir.block import BlockVariable
from fqrewrite.ir.editor import Editor
from fqrewrite.ir.graph import Graph, Node, split_tensor
from fqrewrite.match.phase import open_predicates
from fqrewrite.match.reach import ancestors
from fqrewrite.match.refusals import refuse_rewritten
from fqrewrite.model.collections import (
    LOSSES,
    UPDATE_OPS,
    Reconstruction,
    add_variables,
    node_list,
    remove_variables,
    variable_def,
)
from fqrewrite.model.container import Model, convert_to_meta_graph
from fqrewrite.model.declared import declared_outputs
from fqrewrite.model.kinds import Kind
from fqrewrite.model.stale import drop_output_shapes, drop_stale
from fqrewrite.plans.build import build_plan
from fqrewrite.plans.items import Changes, Note, Plan, Preparation, fake_quant_op
from fqrewrite.plans.outputs import find_outputs, named_outputs
from fqrewrite.plans.ranges import Origin
from fqrewrite.plans.restrict import leave_to_others
from fqrewrite.source.flatten import flatten_model
from fqrewrite.source.prepare import PREPARATION, decide_preparation, resolve_for_planning, strip
from fqrewrite.source.provenance import Provenance, mark, originals, source_nodes
from fqrewrite.source.served import main_op_nodes, only_for_others, served_nodes, trim_main_ops
from fqrewrite.transform.apply import Applied, apply_plan
from fqrewrite.transform.colocation import drop_stale_colocations
from fqrewrite.transform.thaw import thaw

Captures = Callable[[tuple[BlockVariable, ...]], dict[str, str]]
"""From the new variables to what arguments of a function stand for, see `provenance.Provenance`."""


class Prepared(NamedTuple):
    """A model in the form that is planned on.

    Attributes:
        editor: of its graph; its log has what was done under `prepare.PREPARATION`.
        preparation: what was to be done.
        changes: what was done.
        notes: what the user should know of that.
        thawed: variables that constants became.
    """

    editor: Editor
    preparation: Preparation
    changes: Changes
    notes: tuple[Note, ...]
    thawed: tuple[BlockVariable, ...] = ()


class Rewritten(msgspec.Struct, frozen=True, kw_only=True):
    """What a rewrite did.

    Attributes:
        applied: the edits by plan item, and the new variables.
        changes: what was done beside.
        notes: on all that.
        outputs: tensors of the rewritten graph that are its results, ``node:port``.
        origins: where each range of an eval graph came from, by the quantizer's id.
    """

    applied: Applied
    changes: Changes
    notes: tuple[Note, ...]
    outputs: tuple[str, ...]
    origins: dict[str, Origin] = {}


def prepare_model(
    model: Model,
    config: Config,
    *,
    as_meta_graph: bool = False,
    strip_training: bool = False,
    thaw_constants: bool = False,
    preparation: Preparation | None = None,
) -> Prepared:
    """Brings a model into the form that is planned on, in place.

    Args:
        model: is edited.
        config: says what is bound, and what the outputs are.
        as_meta_graph: whether a GraphDef becomes a MetaGraphDef with collections of its variables.
        strip_training: whether the backward pass, and what else the outputs do not need, is removed.
        thaw_constants: whether constant weights and biases become variables.
        preparation: what a plan that exists was made on; it goes before the three arguments above it.

    Raises:
        Refusal: `already-rewritten`, `nothing-to-thaw`.
        ConfigError: about outputs (`plans.outputs`) and bindings (`source.prepare.decide_preparation`).
        GraphError: the graph is damaged.
    """
    flatten_model(model, config.outputs or declared_outputs(model))
    changes, notes = Changes(inlined=model.inlined), list[Note]()
    graph = Graph(model.graph_def)
    check_arity(graph)
    refuse_rewritten(graph)
    if preparation is None:
        preparation = decide_preparation(graph, config, strip_training=strip_training, thaw=thaw_constants)
    made: tuple[BlockVariable, ...] = ()
    if preparation.thaw:
        thawed = thaw(graph, Editor(graph))
        made = thawed.variables
        changes = msgspec.structs.replace(changes, thawed=tuple(variable.node for variable in made))
        notes += [Note(code="not-thawed", text=f"{entry.name}: {entry.reason}") for entry in thawed.not_thawed]
        if model.kind == "meta_graph":
            _add_variables(model.message, thawed.variables, trainable=True)
    if preparation.strip_training:
        outputs = find_outputs(graph, config.outputs or declared_outputs(model))
        editor, kept = Editor(graph), [*_training_nodes(model, graph), *served_nodes(model, graph)]
        needed = ancestors([*(value.node for value in outputs), *kept])
        removed = strip(editor, outputs, [*kept, *trim_main_ops(editor, model, needed, keeps_variables=True)])
        changes = msgspec.structs.replace(changes, removed=removed)
    if as_meta_graph and model.kind == "graph_def":
        notes += undescribed(convert_to_meta_graph(model))
        graph = Graph(model.graph_def)
    # From here on every change can be undone: this is the graph that provenance leads back to.
    editor = Editor(graph)
    editor.begin(PREPARATION)
    named = named_outputs(graph, config.outputs or declared_outputs(model))
    read_outside = [*(value.node for value in named), *_training_nodes(model, graph)]
    read_outside += [*served_nodes(model, graph), *main_op_nodes(model, graph)]
    resolved = resolve_for_planning(editor, preparation, [node.name for node in read_outside])
    notes += [_unknown_predicate(node) for node in open_predicates(graph)]
    if editor.originals or changes != Changes():
        model.edited = True
        bound = {
            **preparation.bound,
            **{name: value == preparation.training for name, value in preparation.phases.items()},
        }
        changes = msgspec.structs.replace(
            changes, bound=bound, phases=tuple(preparation.phases), conditionals=resolved, **_tidy(model, editor)
        )
    return Prepared(editor, preparation, changes, tuple(notes), made)


def plan_model(model: Model, config: Config, prepared: Prepared) -> Plan:
    """Makes the plan of a prepared model; its graph is only read.

    Raises:
        Refusal, ConfigError, GraphError: see `plans.build.build_plan`.
    """
    graph = prepared.editor.graph
    plan = build_plan(
        graph,
        config,
        source_sha256=model.sha256,
        public_outputs=declared_outputs(model),
        preparation=prepared.preparation,
    )
    needed = [*(value.node for value in named_outputs(graph, plan.outputs)), *_training_nodes(model, graph)]
    return leave_to_others(plan, graph, only_for_others(model, graph, needed))


def train_model(
    model: Model, plan: Plan, prepared: Prepared, output_kind: Kind, captures: Captures | None = None
) -> Rewritten:
    """Applies a plan to the model that it was made from, in place, for training.

    New variables enter the global collection of a MetaGraphDef. A saver that the model brought along does not know
    them and is taken out, so that `import_meta_graph` makes one that does.

    Args:
        model: is edited.
        plan: what to do.
        prepared: what `prepare_model` made of the model.
        output_kind: what will be written.
        captures: says what the provenance keeps as its `captures`.

    Raises:
        Refusal, GraphError: see `transform.apply.apply_plan`.
    """
    editor, changes = prepared.editor, prepared.changes
    applied = apply_plan(plan, editor, "train")
    notes = list(prepared.notes)
    if plan.folds or plan.quantizers:
        notes += describe_variables(model, applied.variables)
        if captures is None:  # a function runs whatever has an effect
            notes += _train_idle_quantizers(model, plan, editor.graph)
        changes = msgspec.structs.replace(changes, output_shapes=drop_shapes(model) or changes.output_shapes)
        if applied.variables and output_kind == "graph_def":
            text = "the output is a GraphDef, which has no collections: no optimizer will find its variables"
            notes.append(Note(code="no-collections", text=text))
        calls = signature_calls(model) if captures else {}
        provenance = Provenance(
            mode="train",
            plan=plan,
            changes=changes,
            originals=source_nodes(editor, _roots(plan, calls)) if captures else originals(editor),
            calls=calls,
            prepared=tuple(editor.log.items[PREPARATION].inserted) if PREPARATION in editor.log.items else (),
            captures=captures(applied.variables) if captures else {},
        )
        mark(editor, provenance)
        model.edited = True
    return Rewritten(applied=applied, changes=changes, notes=tuple(notes), outputs=plan.outputs)


def signature_calls(model: Model) -> dict[str, str]:
    """The node that computes each chosen signature of a SavedModel of TensorFlow 2, by its key."""
    definitions = model.message.signature_def
    keys = model.saved_model.signatures if model.saved_model else ()
    return {key: split_tensor(next(iter(definitions[key].outputs.values())).name)[0] for key in keys}


def _roots(plan: Plan, calls: Mapping[str, str]) -> list[str]:
    return [*(split_tensor(tensor)[0] for tensor in plan.outputs), *calls.values()]


def _train_idle_quantizers(model: Model, plan: Plan, graph: Graph) -> list[Note]:
    """Enters quantizers that nothing reads, behind outputs, in the collection of what is run along in training."""
    ends = [
        f"{item.scope}/{'delayed_quant' if item.delay else fake_quant_op(item.scheme)}"
        for item in plan.quantizers
        if item.role != "weights"
    ]
    idle = [name for name in ends if not graph.node(name).uses]
    if not idle or model.kind != "meta_graph":
        return []
    model.message.collection_def[UPDATE_OPS].node_list.value.extend(idle)
    text = f"nothing reads {', '.join(idle)}; run the collection {UPDATE_OPS!r} in training, and its range is learned"
    return [Note(code="output-range-in-updates", text=text)]


def undescribed(found: Reconstruction) -> list[Note]:
    """A note for each variable that could not be entered in the collections."""
    return [Note(code="variable-not-described", text=f"{name}: {reason}") for name, reason in found.skipped]


def describe_variables(model: Model, variables: tuple[BlockVariable, ...]) -> list[Note]:
    """Enters new variables in a MetaGraphDef's collections; the saver, which does not know them, goes.

    A training graph that became an eval graph has variables of these names, too, which they replace.
    """
    if not variables or model.kind != "meta_graph":
        return []
    remove_variables(model.message, {variable.node for variable in variables})
    _add_variables(model.message, variables, trainable=False)
    return _drop_saver(model.message)


def drop_shapes(model: Model) -> int:
    """Drops `_output_shapes` attributes, of another graph and maybe wrong; returns on how many nodes they were."""
    return drop_output_shapes(model.graph_def) if b"_output_shapes" in model.raw else 0


def _unknown_predicate(node: Node) -> Note:
    text = f"{node.name} decides a conditional, and is neither set nor a known switch between training and inference"
    return Note(code="predicate-unknown", text=text)


def _training_nodes(model: Model, graph: Graph) -> list[Node]:
    """What a training needs that its collections name: losses, and updates to be run along."""
    if model.kind != "meta_graph":
        return []
    names = [*node_list(model.message, LOSSES), *node_list(model.message, UPDATE_OPS)]
    return [graph.nodes[name] for text in names if (name := text.partition(":")[0]) in graph]


def _tidy(model: Model, editor: Editor) -> dict[str, Any]:
    """Drops what says something about nodes that are gone."""
    drop_stale_colocations(editor)
    stale = drop_stale(model.message) if model.kind == "meta_graph" else {}
    return {"stale": stale, "output_shapes": drop_shapes(model)}


def _add_variables(meta_graph: Any, variables: tuple[BlockVariable, ...], *, trainable: bool) -> None:
    definitions = [_variable_def(variable, trainable=trainable) for variable in variables]
    add_variables(meta_graph, definitions, trainable=trainable)


def _variable_def(variable: BlockVariable, *, trainable: bool) -> bytes:
    return variable_def(
        variable=variable.node,
        initializer=variable.assign,
        initial_value=f"{variable.initial}:0",
        snapshot=f"{variable.read}:0",
        is_resource=variable.is_resource,
        trainable=trainable,
    )


def _drop_saver(meta_graph: Any) -> list[Note]:
    if not meta_graph.HasField("saver_def") and "savers" not in meta_graph.collection_def:
        return []
    meta_graph.ClearField("saver_def")
    if "savers" in meta_graph.collection_def:
        del meta_graph.collection_def["savers"]
    text = "the model's saver does not know the new variables and was left out; import_meta_graph makes a new one"
    return [Note(code="saver-dropped", text=text)]
