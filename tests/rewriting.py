"""Rewrites serialized graphs in tests."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any, Literal, NamedTuple

from fqrewrite.config.records import Config
from fqrewrite.config.resolve import resolve
from fqrewrite.model.container import Model, convert_to_meta_graph, load, to_bytes
from fqrewrite.plans.items import Plan
from fqrewrite.plans.ranges import RangeSources
from fqrewrite.verbs.evaluate import evaluate_model
from fqrewrite.verbs.recovery import recover_model
from fqrewrite.verbs.rewrite import plan_model, prepare_model, train_model


class Rewrite(NamedTuple):
    """The rewritten MetaGraphDef as bytes, and the plan that made it."""

    meta: bytes
    plan: Plan


def rewrite(
    serialized: bytes,
    mode: Literal["train", "eval"],
    config: dict[str, Any] | None = None,
    *,
    suffix: str = ".meta",
) -> Rewrite:
    """Rewrites a MetaGraphDef, or with suffix ".pb" a GraphDef, into a MetaGraphDef.

    Args:
        serialized: of the source graph.
        mode: what to make.
        config: as in a config file, without `version`; the preset is contrib where it names none.
        suffix: of the file that holds it.
    """
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "source" + suffix)
        source.write_bytes(serialized)
        settings = Path(folder, "config.yaml")
        settings.write_text(json.dumps({"version": 1, "preset": "contrib", **(config or {})}), encoding="utf-8")
        model, resolved = load(source), resolve(settings)
        if mode == "eval":
            return _evaluate(model, resolved)
        prepared = prepare_model(model, resolved, as_meta_graph=True)
        plan = plan_model(model, resolved, prepared)
        train_model(model, plan, prepared, "meta_graph")
        return Rewrite(to_bytes(model, "meta_graph", False), plan)


def _evaluate(model: Model, config: Config) -> Rewrite:
    """The eval graph, its range variables kept."""
    found = recover_model(model, config)
    if model.kind == "graph_def":
        convert_to_meta_graph(model)
    evaluated = evaluate_model(model, found, config, RangeSources(config=config), None, freezes=False)
    return Rewrite(to_bytes(model, "meta_graph", False), evaluated.plan)
