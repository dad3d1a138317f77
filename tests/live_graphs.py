"""Graphs that are rewritten in place and as files, and what the two came to."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any, Literal, NamedTuple

from numeric import parse, tf1
from rewriting import Rewrite, rewrite

from fqrewrite import tf1 as quantize
from fqrewrite.report.records import Report

Mode = Literal["train", "eval"]


class Both(NamedTuple):
    """One source graph, rewritten twice.

    Attributes:
        source: MetaGraphDef of the graph before.
        graph: the live graph after.
        report: of that.
        file: what the rewrite of the exported graph gave.
    """

    source: Any
    graph: Any
    report: Report
    file: Rewrite

    @property
    def live(self) -> Any:
        """The live graph as a MetaGraphDef."""
        return tf1.train.export_meta_graph(graph=self.graph)


def live_graph(meta: bytes) -> Any:
    """A graph in this process, of a serialized MetaGraphDef."""
    message = parse(meta)
    for node in message.graph_def.node:
        node.attr.pop("_output_shapes", None)  # some that TensorFlow 1.15 wrote do not hold any more
    graph = tf1.Graph()
    with graph.as_default():
        tf1.train.import_meta_graph(message)
    return graph


def rewrite_both(graph: Any, mode: Mode, config: dict[str, Any]) -> Both:
    """Rewrites a live graph, and its export.

    Args:
        graph: is edited.
        mode: what to make.
        config: as in a config file, without `version`.
    """
    source = tf1.train.export_meta_graph(graph=graph)
    settings = {"preset": "contrib", **config}
    file = rewrite(source.SerializeToString(deterministic=True), mode, settings)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "config.yaml")
        path.write_text(json.dumps({"version": 1, **settings}), encoding="utf-8")
        create = quantize.create_training_graph if mode == "train" else quantize.create_eval_graph
        report = create(graph, config=path)
    return Both(source, graph, report, file)


def successor(graph: Any, tensor: str) -> str:
    """The tensor that a file would have under this name."""
    name, _, port = tensor.partition(":")
    names = {operation.name for operation in graph.get_operations()}
    return f"{name}/rewritten:{port}" if f"{name}/rewritten" in names else tensor
