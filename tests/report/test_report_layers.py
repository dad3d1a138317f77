"""Layers with what belongs to them."""

from __future__ import annotations

from fqrewrite.report.layers import layer_rows
from fqrewrite.report.records import Report


def test_a_layer_has_its_quantizers_and_its_fold(report: Report) -> None:
    conv = layer_rows(report)[0]
    assert conv.layer == "net/conv/Conv2D"
    assert conv.weights is report.inserted[0]
    assert conv.others == [report.inserted[1], report.inserted[2]]
    assert conv.fold is report.folds[0]


def test_shared_weights_stand_with_every_layer_that_reads_them(report: Report) -> None:
    rows = layer_rows(report)
    assert [row.layer for row in rows] == ["net/conv/Conv2D", "fc/MatMul", "fc_1/MatMul"]
    assert rows[1].weights is rows[2].weights is report.inserted[3]
    assert rows[1].fold is None and rows[2].others == []
