"""The ranges file: JSON that says what values tensors take, written by hand or by calibration.

    {
      "version": 1,
      "ranges": {
        "relu1:0": [0.0, 6.0],
        "conv1/weights/read:0": [[-0.5, -0.25], [0.5, 0.75]]
      }
    }

``ranges`` maps tensors of the source graph to [min, max]; of per-channel weights to the minima and the maxima, channel
by channel. A name without a port is output 0. Where a batch norm is folded, its output and the *folded* weights are
meant. The numbers are what was observed: they need not hold zero, the quantizer sees to that. Other keys at the top
(``statistics``, ``model``, ``method``, ``samples``...) say how the ranges came about, and are ignored here.
"""

from __future__ import annotations

import contextlib
import json
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

from fqrewrite.errors import InputError, path_text

VERSION = 1

Range: TypeAlias = tuple[tuple[float, ...], tuple[float, ...]]
"""(minima, maxima), one of each for the tensor or for every channel; exact float32 values."""

_TENSOR = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.\\/>-]*(:[0-9]+)?")


def read_ranges(path: Path) -> dict[str, Range]:
    """Reads a ranges file; the ranges are by ``node:port``.

    Raises:
        InputError: `ranges-unreadable` (no such file, not JSON, no ranges file, another version) or `range-invalid`
            (an entry that is no range of finite float32 numbers with min <= max, or a tensor given twice).
    """
    name = path_text(path)
    try:
        content = json.loads(path.read_bytes().decode("utf-8-sig"), object_pairs_hook=_Pairs)
    except (OSError, UnicodeDecodeError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"it is not JSON: {error}"
        raise InputError("ranges-unreadable", f"the ranges cannot be read: {reason or error}", where=name) from None
    top = content.once(name) if isinstance(content, _Pairs) else {}
    version, ranges = top.get("version"), top.get("ranges")
    if not isinstance(ranges, _Pairs):
        what = 'this is no ranges file: expected {"version": 1, "ranges": {"relu1:0": [0.0, 6.0]}}'
        raise InputError("ranges-unreadable", what, where=name)
    if version != VERSION or isinstance(version, bool):
        found = "has no version" if version is None else f"is of version {json.dumps(version)}"
        what = f"the file {found}, this fqrewrite reads version {VERSION}"
        raise InputError("ranges-unreadable", what, where=name)
    found_ranges: dict[str, Range] = {}
    for tensor, value in ranges:
        if not _TENSOR.fullmatch(tensor):
            what = f"{tensor!r} is not the name of a tensor, such as relu1:0"
            raise InputError("range-invalid", what, where=f"{name}: ranges")
        where = f"{name}: ranges: {tensor}"
        full = tensor if ":" in tensor else f"{tensor}:0"
        if full in found_ranges:
            raise InputError("range-invalid", f"{full} is given twice", where=where)
        found_ranges[full] = _range(value, where)
    return found_ranges


def ranges_to_json(
    ranges: Mapping[str, Range], *, measured: Mapping[str, object] | None = None, **about: object
) -> str:
    """The text of a ranges file; the same ranges give the same text, and reading it gives the same ranges.

    Args:
        ranges: finite ranges by ``node:port``.
        measured: the key ``statistics``, by ``node:port``; see `model.statistics_file`.
        about: further keys at the top that JSON can hold, in the order given: how the ranges came about.
    """
    head = [f"  {json.dumps(key)}: {json.dumps(value, sort_keys=True)}" for key, value in about.items()]
    if measured is not None:
        entries = [f"    {json.dumps(key)}: {json.dumps(measured[key])}" for key in sorted(measured)]
        head.append('  "statistics": {\n' + ",\n".join(entries) + "\n  }")
    lines = [f"    {json.dumps(tensor)}: {_text(ranges[tensor])}" for tensor in sorted(ranges)]
    body = "{\n" + ",\n".join(lines) + "\n  }" if lines else "{}"
    return "{\n" + ",\n".join([f'  "version": {VERSION}', *head, f'  "ranges": {body}']) + "\n}\n"


class _Pairs(list[tuple[str, object]]):
    """A JSON object as it stands in the file, with the keys that stand there twice."""

    def once(self, where: str) -> dict[str, object]:
        """As a mapping, when no key comes twice."""
        keys: dict[str, object] = {}
        for key, value in self:
            if key in keys:
                raise InputError("ranges-unreadable", f"the key {key!r} is given twice", where=where)
            keys[key] = value
        return keys


def _range(value: object, where: str) -> Range:
    if type(value) is not list or len(value) != 2:
        raise InputError("range-invalid", "expected [min, max], such as [0.0, 6.0]", where=where)
    ends = [end if type(end) is list else [end] for end in value]
    if (type(value[0]) is list) != (type(value[1]) is list) or len(ends[0]) != len(ends[1]) or not ends[0]:
        what = "expected as many minima as maxima: [[min, ...], [max, ...]]"
        raise InputError("range-invalid", what, where=where)
    low, high = (tuple(_float32(number, where) for number in end) for end in ends)
    for smallest, largest in zip(low, high, strict=True):
        if smallest > largest:
            raise InputError("range-invalid", f"min {smallest:g} is greater than max {largest:g}", where=where)
    return low, high


def _float32(value: object, where: str) -> float:
    """The nearest float32."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        shown = json.dumps(value)[:40]
        raise InputError("range-invalid", f"expected a number, got {shown}", where=where)
    try:
        number: float = struct.unpack("<f", struct.pack("<f", value))[0]
    except (OverflowError, struct.error):
        raise InputError("range-invalid", f"{str(value)[:40]} does not fit into float32", where=where) from None
    if number - number != 0:
        raise InputError("range-invalid", f"expected a finite number, got {number}", where=where)
    return number + 0.0  # -0.0 is 0.0


def _text(limits: Range) -> str:
    ends = [[_shortest(number) for number in end] for end in limits]
    return "[" + ", ".join(end[0] if len(end) == 1 else f"[{', '.join(end)}]" for end in ends) + "]"


def _shortest(number: float) -> str:
    """The shortest decimal text that is this float32."""
    wanted = struct.pack("<f", number)
    for digits in range(1, 10):
        text = repr(float(f"{number:.{digits}g}"))
        with contextlib.suppress(OverflowError):  # rounded up beyond the largest float32
            if struct.pack("<f", float(text)) == wanted:
                return text
    return repr(number)
