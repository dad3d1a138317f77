"""Fake quantization in numpy, as TensorFlow's FakeQuantWithMinMaxVars does it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]


class Grid(NamedTuple):
    """The levels that a quantizer has: minimum, minimum + scale, ..., maximum.

    Attributes:
        minimum, maximum: the range, shifted so that zero is a level.
        scale: the distance between two levels.
    """

    minimum: float
    maximum: float
    scale: float


def grid(low: float, high: float, bits: int, narrow_range: bool) -> Grid:
    """The levels of a quantizer with the range [low, high], low <= 0 <= high, low < high."""
    import numpy as np

    smallest, largest = (1 if narrow_range else 0), (1 << bits) - 1
    bottom, top = np.float32(low), np.float32(high)
    scale = np.float32((top - bottom) / np.float32(largest - smallest))
    zero = float(np.float32(smallest) - bottom / scale)
    zero = min(max(np.floor(zero + 0.5), smallest), largest)
    return Grid(float((smallest - zero) * scale), float((largest - zero) * scale), float(scale))


def fake_quant(values: Array, levels: Grid) -> Array:
    """The nearest level of each value, in the dtype of the values."""
    import numpy as np

    clipped = np.clip(values, levels.minimum, levels.maximum)
    clipped -= levels.minimum
    clipped /= levels.scale
    clipped += 0.5
    np.floor(clipped, out=clipped)
    clipped *= levels.scale
    clipped += levels.minimum
    result: Array = clipped
    return result
