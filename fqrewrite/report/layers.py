"""The report seen by layer: which quantizers and which fold belong to each."""

from __future__ import annotations

from msgspec import Struct

from fqrewrite.report.records import FakeQuant, Fold, Report


class LayerRow(Struct, kw_only=True):
    """One layer that something was done to.

    Attributes:
        layer: name of its node.
        weights: the quantizer that its weights go through; None when they stay float.
        others: the quantizers on its activation and bypasses.
        fold: the batch norm that was folded into it.
    """

    layer: str
    weights: FakeQuant | None = None
    others: list[FakeQuant]
    fold: Fold | None = None


def layer_rows(report: Report) -> list[LayerRow]:
    """One row a layer, in the order in which the plan names them first."""
    rows: dict[str, LayerRow] = {}

    def row(layer: str) -> LayerRow:
        return rows.setdefault(layer, LayerRow(layer=layer, others=[]))

    for quantizer in report.inserted:
        if quantizer.layer is None:
            continue
        if quantizer.role == "weights":
            for layer in (quantizer.layer, *quantizer.shared_with):
                row(layer).weights = quantizer
        else:
            row(quantizer.layer).others.append(quantizer)
    for fold in report.folds:
        row(fold.layer).fold = fold
    return list(rows.values())
