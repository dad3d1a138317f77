"""What calibration measured, as it stands in a ranges file beside the ranges: enough to merge several runs.

{
  "version": 1,
  "model": "<sha256>", "method": "percentile", "percentile": 99.99, "samples": 100, "batches": 13,
  "statistics": {
    "relu1:0": {"minimum": 0.0, "maximum": 6.0, "bits": 8, ..., "histogram": {"exponent": -10, ...}}
  },
  "ranges": {"relu1:0": [0.0, 5.9]}
}
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from fqrewrite.errors import InputError, path_text
from fqrewrite.model.ranges_file import VERSION, Range, ranges_to_json

Method = Literal["min-max", "moving-average", "percentile", "mse", "entropy"]

_Count = Annotated[int, msgspec.Meta(ge=0)]


class Histogram(msgspec.Struct, frozen=True, kw_only=True):
    """How often values occur. Bin number i holds [i w, (i + 1) w) where w = 2^exponent.

    Attributes:
        exponent: of the width of bins.
        first: the number of the first bin in `counts`, which may be negative.
        counts: from the first bin that holds anything to the last one; exact zeros are not in it.
        zeros: number of exact zeros.
    """

    exponent: Annotated[int, msgspec.Meta(ge=-200, le=200)]
    first: int
    counts: tuple[_Count, ...]
    zeros: _Count


class Average(msgspec.Struct, frozen=True, kw_only=True):
    """Moving averages of the extremes of batches, that started from zero.

    Attributes:
        low, high: biased += (1 - decay) (extreme - biased), batch by batch.
        steps: number of batches.
        decay: in [0, 1).
    """

    low: float
    high: float
    steps: Annotated[int, msgspec.Meta(ge=1)]
    decay: Annotated[float, msgspec.Meta(ge=0, lt=1)]


class TensorStatistics(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was measured of one tensor.

    Attributes:
        minimum, maximum: exact float32 values.
        bits, symmetric, narrow_range: how it is going to be quantized, which optimal ranges depend on.
        average: with method moving-average.
        histogram: with the methods percentile, mse and entropy.
    """

    minimum: float
    maximum: float
    bits: Annotated[int, msgspec.Meta(ge=2, le=16)]
    symmetric: bool
    narrow_range: bool
    average: Average | None = None
    histogram: Histogram | None = None


class Statistics(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one calibration measured, or several together.

    Attributes:
        model: sha256 of the graph's file.
        method: how ranges are chosen.
        percentile: with method percentile, in (50, 100].
        samples, batches: how many were run.
        tensors: by ``node:port``.
    """

    model: str
    method: Method
    percentile: Annotated[float, msgspec.Meta(gt=50, le=100)] | None = None
    samples: _Count
    batches: _Count
    tensors: dict[str, TensorStatistics] = msgspec.field(name="statistics")


def read_statistics(path: Path) -> Statistics:
    """Reads the statistics in a ranges file.

    Raises:
        InputError: `ranges-unreadable`, or `statistics-missing` for a ranges file that `calibrate` did not write.
    """
    name = path_text(path)
    try:
        data = path.read_bytes()
        top = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"it is not JSON: {error}"
        raise InputError("ranges-unreadable", f"the ranges cannot be read: {reason}", where=name) from None
    if bytes(top.get("version", msgspec.Raw(b"0"))) != str(VERSION).encode():
        raise InputError("ranges-unreadable", f"this is no ranges file of version {VERSION}", where=name)
    if "statistics" not in top:
        what = "the file holds ranges, and not the statistics that they were chosen by"
        raise InputError("statistics-missing", what, where=name)
    try:
        found = msgspec.json.decode(data, type=Statistics)
    except msgspec.DecodeError as error:
        raise InputError("ranges-unreadable", f"the statistics are damaged: {error}", where=name) from None
    for tensor, entry in found.tensors.items():
        if not -(2.0**128) < entry.minimum <= entry.maximum < 2.0**128:
            what = f"the statistics are damaged: {tensor} has minimum {entry.minimum:g}, maximum {entry.maximum:g}"
            raise InputError("ranges-unreadable", what, where=name)
    return found


def statistics_to_json(statistics: Statistics, ranges: Mapping[str, Range]) -> str:
    """The text of a ranges file that holds its statistics, too, tensor by tensor."""
    about = msgspec.to_builtins(statistics)
    tensors = about.pop("statistics")
    return ranges_to_json(ranges, measured=tensors, **about)
