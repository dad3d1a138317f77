"""Statistics of tensors, batch by batch, in memory that does not grow; and of several runs together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from fqrewrite.errors import InputError
from fqrewrite.model.statistics_file import Average, Histogram, Method, Statistics, TensorStatistics
from fqrewrite.run.histogram import GrowingHistogram
from fqrewrite.run.outliers import Sampler, Stretch

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]

HISTOGRAM_METHODS = frozenset({"percentile", "mse", "entropy"})
_AVERAGE = "moving-average"


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A tensor to be measured, and how it is going to be quantized.

    Attributes:
        tensor: ``node:port``.
        bits, symmetric, narrow_range: its scheme.
        decay: of moving averages of its range.
    """

    tensor: str
    bits: int
    symmetric: bool
    narrow_range: bool
    decay: float


class Meter:
    """Measures one tensor."""

    def __init__(self, wanted: Wanted, method: Method) -> None:
        self.wanted = wanted
        self._low = float("inf")
        self._high = float("-inf")
        self._averages = [0.0, 0.0] if method == _AVERAGE else None
        self._steps = 0
        self._histogram = GrowingHistogram() if method in HISTOGRAM_METHODS else None
        self._sampler = Sampler() if method not in HISTOGRAM_METHODS else None

    def add(self, values: Array, place: str) -> None:
        """Measures the tensor of one batch.

        Args:
            values: float32 of any shape; an empty one says nothing.
            place: the batch, for messages.

        Raises:
            InputError: `tensor-not-finite`.
        """
        if not values.size:
            return
        low, high = float(values.min()), float(values.max())
        # NaN and infinity reach the extremes, and then their difference.
        if not high - low < float("inf"):
            what = "the float graph computes NaN or infinity here"
            raise InputError("tensor-not-finite", f"{what}, from {place}", where=self.wanted.tensor)
        self._low, self._high = min(self._low, low), max(self._high, high)
        self._steps += 1
        if self._averages is not None:
            rate = 1.0 - self.wanted.decay
            self._averages = [old + rate * (new - old) for old, new in zip(self._averages, (low, high), strict=True)]
        if self._histogram is not None:
            self._histogram.add(values, max(-low, high))
        if self._sampler is not None:
            self._sampler.add(values)

    def stretch(self) -> Stretch | None:
        """How far few values stretch the range; None when it cannot be said, or the method is one against it."""
        if self._sampler is None or not self._steps:
            return None
        return self._sampler.stretch(self._low, self._high)

    def record(self) -> TensorStatistics | None:
        """What was measured; None when there was nothing."""
        if not self._steps:
            return None
        wanted, average = self.wanted, None
        if self._averages is not None:
            low, high = self._averages
            average = Average(low=low, high=high, steps=self._steps, decay=wanted.decay)
        return TensorStatistics(
            minimum=self._low + 0.0,
            maximum=self._high + 0.0,
            bits=wanted.bits,
            symmetric=wanted.symmetric,
            narrow_range=wanted.narrow_range,
            average=average,
            histogram=None if self._histogram is None else self._histogram.record(),
        )


def merged(parts: Sequence[tuple[str, Statistics]]) -> Statistics:
    """What several runs measured, as if it had been one over all their samples, in this order.

    Args:
        parts: each with the file that it is from, for messages; at least one. Their methods are not compared.

    Raises:
        InputError: `statistics-differ` for runs of different models, tensors, schemes or decays; `ranges-unreadable`.
    """
    (first_name, first), *others = parts
    for name, part in others:
        _refuse_other(first_name, first, name, part)
    tensors = {
        tensor: _merged_tensor(tensor, [(name, part.tensors[tensor]) for name, part in parts])
        for tensor in sorted(first.tensors)
    }
    samples, batches = sum(part.samples for _, part in parts), sum(part.batches for _, part in parts)
    return msgspec.structs.replace(first, samples=samples, batches=batches, tensors=tensors)


def _refuse_other(first_name: str, first: Statistics, name: str, part: Statistics) -> None:
    if part.model != first.model:
        raise InputError("statistics-differ", f"it is of another model than {first_name}", where=name)
    other = sorted(part.tensors.keys() ^ first.tensors.keys())
    if other:
        what = f"{len(other)} tensors are in one file only, with {first_name}; the first is {other[0]}"
        raise InputError("statistics-differ", what, where=name)
    for tensor, entry in part.tensors.items():
        if _kind(entry) != _kind(first.tensors[tensor]):
            what = f"{tensor} was measured for another scheme, decay or method than in {first_name}"
            raise InputError("statistics-differ", what, where=name)


def _kind(entry: TensorStatistics) -> tuple[object, ...]:
    decay = entry.average and entry.average.decay
    return entry.bits, entry.symmetric, entry.narrow_range, decay, entry.histogram is None


def _merged_tensor(tensor: str, entries: list[tuple[str, TensorStatistics]]) -> TensorStatistics:
    averages = [entry.average for _, entry in entries if entry.average is not None]
    first = entries[0][1]
    return msgspec.structs.replace(
        first,
        minimum=min(entry.minimum for _, entry in entries),
        maximum=max(entry.maximum for _, entry in entries),
        average=_merged_average(averages) if averages else None,
        histogram=_merged_histogram(tensor, entries) if first.histogram is not None else None,
    )


def _merged_average(averages: list[Average]) -> Average:
    """Of one run after the other: the later one forgets of the earlier one as much as of its own beginning."""
    total = averages[0]
    for later in averages[1:]:
        kept = later.decay**later.steps
        total = Average(
            low=total.low * kept + later.low,
            high=total.high * kept + later.high,
            steps=total.steps + later.steps,
            decay=later.decay,
        )
    return total


def _merged_histogram(tensor: str, entries: list[tuple[str, TensorStatistics]]) -> Histogram:
    total = GrowingHistogram()
    for name, entry in entries:
        if entry.histogram is None:
            continue
        try:
            total.merge(entry.histogram)
        except ValueError as error:
            what = f"the histogram of {tensor} is damaged: {error}"
            raise InputError("ranges-unreadable", what, where=name) from None
    return total.record()
