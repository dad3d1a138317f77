"""Rewriting a live `tf.compat.v1.Graph` in place: the functions that `tf.contrib.quantize` had.

    from fqrewrite import tf1 as quantize      # was: from tensorflow.contrib import quantize

    quantize.create_training_graph(quant_delay=2000)   # before the optimizer is added

The same plan is made, and the same nodes and variables under the same names, as `fqrewrite train` and `fqrewrite eval`
make of the graph's file, so that checkpoints fit. Operations that exist cannot become others in a live graph: where the
file has another operation under a node's name, the live graph has it under ``<name>/rewritten``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from fqrewrite.config.records import Config
from fqrewrite.config.resolve import resolve
from fqrewrite.errors import Refusal
from fqrewrite.ir.editor import Editor
from fqrewrite.ir.graph import Graph
from fqrewrite.live.difference import Difference, difference
from fqrewrite.live.realise import realise, realise_collections
from fqrewrite.live.snapshot import NAME, graph_to_rewrite, snapshot
from fqrewrite.match.analysis import Analysis
from fqrewrite.match.refusals import refuse_backward_pass, refuse_rewritten
from fqrewrite.model.container import Model
from fqrewrite.model.declared import declared_outputs
from fqrewrite.plans.empty import refuse_empty
from fqrewrite.plans.items import Note, Plan
from fqrewrite.plans.outputs import find_sinks
from fqrewrite.plans.ranges import RangeSources
from fqrewrite.proto import GraphDef
from fqrewrite.report.build import build_report
from fqrewrite.report.records import Report
from fqrewrite.source.flatten import flatten_model
from fqrewrite.source.provenance import find_provenance, mark
from fqrewrite.verbs.evaluate import evaluate_model
from fqrewrite.verbs.recovery import recover_model
from fqrewrite.verbs.rewrite import Rewritten, plan_model, prepare_model, train_model

Settings = Path | str | Mapping[str, Any]


def create_training_graph(
    input_graph: Any = None, quant_delay: int | None = None, *, config: Settings | None = None
) -> Report:
    """Folds batch norms of a training graph, and inserts fake quantizers that learn their ranges. In place.

    To be called when the loss is there and before the optimizer: gradients must see the quantizers.

    Args:
        input_graph: `tf.compat.v1.Graph`; None for the default graph.
        quant_delay: training steps before tensors are quantized, 0 or more; None for the config's, or else 0.
        config: settings as in a config file, or the path of one; None for the preset contrib, which is also what a
            config without `preset` starts from.

    Returns:
        What was done, and what was left out. New variables are in the collection GLOBAL_VARIABLES.

    Raises:
        Refusal: `graph-has-gradients`, `already-rewritten`, `nothing-quantized`, `nothing-trainable`.
        ConfigError: `graph-not-live` for a finalized graph; the codes of configs (`config.resolve`) and outputs.
        GraphError: the graph is damaged.
    """
    return _rewrite(input_graph, "train", config, quant_delay=quant_delay)


def create_eval_graph(input_graph: Any = None, *, config: Settings | None = None) -> Report:
    """Folds batch norms of an eval graph, and inserts fake quantizers that read their ranges from variables. In place.

    The variables are those of the training graph, to be restored from its checkpoint, and none is frozen.

    Args:
        input_graph, config: as for `create_training_graph`; of a training graph the same config.

    Returns:
        What was done, and what was left out.

    Raises:
        Refusal: `already-rewritten`, `graph-has-gradients`, `nothing-quantized`, `training-graph-in-eval`.
        ConfigError, GraphError: as `create_training_graph`.
    """
    return _rewrite(input_graph, "eval", config)


def experimental_create_training_graph(
    input_graph: Any = None,
    weight_bits: int | None = None,
    activation_bits: int | None = None,
    symmetric: bool | None = None,
    quant_delay: int | None = None,
    freeze_bn_delay: int | None = None,
    scope: str | None = None,
    *,
    config: Settings | None = None,
) -> Report:
    """As `create_training_graph`, with settings as arguments; they win over the config's, and None says nothing.

    Args:
        input_graph, quant_delay, config: as there.
        weight_bits, activation_bits: 2 to 8; 8 unless the config says otherwise.
        symmetric: whether ranges are symmetric around zero; False unless the config says otherwise.
        freeze_bn_delay: step from which batch norms use their moving averages, and no longer update them.
        scope: name scope that is quantized; None for everything. (contrib folded batch norms outside, too.)

    Returns, Raises: as there, and ConfigError `scope-matches-nothing`.
    """
    return _rewrite(
        input_graph,
        "train",
        config,
        weight_bits=weight_bits,
        activation_bits=activation_bits,
        symmetric=symmetric,
        quant_delay=quant_delay,
        freeze_bn_delay=freeze_bn_delay,
        scope=scope,
    )


def experimental_create_eval_graph(
    input_graph: Any = None,
    weight_bits: int | None = None,
    activation_bits: int | None = None,
    symmetric: bool | None = None,
    quant_delay: int | None = None,
    scope: str | None = None,
    *,
    config: Settings | None = None,
) -> Report:
    """As `create_eval_graph`, with the settings of the training graph as arguments.

    Args:
        input_graph, config: as for `create_training_graph`.
        weight_bits, activation_bits, symmetric, scope: as for `experimental_create_training_graph`.
        quant_delay: taken, since tf.contrib.quantize took it, and of no effect: an eval graph is quantized.

    Returns, Raises: as `create_eval_graph`.
    """
    return _rewrite(
        input_graph,
        "eval",
        config,
        weight_bits=weight_bits,
        activation_bits=activation_bits,
        symmetric=symmetric,
        quant_delay=quant_delay,
        scope=scope,
    )


def _rewrite(input_graph: Any, mode: Literal["train", "eval"], config: Settings | None, **settings: Any) -> Report:
    resolved = resolve(config, default_preset="contrib", **settings)
    graph = graph_to_rewrite(input_graph)
    model = snapshot(graph)
    source = model.copy()
    flatten_model(model, resolved.outputs or declared_outputs(model))
    flat = model.copy()
    _refuse(Graph(flat.graph_def))
    plan, rewritten = (_train if mode == "train" else _evaluate)(model, resolved)
    if rewritten is None:
        refuse_empty(plan, NAME)
    outputs = {name.partition(":")[0] for name in rewritten.outputs}
    change = difference(source.graph_def, model.graph_def, outputs)
    _add_provenance(change, difference(flat.graph_def, model.graph_def, outputs).changed, flat, model)
    realise(change, graph)
    realise_collections(source.message, model.message, change.successors, graph)
    return build_report(
        model_path=NAME,
        model_kind="graph",
        plan=plan,
        mode=mode,
        rewritten=_named_as_they_are(rewritten, change),
        output=None,
    )


def _train(model: Model, config: Config) -> tuple[Plan, Rewritten | None]:
    config = _with_outputs(model, config, _sinks(model))
    prepared = prepare_model(model, config)
    plan = plan_model(model, config, prepared)
    return plan, None if plan.is_empty else train_model(model, plan, prepared, "meta_graph")


def _evaluate(model: Model, config: Config) -> tuple[Plan, Rewritten | None]:
    sinks = _sinks(model)
    config = _with_outputs(model, config, sinks)
    found = recover_model(model, config)
    if found.plan.is_empty:
        return found.plan, None
    # Whoever holds the graph may use all of it, losses and metrics, too.
    own = found.plan.outputs
    whole = msgspec.structs.replace(config, outputs=tuple(dict.fromkeys((*own, *sinks))))
    evaluated = evaluate_model(model, found, whole, RangeSources(config=config), None, freezes=False)
    assert evaluated.rewritten is not None
    results = evaluated.rewritten.outputs[: len(set(own))]
    return evaluated.plan, msgspec.structs.replace(evaluated.rewritten, outputs=results)


def _sinks(model: Model) -> tuple[str, ...]:
    return tuple(str(value) for value in find_sinks(Analysis(Graph(model.graph_def))))


def _with_outputs(model: Model, config: Config, sinks: tuple[str, ...]) -> Config:
    """Placement as contrib's does not depend on what the outputs are: then several need not be told apart."""
    if config.outputs or config.placement != "contrib" or len(sinks) < 2 or declared_outputs(model):
        return config
    origins = {**config.origins, "outputs": NAME}
    return msgspec.structs.replace(config, outputs=sinks, origins=origins)


