"""What a fake quantizer says: its range, bits and scheme, and whether a converter can take it."""

from __future__ import annotations

import math
from typing import NamedTuple

from fqrewrite.check.records import Severity
from fqrewrite.ir.graph import Node, Value
from fqrewrite.plans.constants import NotConstant, evaluate
from fqrewrite.proto.attrs import get_bool, get_float, get_int

PER_CHANNEL = "FakeQuantWithMinMaxVarsPerChannel"
_ARGS = "FakeQuantWithMinMaxArgs"
_TINY, _HUGE = 1e-19, 1e38


class Quantizer(NamedTuple):
    """A fake quantizer with a constant range.

    Attributes:
        low, high: one number, or one for each channel.
        bits, narrow_range: its attributes.
        per_channel: whether it is the op with a range for each channel.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    bits: int
    narrow_range: bool
    per_channel: bool

    @property
    def symmetric(self) -> bool:
        """Whether zero is in the middle of the grid of every channel, so that int8's zero point is 0."""
        middle = 1 << (self.bits - 1)
        return all(self._zero(low, high) == middle for low, high in zip(self.low, self.high, strict=True))

    def covers(self, other: Quantizer) -> bool:
        """Whether the other range lies inside of this one."""
        return min(self.low) <= min(other.low) and max(other.high) <= max(self.high)

    def _zero(self, low: float, high: float) -> int:
        """Where zero is on the grid; half steps are rounded up, with room for ranges that are rounded to float32."""
        if not (math.isfinite(low) and math.isfinite(high) and high > low):
            return 1 << (self.bits - 1)  # of no consequence: all zero, or illegal anyway
        first, last = int(self.narrow_range), (1 << self.bits) - 1
        return math.floor(first - low * (last - first) / (high - low) + 0.5 + 1e-3)


def read_quantizer(node: Node) -> Quantizer | None:
    """The range of a fake quantizer; None when it is not constant."""
    bits, narrow = get_int(node.proto, "num_bits", 8), get_bool(node.proto, "narrow_range", False)
    if node.op == _ARGS:
        low, high = get_float(node.proto, "min", -6.0), get_float(node.proto, "max", 6.0)
        return Quantizer((low,), (high,), bits, narrow, False)
    lows, highs = _numbers(node.inputs[1]), _numbers(node.inputs[2])
    if lows is None or highs is None or len(lows) != len(highs) or not lows:
        return None
    return Quantizer(lows, highs, bits, narrow, node.op == PER_CHANNEL)


def _numbers(value: Value) -> tuple[float, ...] | None:
    try:
        return tuple(float(number) for number in evaluate(value).ravel())
    except (NotConstant, ValueError):
        return None


class Defect(NamedTuple):
    """Why a range cannot be taken.

    Attributes:
        code: of the finding.
        severity: "fails" when the converter stops or the model does not load, "wrong" when it goes on.
        reason, remedy: as in a finding.
    """

    code: str
    severity: Severity
    reason: str
    remedy: str


def range_defect(quantizer: Quantizer, weights: bool) -> Defect | None:
    """The first thing that is wrong with a range; None for a legal one.

    Args:
        quantizer: what to look at.
        weights: whether it is on weights, where the converter does not crash, and where a channel may be all zero.
    """
    pairs = list(zip(quantizer.low, quantizer.high, strict=True))
    for low, high in pairs:
        shown = f"[{low:g}, {high:g}]"
        if math.isnan(low) or math.isnan(high):
            return Defect(
                "range-not-finite", "fails" if weights else "wrong", f"the range {shown} is not a number", _MEASURE
            )
        if math.isinf(low) or math.isinf(high):
            what = "which gives no scale" if weights else "which crashes the converter"
            severity: Severity = "wrong" if weights else "fails"
            return Defect("range-not-finite", severity, f"the range {shown} is infinite, {what}", _MEASURE)
        if weights and low == high == 0:
            continue
        if low >= high or high - low < _TINY:
            return Defect("range-empty", "wrong", f"the range {shown} is empty: min must be below max", _MEASURE)
        if high - low > _HUGE:
            return Defect("range-not-finite", "wrong", f"the range {shown} overflows float32", _MEASURE)
        if low > 0 or high < 0:
            what = f"the range {shown} does not hold zero; TensorFlow and TFLite shift it until it does"
            return Defect("range-without-zero", "wrong", what, "widen the range to zero")
    return None


_MEASURE = "measure the range again (fqrewrite calibrate), or give it: `ranges` in the config"
