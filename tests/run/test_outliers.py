"""Ranges that few values stretch."""

from __future__ import annotations

import numpy as np
import pytest

from fqrewrite.run.measure import Meter, Wanted
from fqrewrite.run.outliers import Sampler

WANTED = Wanted(tensor="x:0", bits=8, symmetric=False, narrow_range=False, decay=0.9)


def _batches(number: int = 10, *, size: int = 4096) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.uniform(-1, 3, size).astype(np.float32) for _ in range(number)]


def test_a_range_that_nearly_all_values_need() -> None:
    sampler = Sampler()
    for batch in _batches():
        sampler.add(batch)
    found = sampler.stretch(-1.0, 3.0)
    assert found is not None
    assert found.ratio == pytest.approx(1.0, abs=1e-3)
    assert found.low == pytest.approx(-1.0, abs=1e-2)
    assert found.high == pytest.approx(3.0, abs=1e-2)


@pytest.mark.parametrize("method", ["min-max", "moving-average"])
def test_one_value_far_away(method: str) -> None:
    meter = Meter(WANTED, method)  # type: ignore[arg-type]
    for number, batch in enumerate(_batches()):
        if number == 3:
            batch[17] = 39.0
        meter.add(batch, "here")
    found = meter.stretch()
    assert found is not None
    assert found.ratio == pytest.approx(10.0, rel=0.02)


def test_other_methods_cut_such_values_off_anyway() -> None:
    meter = Meter(WANTED, "percentile")
    for batch in _batches():
        meter.add(batch, "here")
    assert meter.stretch() is None


def test_too_few_values_say_nothing() -> None:
    sampler = Sampler()
    for batch in _batches(4):
        sampler.add(batch)
    assert sampler.stretch(-1.0, 300.0) is None


def test_only_zeros() -> None:
    sampler = Sampler()
    sampler.add(np.zeros(30_000, np.float32))
    for _ in range(9):
        sampler.add(np.zeros(4096, np.float32))
    assert sampler.stretch(0.0, 0.0) is None


def test_large_tensors_are_looked_at_in_part() -> None:
    sampler = Sampler()
    for _ in range(10):
        sampler.add(np.linspace(-1, 1, 1 << 20, dtype=np.float32).reshape(1 << 10, 1 << 10))
    found = sampler.stretch(-1.0, 1.0)
    assert found is not None
    assert found.ratio == pytest.approx(1.0, abs=1e-2)
    assert sampler._seen < 10 * 4200
