"""How far a quantized tensor is from the float one, over all samples."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy

    Array = numpy.ndarray[Any, Any]


_CHUNK = 1 << 16  # values at a time, so that what is computed of them stays in the processor's cache


def in_chunks(*arrays: Array) -> Iterator[tuple[Array, ...]]:
    """Arrays of the same size as flat pieces that the processor is quick with."""
    flat = [array.reshape(-1) for array in arrays]
    for begin in range(0, flat[0].size, _CHUNK):
        yield tuple(array[begin : begin + _CHUNK] for array in flat)


class Noise(msgspec.Struct, frozen=True, kw_only=True):
    """What quantization does to a tensor.

    Attributes:
        sqnr_db: 10 log10 of the signal's energy over the error's; None when there is no error, or no signal.
        max_error: the largest error.
        mean_error: the mean of all errors' magnitudes.
        bias: the mean error with its sign, quantized - float.
    """

    sqnr_db: float | None
    max_error: float
    mean_error: float
    bias: float


class NoiseMeter:
    """Sums up the errors of a tensor."""

    def __init__(self) -> None:
        self._signal = self._error = self._magnitude = self._sum = self._max = 0.0
        self._count = 0

    def add(self, wanted: Array, got: Array) -> None:
        """Adds values: float32 arrays of the same shape."""
        import numpy as np

        signal = wanted.astype(np.float64).reshape(-1)
        error = got.reshape(-1) - signal
        # Not a dot product: BLAS would wake its threads for every piece, which takes a thousand times as long.
        self._signal += float(np.square(signal, out=signal).sum())
        self._error += float(np.square(error).sum())
        self._sum += float(error.sum())
        magnitude = np.abs(error, out=error)
        self._magnitude += float(magnitude.sum())
        self._max = max(self._max, float(magnitude.max(initial=0.0)))
        self._count += error.size

    @property
    def is_finite(self) -> bool:
        """Whether all values so far were."""
        return math.isfinite(self._signal + self._error)

    def record(self) -> Noise:
        """The noise so far."""
        count = max(self._count, 1)
        known = self._signal > 0 and self._error > 0
        return Noise(
            sqnr_db=10 * math.log10(self._signal / self._error) if known else None,
            max_error=self._max,
            mean_error=self._magnitude / count,
            bias=self._sum / count,
        )


def noise_of(wanted: Array, got: Array) -> Noise:
    """The noise of one pair of tensors, as `NoiseMeter`."""
    meter = NoiseMeter()
    for pieces in in_chunks(wanted, got):
        meter.add(*pieces)
    return meter.record()
