"""Ranges from statistics."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fqrewrite.model.statistics_file import Average, Method, TensorStatistics
from fqrewrite.run.clipping import chosen_range
from fqrewrite.run.fake_quant import fake_quant, grid
from fqrewrite.run.measure import Meter, Wanted

RANDOM = np.random.RandomState(0)
LONG_TAILS = RANDOM.laplace(0, 1, 40_000).astype(np.float32)


def measured(values: Any, method: Method = "mse", *, bits: int = 8, symmetric: bool = False) -> TensorStatistics:
    meter = Meter(Wanted(tensor="x:0", bits=bits, symmetric=symmetric, narrow_range=symmetric, decay=0.9), method)
    meter.add(np.asarray(values, np.float32), "sample 0")
    found = meter.record()
    assert found is not None
    return found


def chosen(
    values: Any, method: Method, percentile: float | None = None, *, bits: int = 8, symmetric: bool = False
) -> tuple[float, float]:
    ((low,), (high,)) = chosen_range(measured(values, method, bits=bits, symmetric=symmetric), method, percentile)
    assert np.float32(low) == low and np.float32(high) == high
    return low, high


def error(values: Any, low: float, high: float, bits: int, narrow: bool = False) -> float:
    return float(np.mean((fake_quant(values, grid(low, high, bits, narrow)) - values) ** 2))


def test_min_max_is_what_was_seen() -> None:
    assert chosen([0.25, 3, -0.5], "min-max") == (-0.5, 3.0)
    assert chosen([2.0, 3.0], "min-max") == (2.0, 3.0)


def test_moving_averages_are_those_of_training() -> None:
    average = Average(low=-0.5, high=1.0, steps=2, decay=0.5)
    entry = TensorStatistics(minimum=-9, maximum=9, bits=8, symmetric=False, narrow_range=False, average=average)
    assert chosen_range(entry, "moving-average", None) == (
        (float(np.float32(-0.5 / 0.75)),),
        (float(np.float32(4 / 3)),),
    )


@pytest.mark.parametrize("share", [75.0, 99.0, 99.9])
def test_percentiles(share: float) -> None:
    for values in (LONG_TAILS, np.maximum(LONG_TAILS, 0), np.minimum(LONG_TAILS, 0), LONG_TAILS + 20):
        low, high = chosen(values, "percentile", share)
        width = float(2 * np.abs(values).max() / 2048)
        wanted = np.percentile(values, [100 - share, share], method="inverted_cdf")
        assert (low, high) == pytest.approx(tuple(map(float, wanted)), abs=width)


def test_the_percentile_100_is_all() -> None:
    for values in (LONG_TAILS, np.maximum(LONG_TAILS, 0), LONG_TAILS + 20):
        assert chosen(values, "percentile", 100) == (values.min(), values.max())


@pytest.mark.parametrize("method", ["percentile", "mse", "entropy"])
def test_a_tensor_of_one_value(method: Method) -> None:
    assert chosen(np.zeros(9), method, 99.0) == (0.0, 0.0)
    low, high = chosen(np.full(9, 3.0), method, 99.0)
    assert low <= 3.0 and high == pytest.approx(3.0, rel=0.02)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("values", [LONG_TAILS, np.maximum(LONG_TAILS, 0), np.minimum(LONG_TAILS, 0)])
def test_the_least_squared_error(bits: int, values: Any) -> None:
    low, high = chosen(values, "mse", bits=bits)
    found = error(values, low, high, bits)
    assert found <= error(values, values.min(), values.max(), bits)
    parts = np.linspace(0.1, 1, 25)
    best = min(error(values, values.min() * a, values.max() * b, bits) for a in parts for b in parts)
    assert found < 1.05 * best
    if bits == 4:
        assert found < 0.7 * error(values, values.min(), values.max(), bits)


def test_a_symmetric_scheme_is_optimised_as_such() -> None:
    values = np.concatenate([LONG_TAILS, [30.0]]).astype(np.float32)
    low, high = chosen(values, "mse", bits=4, symmetric=True)
    peak = max(-low, high)
    assert peak < 15
    best = min(error(values, -end, end, 4, True) for end in np.linspace(1, 30, 60))
    assert error(values, -peak, peak, 4, True) < 1.05 * best


def test_entropy_clips_rare_values_and_keeps_frequent_ones() -> None:
    values = np.concatenate([RANDOM.normal(0, 1, 40_000), [60.0]]).astype(np.float32)
    low, high = chosen(values, "entropy")
    assert values.min() <= low < -2 and 2 < high < 30
    even = RANDOM.uniform(-1, 1, 40_000).astype(np.float32)
    assert chosen(even, "entropy") == pytest.approx((-1.0, 1.0), abs=0.02)
