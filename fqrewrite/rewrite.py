"""The verbs: plan a model, and apply a plan to it. What the command line does, without files and terminals."""

from __future__ import annotations

from typing import Any

import msgspec

from fqrewrite.config.records import Config
from fqrewrite.ir.block import BlockVariable
from fqrewrite.ir.graph import Graph
from fqrewrite.model.collections import add_variables, variable_def
from fqrewrite.model.container import Model, convert_to_meta_graph
from fqrewrite.model.kinds import Kind
from fqrewrite.plan.build import build_plan
from fqrewrite.plan.items import Note, Plan
from fqrewrite.transform.apply import Applied, apply_plan
from fqrewrite.transform.quantize import Mode

# Collections that projects use for the tensors that a model is built for; of a training graph those are its losses.
_OUTPUT_COLLECTIONS = ("outputs", "predictions", "logits", "end_points", "endpoints", "losses")


class Rewritten(msgspec.Struct, frozen=True):
    """What a rewrite did: the edits by plan item, the new variables, and notes that only the application knows."""

    applied: Applied
    notes: tuple[Note, ...]


def plan_model(model: Model, config: Config) -> tuple[Plan, Graph]:
    """Makes the plan of a model; the model is only read.

    Returns:
        The plan, and the graph that it was made on.

    Raises:
        Refusal, ConfigError, GraphError: see `plan.build.build_plan`.
    """
    graph = Graph(model.graph_def)
    outputs = _declared_outputs(model)
    return build_plan(graph, config, source_sha256=model.sha256, public_outputs=outputs), graph


def as_meta_graph(model: Model) -> tuple[Note, ...]:
    """Gives a GraphDef model collections, for when a MetaGraphDef is to be written; to be called before planning.

    Returns:
        A note for each variable that could not be described.
    """
    if model.kind == "meta_graph":
        return ()
    found = convert_to_meta_graph(model)
    return tuple(Note(code="variable-not-described", text=f"{name}: {reason}") for name, reason in found.skipped)


def rewrite_model(
    model: Model, plan: Plan, graph: Graph, mode: Mode, output_kind: Kind, notes: tuple[Note, ...] = ()
) -> Rewritten:
    """Applies a plan to the model that it was made from, in place.

    New variables enter the global collection of a MetaGraphDef. A saver that the model brought along does not know
    them and is taken out, so that `import_meta_graph` makes one that does.

    Args:
        model: is edited.
        plan: what to do.
        graph: the graph of this model.
        mode: "train" or "eval".
        output_kind: what will be written.
        notes: what `as_meta_graph` returned.

    Raises:
        Refusal, GraphError: see `transform.apply.apply_plan`.
    """
    applied = apply_plan(plan, graph, mode)
    more: list[Note] = []
    if applied.variables:
        model.edited = True
        if model.kind == "meta_graph":
            definitions = [_variable_def(variable) for variable in applied.variables]
            add_variables(model.message, definitions, trainable=False)
            more += _drop_saver(model.message)
        if mode == "eval" and any(item.range.source == "ema" for item in plan.quantizers):
            count = sum(item.range.source == "ema" for item in plan.quantizers)
            text = f"{count} activation ranges are variables; restore them from a checkpoint of the training graph"
            more.append(Note(code="range-not-trained", text=text))
        if mode == "train" and output_kind == "graph_def":
            text = "the output is a GraphDef, which has no collections: no optimizer will find its variables"
            more.append(Note(code="no-collections", text=text))
    model.edited = model.edited or bool(plan.folds or plan.quantizers)
    return Rewritten(applied, (*notes, *more))


def _variable_def(variable: BlockVariable) -> bytes:
    return variable_def(
        variable=variable.node,
        initializer=variable.assign,
        initial_value=f"{variable.initial}:0",
        snapshot=f"{variable.read}:0",
        is_resource=variable.is_resource,
        trainable=False,
    )


def _drop_saver(meta_graph: Any) -> list[Note]:
    if not meta_graph.HasField("saver_def") and "savers" not in meta_graph.collection_def:
        return []
    meta_graph.ClearField("saver_def")
    if "savers" in meta_graph.collection_def:
        del meta_graph.collection_def["savers"]
    text = "the model's saver does not know the new variables and was left out; import_meta_graph makes a new one"
    return [Note(code="saver-dropped", text=text)]


def _declared_outputs(model: Model) -> tuple[str, ...]:
    """Output tensors that signatures name, or else those in collections made for it."""
    if model.kind != "meta_graph":
        return ()
    meta_graph = model.message
    signatures = sorted(meta_graph.signature_def)
    names = [
        info.name
        for key in signatures
        for _, info in sorted(meta_graph.signature_def[key].outputs.items())
        if info.name
    ]
    if not names:
        for key in _OUTPUT_COLLECTIONS:
            if key in meta_graph.collection_def and not names:
                names = list(meta_graph.collection_def[key].node_list.value)
    return tuple(dict.fromkeys(names))