def _refuse(graph: Graph) -> None:
    """Refuses what a file would be refused for too, and gradients that `fqrewrite eval` removes from a file."""
    try:
        refuse_rewritten(graph)
        refuse_backward_pass(Analysis(graph))
    except Refusal as error:
        if error.code == "graph-has-gradients":
            error.remedy = "Rewrite the graph before `minimize` or `gradients` is called; an eval graph has neither."
        else:
            error.remedy = "Build the float graph in a new tf.Graph, and rewrite that once."
        raise


def _add_provenance(change: Difference, changed: Collection[str], flat: Model, rewritten: Model) -> None:
    """Lets the graph tell how it was made, so that `fqrewrite eval` takes the checkpoints of its training.

    Args:
        change: gets the node that says it.
        changed: nodes of the flat graph of which the live graph has other inputs.
        flat: the source graph, its calls inlined, which provenance leads back to.
        rewritten: the model with the provenance of a file.
    """
    found = find_provenance(rewritten.graph_def, NAME)
    if found is None:
        return
    provenance, _ = found
    if provenance.mode == "train":
        # An edge to a successor is one that the file did not move.
        originals = GraphDef.FromString(provenance.originals)
        more = set(changed).difference(node.name for node in originals.node)
        originals.node.extend([node for node in flat.graph_def.node if node.name in more])
        provenance = msgspec.structs.replace(provenance, originals=originals.SerializeToString(deterministic=True))
    marker = GraphDef()
    mark(Editor(Graph(marker)), provenance)
    change.added.node.extend(marker.node)


def _named_as_they_are(rewritten: Rewritten, change: Difference) -> Rewritten:
    """What was done, without what a live graph has no need of, and with the tensors by the names that they have."""
    notes = list(rewritten.notes)
    outputs = []
    for tensor in rewritten.outputs:
        name, _, port = tensor.partition(":")
        successor = change.successors.get(name)
        outputs.append(f"{successor}:{port}" if successor else tensor)
        if successor:
            text = f"{tensor} stays as it was, and {successor}:{port} is what the file would have under that name"
            notes.append(Note(code="output-beside", text=text))
    changes = msgspec.structs.replace(rewritten.changes, removed={}, stale={}, output_shapes=0)
    return msgspec.structs.replace(rewritten, outputs=tuple(outputs), notes=tuple(notes), changes=changes)
