"""Differences between the integer model and the graph, summed up over samples."""

from __future__ import annotations

import numpy as np
import pytest

from fqrewrite.check.compare import _Sum


def test_errors_in_steps() -> None:
    differences = _Sum()
    wanted = np.zeros((10, 100), np.float32)
    wanted[:, 0] = 2.0
    found = wanted.copy()
    found[0, :5] += 0.5  # one row of ten
    found[1, 7] += 8.0
    for here, there in zip(wanted, found, strict=True):
        differences.add(here[None], there[None], 0.5)
    record = differences.result("y:0", 0.5)
    assert (record.max_error, record.p99_error) == (16.0, 0.0)
    assert record.mean_error == pytest.approx((5 * 1 + 16) / 1000)
    assert record.argmax_agreement == 0.9
    assert record.sqnr_db == pytest.approx(10 * np.log10(10 * 16 / (5 + 256)))


def test_what_most_errors_do_not_exceed() -> None:
    differences = _Sum()
    wanted = np.zeros(1000, np.float32)
    differences.add(wanted, np.linspace(0, 10, 1000, dtype=np.float32), 1.0)
    assert differences.result("y:0", None).p99_error == pytest.approx(9.9, abs=1 / 16)


def test_equal_tensors_and_nan() -> None:
    differences = _Sum()
    ones = np.ones((2, 3), np.float32)
    differences.add(ones, ones, 1.0)
    record = differences.result("y:0", 1.0)
    assert (record.max_error, record.p99_error, record.sqnr_db, record.argmax_agreement) == (0.0, 0.0, None, 1.0)
    differences.add(ones, ones * np.nan, 1.0)
    assert differences.result("y:0", 1.0).max_error == 1e30
