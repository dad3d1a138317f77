"""Fake quantization in numpy against TensorFlow's."""

from __future__ import annotations

import numpy as np
import pytest
from numeric import tf1

from fqrewrite.run.fake_quant import fake_quant, grid


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("limits", [(-1.0, 1.0), (0.0, 6.0), (-0.37, 2.91), (-5.0, 0.0), (-0.001, 1000.0)])
def test_same_numbers_as_the_kernel(bits: int, narrow: bool, limits: tuple[float, float]) -> None:
    low, high = limits
    values = np.random.RandomState(0).uniform(low - 1, high + 1, (40, 50)).astype(np.float32)
    with tf1.Graph().as_default(), tf1.Session() as session:
        op = tf1.quantization.fake_quant_with_min_max_vars(values, low, high, bits, narrow)
        wanted = session.run(op)
    levels = grid(low, high, bits, narrow)
    got = fake_quant(values, levels)
    assert got.dtype == np.float32
    off = np.abs(got - wanted) > 1e-3 * levels.scale
    # Where a value lies between two levels, rounding may go either way.
    assert off.mean() < 0.002
    np.testing.assert_allclose(got, wanted, atol=levels.scale * 1.001)
    assert len(np.unique(got)) <= 2**bits - narrow
