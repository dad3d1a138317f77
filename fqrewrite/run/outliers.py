"""Whether few values stretch the range of a tensor, seen from a part of its values while all of them are measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from fqrewrite.run.clipping import quantile
from fqrewrite.run.histogram import GrowingHistogram

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]

SHARE = 0.9999
"""Of the values that are looked at, how many lie below the upper end, and above the lower one."""

LEAST_RATIO = 2.0
"""From here on, one bit of eight is spent on the values outside."""

_VALUES = 4096  # of each batch, which costs little next to computing them
_FEWEST = 20_000  # values; of fewer, SHARE leaves out less than two


class Stretch(NamedTuple):
    """How far the extremes of a tensor lie outside of nearly all its values.

    Attributes:
        low, high: nearly all values lie between them; zero does, too.
        ratio: how many times as wide the range of all values is.
    """

    low: float
    high: float
    ratio: float


class Sampler:
    """Looks at every n-th value of a tensor."""

    def __init__(self) -> None:
        self._histogram = GrowingHistogram()
        self._seen = 0

    def add(self, values: Array) -> None:
        """Takes values of one batch: float32 of any shape, finite, not empty."""
        # An odd step meets all channels, whose number is even as a rule.
        part = values.reshape(-1)[:: (values.size // _VALUES) | 1]
        self._seen += part.size
        self._histogram.add(part, max(-float(part.min()), float(part.max())))

    def stretch(self, minimum: float, maximum: float) -> Stretch | None:
        """How stretched the range [minimum, maximum] of all values is; None when too few were seen, or all are 0."""
        if self._seen < _FEWEST:
            return None
        histogram = self._histogram.record()
        low, high = (min(max(quantile(share, histogram), minimum), maximum) for share in (1 - SHARE, SHARE))
        low, high = min(low, 0.0), max(high, 0.0)
        if high <= low:
            return None
        return Stretch(low, high, (max(maximum, 0.0) - min(minimum, 0.0)) / (high - low))
