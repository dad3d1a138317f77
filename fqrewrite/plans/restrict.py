"""The part of a plan that fits an eval graph: its nodes, and what was trained."""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping
from typing import TYPE_CHECKING

import msgspec

from fqrewrite.codes import CODES
from fqrewrite.ir.graph import Graph, Node
from fqrewrite.plans.items import FoldItem, LeftOut, Plan, QuantizerItem
from fqrewrite.plans.ranges import why_untrained

if TYPE_CHECKING:
    from fqrewrite.plans.constants import Array


def restrict(plan: Plan, graph: Container[str]) -> Plan:
    """Leaves out what is on nodes that the graph does not have.

    Args:
        plan: made on a graph of which nodes were removed, or do not count.
        graph: what is left of it, or the names of that.
    """
    folds = tuple(item for item in plan.folds if _has_fold(item, graph))
    kept = {item.id for item in folds}
    quantizers = tuple(item for found in plan.quantizers if (item := _quantizer(found, graph, kept)) is not None)
    left_out = tuple(entry for entry in plan.left_out if _concerns(entry, graph))
    respelled = tuple(name for name in plan.respelled if name in graph)
    return msgspec.structs.replace(plan, folds=folds, quantizers=quantizers, left_out=left_out, respelled=respelled)


def leave_to_others(plan: Plan, graph: Graph, others: Collection[Node]) -> Plan:
    """Leaves out what is on nodes that only signatures need that were not chosen.

    Args:
        plan: of the graph.
        graph: all of it.
        others: those nodes.
    """
    if not others:
        return plan
    kept = restrict(plan, {node.name for node in graph if node not in others})
    weights = [item for item in plan.quantizers if item.role == "weights"]
    layers = {edge.rpartition(":in")[0] for item in weights for edge in item.edges or ()}
    entries = [
        LeftOut(
            kind="layer",
            name=node.name,
            op=node.op,
            code="other-signature",
            reason="only signatures that were not chosen need it",
            remedy=CODES["other-signature"].remedy,
        )
        for node in graph
        if node in others and node.name in layers
    ]
    return msgspec.structs.replace(kept, left_out=(*kept.left_out, *entries))


def without_unseen(plan: Plan, ends: Collection[str], checkpoint: Mapping[str, Array]) -> tuple[Plan, list[str]]:
    """Leaves out quantizers behind these tensors that training has never run, so that they stay float as trained.

    A quantizer stands behind an output that it does not replace; a loss may well read the output itself.

    Args:
        plan: of the eval graph.
        ends: outputs that nothing in the graph reads, and whose ranges are not given.
        checkpoint: the plan's range variables.

    Returns:
        The plan, and the tensors.
    """
    unseen = {
        item.id: item.tensor
        for item in plan.quantizers
        if item.tensor in ends and why_untrained(item, checkpoint) is not None
    }
    kept = tuple(item for item in plan.quantizers if item.id not in unseen)
    return msgspec.structs.replace(plan, quantizers=kept), list(unseen.values())


def _concerns(entry: LeftOut, graph: Container[str]) -> bool:
    """Whether what was left out is still there; of a batch norm's two sides, what holds for one holds for the other."""
    elsewhere = entry.kind == "batch_norm" or entry.code == "inside-function"
    return elsewhere or entry.name.partition(":")[0] in graph


def _has_fold(item: FoldItem, graph: Container[str]) -> bool:
    return item.layer in graph and item.norm in graph and all(name in graph for name in item.chain)


def _quantizer(item: QuantizerItem, graph: Container[str], folds: set[str]) -> QuantizerItem | None:
    """A quantizer with the edges that are left; None when nothing is."""
    if (item.fold is not None and item.fold not in folds) or item.tensor.rpartition(":")[0] not in graph:
        return None
    if item.edges is None:
        return item
    edges = tuple(edge for edge in item.edges if edge.rpartition(":in")[0] in graph)
    return msgspec.structs.replace(item, edges=edges) if edges else None
