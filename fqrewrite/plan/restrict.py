"""The part of a plan that a smaller graph has room for."""

from __future__ import annotations

import msgspec

from fqrewrite.ir.graph import Graph
from fqrewrite.plan.items import FoldItem, Plan, QuantizerItem


def restrict(plan: Plan, graph: Graph) -> Plan:
    """Leaves out what is on nodes that the graph does not have.

    Args:
        plan: made on a graph of which nodes were removed.
        graph: what is left of it.
    """
    folds = tuple(item for item in plan.folds if _has_fold(item, graph))
    kept = {item.id for item in folds}
    quantizers = tuple(item for found in plan.quantizers if (item := _quantizer(found, graph, kept)) is not None)
    sums = tuple(name for name in plan.sums if name in graph)
    return msgspec.structs.replace(plan, folds=folds, quantizers=quantizers, sums=sums)


def _has_fold(item: FoldItem, graph: Graph) -> bool:
    return item.layer in graph and item.norm in graph and all(name in graph for name in item.chain)


def _quantizer(item: QuantizerItem, graph: Graph, folds: set[str]) -> QuantizerItem | None:
    """A quantizer with the edges that are left; None when nothing is."""
    if (item.fold is not None and item.fold not in folds) or item.tensor.rpartition(":")[0] not in graph:
        return None
    if item.edges is None:
        return item
    edges = tuple(edge for edge in item.edges if edge.rpartition(":in")[0] in graph)
    return msgspec.structs.replace(item, edges=edges) if edges else None
