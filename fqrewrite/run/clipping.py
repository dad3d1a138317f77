"""From the statistics of a tensor to its range: what is cut off, so that the rest is quantized more finely.

Percentiles leave the same share out at either end. The optimal ranges minimise what quantization with the tensor's own
scheme costs, by the histogram: the mean squared error (Sung et al. 2015; Banner et al. 2018), or the Kullback-Leibler
divergence of the quantized distribution from the original one (Migacz 2017), which clipped values count against.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fqrewrite.model.ranges_file import Range
from fqrewrite.model.statistics_file import Average, Histogram, Method, TensorStatistics
from fqrewrite.run.fake_quant import fake_quant, grid

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]

_STEPS = 128  # fractions of the whole range that are tried
_ROUNDS = 2  # of trying one end, and then the other


def chosen_range(measured: TensorStatistics, method: Method, percentile: float | None) -> Range:
    """The range of a tensor by a method whose statistics were measured; float32 numbers."""
    import numpy as np

    if method == "moving-average":
        assert measured.average is not None
        low, high = _average(measured.average)
    elif method == "min-max":
        low, high = measured.minimum, measured.maximum
    else:
        histogram = measured.histogram
        assert histogram is not None
        if not histogram.counts:
            low, high = measured.minimum, measured.maximum
        elif method == "percentile":
            assert percentile is not None
            shares = 1 - percentile / 100, percentile / 100
            low, high = (min(max(quantile(share, histogram), measured.minimum), measured.maximum) for share in shares)
        else:
            low, high = _optimal(measured, _Squares(histogram) if method == "mse" else _Divergence(histogram))
    return (float(np.float32(low)),), (float(np.float32(high)),)


def _average(average: Average) -> tuple[float, float]:
    weight = 1.0 - average.decay**average.steps
    return average.low / weight, average.high / weight


def quantile(share: float, histogram: Histogram) -> float:
    """The value that this share of all values lies below; linear within a bin. 0 of an empty histogram."""
    import numpy as np

    width = 2.0**histogram.exponent
    edges = (histogram.first + np.arange(len(histogram.counts))) * width
    lows, highs, counts = edges, edges + width, np.asarray(histogram.counts, np.float64)
    if histogram.zeros:
        place = int(np.searchsorted(edges, 0.0))
        lows, highs = np.insert(lows, place, 0.0), np.insert(highs, place, 0.0)
        counts = np.insert(counts, place, histogram.zeros)
    if not counts.any():
        return 0.0
    below = np.concatenate([[0.0], np.cumsum(counts)])
    target = share * below[-1]
    found = int(np.clip(np.searchsorted(below, target, side="left") - 1, 0, len(counts) - 1))
    while not counts[found]:
        found += 1
    part = min(max((target - below[found]) / counts[found], 0.0), 1.0)
    return float(lows[found] + part * (highs[found] - lows[found]))


class _Squares:
    """The squared error of quantization, summed up over a histogram."""

    least = 1 / _STEPS

    def __init__(self, histogram: Histogram) -> None:
        self.centres, self.counts = _filled(histogram)

    def __call__(self, low: float, high: float, bits: int, narrow_range: bool) -> float:
        error = fake_quant(self.centres, grid(low, high, bits, narrow_range)) - self.centres
        return float((self.counts * error * error).sum())


class _Divergence:
    """The Kullback-Leibler divergence of what quantization leaves of a histogram.

    The original has what is clipped in its outermost bins; the quantized one spreads what falls on a level over the
    bins that do, and knows nothing of what was clipped. Exact zeros stay zeros, and are left out.
    """

    # A level must hold a bin or more: with fewer bins than levels nothing is lost, and nothing would be seen.
    least = 1 / 8

    def __init__(self, histogram: Histogram) -> None:
        self.centres, self.counts = _filled(histogram)

    def __call__(self, low: float, high: float, bits: int, narrow_range: bool) -> float:
        import numpy as np

        levels = grid(low, high, bits, narrow_range)
        inside = np.flatnonzero((self.centres >= levels.minimum) & (self.centres <= levels.maximum))
        if not inside.size:
            return float("inf")
        counts = self.counts[inside]
        original = counts.copy()
        original[0] += self.counts[: inside[0]].sum()
        original[-1] += self.counts[inside[-1] + 1 :].sum()
        level = np.floor((self.centres[inside] - levels.minimum) / levels.scale + 0.5).astype(np.int64)
        spread = (np.bincount(level, counts) / np.maximum(np.bincount(level), 1))[level]
        p, q = original / original.sum(), spread / spread.sum()
        return float((p * np.log(p / q)).sum())


def _filled(histogram: Histogram) -> tuple[Array, Array]:
    """Centres and counts of the bins that hold something."""
    import numpy as np

    width = 2.0**histogram.exponent
    counts = np.asarray(histogram.counts, np.float64)
    filled = np.flatnonzero(counts)
    return (histogram.first + filled + 0.5) * width, counts[filled]


def _optimal(measured: TensorStatistics, cost: _Squares | _Divergence) -> tuple[float, float]:
    """The range with the least cost: fractions of the observed one are tried, for one end and then for the other."""
    bits, narrow = measured.bits, measured.narrow_range
    lowest, highest = min(measured.minimum, 0.0), max(measured.maximum, 0.0)
    # Of several with the same cost the largest is taken.
    fractions = [step / _STEPS for step in range(_STEPS, 0, -1) if step / _STEPS >= cost.least]
    if measured.symmetric:
        peak = max(-lowest, highest)
        best = min(fractions, key=lambda part: cost(-peak * part, peak * part, bits, narrow))
        return max(-peak * best, lowest), min(peak * best, highest)
    below = above = 1.0
    for _ in range(_ROUNDS):
        if highest > 0:
            above = min(fractions, key=lambda part: cost(lowest * below, highest * part, bits, narrow))
        if lowest < 0:
            below = min(fractions, key=lambda part: cost(lowest * part, highest * above, bits, narrow))
        if lowest == 0 or highest == 0:
            break
    return lowest * below, highest * above
