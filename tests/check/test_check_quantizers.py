"""Ranges of fake quantizers: zero points and defects."""

from __future__ import annotations

import math

import pytest

from fqrewrite.check.quantizers import Quantizer, range_defect, read_quantizer
from fqrewrite.ir.graph import Graph
from fqrewrite.ir.text import parse


def _quantizer(low: float, high: float, *, narrow: bool = True, bits: int = 8) -> Quantizer:
    return Quantizer((low,), (high,), bits, narrow, False)


@pytest.mark.parametrize("end", [0.1, 0.37, 1.0, 6.0])
def test_zero_is_in_the_middle(end: float) -> None:
    assert _quantizer(-end, end).symmetric
    assert _quantizer(-end, end, narrow=False).symmetric
    assert _quantizer(-end, end, bits=4).symmetric
    assert not _quantizer(-end, end * 1.1).symmetric


def test_one_channel_decides() -> None:
    assert not Quantizer((-1.0, -0.5), (1.0, 1.0), 8, True, True).symmetric
    assert Quantizer((-1.0, 0.0), (1.0, 0.0), 8, True, True).symmetric  # a channel of zeros


def test_a_range_covers_another() -> None:
    assert _quantizer(-1, 2).covers(_quantizer(-1, 1))
    assert not _quantizer(-1, 2).covers(_quantizer(-1.5, 1))


@pytest.mark.parametrize(
    ("low", "high", "code", "severity"),
    [
        (-1, math.inf, "range-not-finite", "fails"),
        (math.nan, 1, "range-not-finite", "wrong"),
        (1, 1, "range-empty", "wrong"),
        (2, -2, "range-empty", "wrong"),
        (-3e38, 3e38, "range-not-finite", "wrong"),
        (0.5, 1, "range-without-zero", "wrong"),
    ],
)
def test_defects(low: float, high: float, code: str, severity: str) -> None:
    defect = range_defect(_quantizer(low, high), weights=False)
    assert defect is not None
    assert (defect.code, defect.severity) == (code, severity)


def test_legal_ranges() -> None:
    assert range_defect(_quantizer(0, 1), weights=False) is None
    assert range_defect(_quantizer(0, 0), weights=True) is None
    assert range_defect(_quantizer(0, 0), weights=False) is not None


def test_reading() -> None:
    graph = Graph(
        parse(
            """
x = Placeholder {shape: [2]}
lo = Const {value: [-1.0, -2.0]}
hi = Const {value: [1.0, 2.0]}
a = FakeQuantWithMinMaxVarsPerChannel(x, lo, hi) {num_bits: 4, narrow_range: true}
b = FakeQuantWithMinMaxArgs(x) {max: 3.0}
c = FakeQuantWithMinMaxVars(x, x, x)
"""
        )
    )
    assert read_quantizer(graph.node("a")) == Quantizer((-1.0, -2.0), (1.0, 2.0), 4, True, True)
    assert read_quantizer(graph.node("b")) == Quantizer((-6.0,), (3.0,), 8, False, False)
    assert read_quantizer(graph.node("c")) is None
