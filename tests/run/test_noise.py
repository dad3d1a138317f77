"""The noise of a tensor."""

from __future__ import annotations

import numpy as np
import pytest

from fqrewrite.run.noise import NoiseMeter, in_chunks, noise_of


def test_noise_by_its_definition() -> None:
    random = np.random.RandomState(0)
    wanted = random.normal(0, 2, (3, 70_000)).astype(np.float32)
    got = wanted + random.normal(0.01, 0.02, wanted.shape).astype(np.float32)
    meter = NoiseMeter()
    for row in range(3):
        for pieces in in_chunks(wanted[row], got[row]):
            meter.add(*pieces)
    found = meter.record()
    error = got.astype(np.float64) - wanted
    assert found.sqnr_db == pytest.approx(10 * np.log10((wanted.astype(np.float64) ** 2).sum() / (error**2).sum()))
    assert found.max_error == pytest.approx(np.abs(error).max())
    assert found.mean_error == pytest.approx(np.abs(error).mean())
    assert found.bias == pytest.approx(error.mean())


def test_ratios_that_do_not_exist() -> None:
    ones, zeros = np.ones(5, np.float32), np.zeros(5, np.float32)
    assert noise_of(ones, ones).sqnr_db is None and noise_of(ones, ones).max_error == 0
    assert noise_of(zeros, ones).sqnr_db is None and noise_of(zeros, ones).max_error == 1
    assert noise_of(ones[:0], ones[:0]).mean_error == 0
    assert noise_of(np.float32(2.0), np.float32(1.0)).bias == -1


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite(bad: float) -> None:
    meter = NoiseMeter()
    meter.add(np.ones(2, np.float32), np.ones(2, np.float32))
    assert meter.is_finite
    meter.add(np.ones(1, np.float32), np.full(1, bad, np.float32))
    assert not meter.is_finite
