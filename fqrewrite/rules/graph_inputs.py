"""Inputs of the graph that go into a layer as they are."""

from __future__ import annotations

from collections.abc import Iterator

from fqrewrite.ir.graph import Node
from fqrewrite.match.analysis import Analysis
from fqrewrite.match.proposal import Decline, Proposal, Rule

_PASS = frozenset({"Reshape", "Identity", "Squeeze", "ExpandDims", "Pad", "Transpose", "SpaceToBatchND"})


def _propose(node: Node, analysis: Analysis) -> Iterator[Proposal]:
    queue, seen = [node], set[Node]()
    for current in queue:
        for consumer in current.value().consumers():
            layer = analysis.layers.get(consumer)
            if layer is not None and consumer not in analysis.set_aside:
                reason = f"preset contrib has no quantizer for the input of the graph, which {consumer.name!r} reads"
                yield Decline(kind="tensor", node=node, code="input-not-quantized", reason=reason)
                return
            if consumer.op in _PASS and consumer not in seen:
                seen.add(consumer)
                queue.append(consumer)


RULE = Rule(
    name="graph_inputs",
    phase="coverage",
    rank=1,
    ops=("Placeholder", "PlaceholderWithDefault", "IteratorGetNext", "IteratorV2"),
    summary="Inputs of the graph that a layer reads unquantized are listed.",
    propose=_propose,
)
