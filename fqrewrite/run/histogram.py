"""A histogram that grows with what it is given, and does not depend on the order.

Bins are as wide as a power of two, and zero is where two of them meet. When a value lies outside, bins are merged in
pairs until it fits. So the width follows from the largest magnitude alone, whenever it comes, and the histogram of
two sets of values is that of all of them together.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from fqrewrite.model.statistics_file import Histogram

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]

BINS = 4096
"""On either side of zero; at least half of them are used on one side, which is 8 for each level of 8 bits."""

_SMALLEST_EXPONENT = -100
_CHUNK = 1 << 18  # values at a time, so that what is computed of them stays in the processor's cache


class GrowingHistogram:
    """Counts of values, as `model.statistics_file.Histogram` keeps them."""

    def __init__(self) -> None:
        import numpy as np

        self._exponent = _SMALLEST_EXPONENT
        self._counts = np.zeros(2 * BINS, np.int64)
        self._zeros = 0

    def add(self, values: Array, peak: float) -> None:
        """Counts values.

        Args:
            values: float32, finite.
            peak: the largest magnitude among them.
        """
        import numpy as np

        self._widen(_exponent(peak))
        scale = 2.0**-self._exponent
        flat = values.reshape(-1)
        for begin in range(0, flat.size, _CHUNK):
            chunk = flat[begin : begin + _CHUNK]
            # In float64: what is tiny and negative must not become zero.
            numbers = np.floor(chunk.astype(np.float64) * scale).astype(np.int64)
            numbers += BINS
            self._counts += np.bincount(numbers, minlength=2 * BINS)
            zeros = chunk.size - int(np.count_nonzero(chunk))
            self._counts[BINS] -= zeros
            self._zeros += zeros

    def merge(self, other: Histogram) -> None:
        """Counts what another histogram counted.

        Raises:
            ValueError: its bins are not those of a histogram made here.
        """
        import numpy as np

        begin = other.first + BINS
        if begin < 0 or begin + len(other.counts) > 2 * BINS:
            raise ValueError(f"it has bins {other.first} to {other.first + len(other.counts)}")
        counts = np.zeros(2 * BINS, np.int64)
        counts[begin : begin + len(other.counts)] = other.counts
        exponent = other.exponent
        self._widen(exponent)
        while exponent < self._exponent:
            counts, exponent = _in_pairs(counts), exponent + 1
        self._counts += counts
        self._zeros += other.zeros

    def record(self) -> Histogram:
        """The counts so far."""
        import numpy as np

        used = np.flatnonzero(self._counts)
        begin, end = (int(used[0]), int(used[-1]) + 1) if used.size else (BINS, BINS)
        return Histogram(
            exponent=self._exponent,
            first=begin - BINS,
            counts=tuple(map(int, self._counts[begin:end])),
            zeros=self._zeros,
        )

    def _widen(self, exponent: int) -> None:
        if not self._counts.any():
            self._exponent = max(self._exponent, exponent)
        while self._exponent < exponent:
            self._counts = _in_pairs(self._counts)
            self._exponent += 1


def _exponent(peak: float) -> int:
    """Of the smallest bins that hold a magnitude: peak < BINS * 2^exponent."""
    if not peak:
        return _SMALLEST_EXPONENT
    return max(math.frexp(peak)[1] - (BINS.bit_length() - 1), _SMALLEST_EXPONENT)


def _in_pairs(counts: Array) -> Array:
    """The counts in bins twice as wide."""
    import numpy as np

    wider = np.zeros_like(counts)
    wider[BINS // 2 : BINS // 2 + BINS] = counts.reshape(-1, 2).sum(axis=1)
    return wider
