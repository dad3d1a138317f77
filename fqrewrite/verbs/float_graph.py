"""From what a command was given to the float graph that runs on sample data."""

from __future__ import annotations

from fqrewrite.config.records import Config
from fqrewrite.ir.arity import check_arity
from fqrewrite.ir.graph import Graph
from fqrewrite.plans.items import Plan
from fqrewrite.source.flatten import flatten_model
from fqrewrite.source.open import Source
from fqrewrite.source.restore import Restorer, VariableKeys, variable_keys
from fqrewrite.verbs.evaluate import InferenceGraph, inference_graph
from fqrewrite.verbs.recovery import Recovered, recover_model


def float_graph(source: Source, config: Config, plan: Plan | None = None) -> InferenceGraph:
    """Makes the float graph that `eval` would quantize, in place: inference only, variables frozen.

    Args:
        source: a graph, with its checkpoint if it has variables.
        config: of this run.
        plan: one that was made before, of a source graph; None for the model's own or a new one.

    Raises:
        Refusal, ConfigError, InputError, GraphError: see `verbs.recovery.recover_model` and
            `verbs.evaluate.inference_graph`.
    """
    model = source.model
    keys = variable_keys(model) if source.checkpoint else VariableKeys()
    if plan is None:
        found = recover_model(model, config)
    else:
        flatten_model(model, config.outputs or plan.outputs)
        check_arity(Graph(model.graph_def))
        found = Recovered(plan, "", False)
    restorer = Restorer(source.checkpoint, keys, found.scope) if source.checkpoint else None
    return inference_graph(model, found, config, restorer)
