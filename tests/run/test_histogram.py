"""Histograms that grow: what is counted where, and that neither order nor division matters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fqrewrite.model.statistics_file import Histogram
from fqrewrite.run.histogram import BINS, GrowingHistogram

VALUES = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=30)


def counted(*parts: Any) -> Histogram:
    histogram = GrowingHistogram()
    for part in parts:
        values = np.asarray(part, np.float32)
        histogram.add(values, float(np.abs(values).max(initial=0.0)))
    return histogram.record()


def test_every_value_is_in_its_bin() -> None:
    values = np.random.RandomState(0).normal(0, 3, (7, 50, 3)).astype(np.float32)
    values[0, :5] = 0
    found = counted(values)
    width = 2.0**found.exponent
    edges = (found.first + np.arange(len(found.counts) + 1)) * width
    wanted, _ = np.histogram(values[values != 0], edges)
    np.testing.assert_array_equal(found.counts, wanted)
    assert found.zeros == 15 and sum(found.counts) + found.zeros == values.size
    # Bins are as narrow as they can be.
    assert BINS // 2 * width <= np.abs(values).max() < BINS * width


def test_more_values_than_are_counted_at_once() -> None:
    values = np.random.RandomState(1).uniform(-1, 1, 700_001).astype(np.float32)
    assert counted(values) == counted(values[:300_000], values[300_000:])
    assert sum(counted(values).counts) == values.size


def test_a_larger_value_makes_bins_wider() -> None:
    narrow, wide = counted([1.0, -0.3, 0.3]), counted([1.0, -0.3, 0.3], [1000.0])
    assert wide.exponent - narrow.exponent == 9
    assert wide.first == np.floor(-0.3 / 2.0**wide.exponent)
    assert wide.counts[0] == 1 and wide.counts[-1] == 1 and sum(wide.counts) == 4


@pytest.mark.parametrize("values", [[], [0.0, -0.0]])
def test_nothing_but_zeros(values: list[float]) -> None:
    found = counted(values)
    assert found.counts == () and found.zeros == len(values)
    assert counted(values, [5.0]).exponent == counted([5.0]).exponent


@given(VALUES, VALUES)
def test_parts_give_the_whole(one: list[float], other: list[float]) -> None:
    whole = counted(one, other)
    assert counted(other, one) == whole == counted([*one, *other])
    merged = GrowingHistogram()
    merged.merge(counted(one))
    merged.merge(counted(other))
    assert merged.record() == whole


@pytest.mark.parametrize(("first", "number"), [(-BINS - 1, 1), (BINS, 1), (0, BINS + 1)])
def test_bins_that_nobody_makes(first: int, number: int) -> None:
    with pytest.raises(ValueError, match="bins"):
        GrowingHistogram().merge(Histogram(exponent=0, first=first, counts=(1,) * number, zeros=0))
