"""What is known of a model before its eval graph is made: the plan, and the source graph that it is of.

The plan is the one that a training graph carries, or else the one that `train` would have made.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from fqrewrite.config.records import Config
from fqrewrite.errors import ConfigError, Refusal, path_text
from fqrewrite.ir.arity import check_arity
from fqrewrite.ir.graph import Graph
from fqrewrite.match.conditionals import has_conditionals
from fqrewrite.match.refusals import backward_pass, refuse_rewritten
from fqrewrite.model.container import Model
from fqrewrite.model.declared import declared_outputs
from fqrewrite.plans.items import Plan
from fqrewrite.source.bindings import rebind
from fqrewrite.source.flatten import flatten_model
from fqrewrite.source.provenance import find_provenance, recover
from fqrewrite.verbs.rewrite import plan_model, prepare_model

# Settings that an eval graph may have of its own.
_OF_EACH_RUN = frozenset({"outputs", "ranges", "set"})


class Recovered(NamedTuple):
    """What is known of a model before its eval graph is made.

    Attributes:
        plan: what is to be applied; its preparation has the bindings of this run.
        scope: the name scope that a training graph was imported under; "" for none.
        trained: whether the model was a training graph that fqrewrite made.
    """

    plan: Plan
    scope: str
    trained: bool


def recover_model(model: Model, config: Config, plan: Plan | None = None) -> Recovered:
    """Finds the plan of a model, and turns a training graph back into the source graph that it was made from.

    Args:
        model: calls of functions in it are inlined; a rewritten training graph is replaced by its source.
        config: of this run. With a training graph only its bindings, outputs and ranges count.
        plan: a plan that was made before; None for the training graph's, or else for a new one.

    Raises:
        Refusal: `already-rewritten` for an eval graph, or one that tf.contrib.quantize made; `provenance-unreadable`,
            `provenance-ambiguous`; and as `verbs.rewrite.prepare_model` and `verbs.rewrite.plan_model`.
    """
    where = path_text(model.path)
    flatten_model(model, config.outputs or declared_outputs(model))
    found = find_provenance(model.graph_def, where)
    if found is not None:
        provenance, scope = found
        if provenance.mode == "eval":
            raise Refusal("already-rewritten", "this is an eval graph that fqrewrite made", where=where)
        if plan is not None:
            what = "the model carries the plan that it was made with, and takes no other"
            raise ConfigError("plan-conflict", what, where=where)
        _refuse_other_settings(provenance.plan, config, where)
        model.graph_def.CopyFrom(recover(model.graph_def, provenance, scope))
        model.edited = True
        graph = Graph(model.graph_def)
        check_arity(graph)
        return Recovered(rebind(provenance.plan, graph, config), scope, True)
    if plan is None:
        plan = _plan(model, config)
    return Recovered(plan, "", False)


def _refuse_other_settings(plan: Plan, config: Config, where: str) -> None:
    """Refuses settings that the plan was made without: the eval graph would not match the training graph.

    Raises:
        ConfigError: `plan-in-model`.
    """
    now = msgspec.to_builtins(config)
    for key, origin in sorted(config.origins.items()):
        section, _, name = key.partition(".")
        said = origin != "default" and not origin.startswith("preset ") and section not in _OF_EACH_RUN
        if said and _encoded(now, section, name) != _encoded(plan.config, section, name):
            what = f"the model was trained with another value of {key!r} than {origin} gives"
            raise ConfigError("plan-in-model", what, where=where)


def _encoded(config: dict[str, Any], section: str, name: str) -> bytes:
    """One setting of a config in its JSON form."""
    value = config.get(section)
    return msgspec.json.encode(value.get(name) if name and isinstance(value, dict) else value, order="sorted")


def _plan(model: Model, config: Config) -> Plan:
    """The plan that `train` would make; the model stays as it is."""
    graph = Graph(model.graph_def)
    check_arity(graph)
    refuse_rewritten(graph)
    trains = bool(backward_pass(graph))
    # Only what is prepared is edited, and a copy costs as much as reading the file.
    subject = model.copy() if trains or has_conditionals(graph) or config.bindings else model
    return plan_model(subject, config, prepare_model(subject, config, strip_training=trains))
