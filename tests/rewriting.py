"""Rewrites serialized graphs in tests."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any, Literal, NamedTuple

from fqrewrite.config.resolve import resolve
from fqrewrite.model.container import load, to_bytes
from fqrewrite.plan.items import Plan
from fqrewrite.rewrite import as_meta_graph, plan_model, rewrite_model


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
        config: as in a config file, without `version`.
        suffix: of the file that holds it.
    """
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "source" + suffix)
        source.write_bytes(serialized)
        settings = Path(folder, "config.yaml")
        settings.write_text(json.dumps({"version": 1, **(config or {})}), encoding="utf-8")
        model = load(source)
        notes = as_meta_graph(model)
        plan, graph = plan_model(model, resolve(settings))
        rewrite_model(model, plan, graph, mode, "meta_graph", notes)
        return Rewrite(to_bytes(model, "meta_graph", False), plan)
