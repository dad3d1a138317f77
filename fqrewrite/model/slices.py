"""Slices of variables as savers write them: "10 4 0,5:-" is rows 0 to 4 of a variable of shape [10, 4]."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from fqrewrite.errors import GraphError

_SPEC = re.compile(r"((?:\d+ )+)((?:-|\d+,\d+)(?::(?:-|\d+,\d+))*)")


class Slice(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a variable.

    Attributes:
        full_shape: of the whole variable, at least one dimension.
        starts, sizes: where the part begins and how long it is, by dimension.
    """

    full_shape: tuple[int, ...]
    starts: tuple[int, ...]
    sizes: tuple[int, ...]

    def index(self) -> tuple[slice, ...]:
        """What selects the part from an array of the whole."""
        return tuple(slice(start, start + size) for start, size in zip(self.starts, self.sizes, strict=True))


def format_slice(full_shape: Sequence[int], starts: Sequence[int], sizes: Sequence[int]) -> str:
    """The part in TensorFlow's notation ("shape_and_slices" of SaveV2 and RestoreV2)."""
    parts = ":".join(f"{start},{size}" for start, size in zip(starts, sizes, strict=True))
    return f"{' '.join(map(str, full_shape))} {parts}"


def parse_slice(spec: str) -> Slice:
    """Reads TensorFlow's notation; "-" stands for all of a dimension.

    Raises:
        GraphError: it is not of this form, or the part lies outside of the whole (code slice-malformed).
    """
    match = _SPEC.fullmatch(spec.strip())
    if match is not None:
        full_shape = tuple(map(int, match[1].split()))
        parts = match[2].split(":")
        if len(parts) == len(full_shape):
            pairs = [
                (0, size) if part == "-" else (int(part.partition(",")[0]), int(part.partition(",")[2]))
                for part, size in zip(parts, full_shape, strict=True)
            ]
            if all(start + size <= full for (start, size), full in zip(pairs, full_shape, strict=True)):
                starts, sizes = zip(*pairs, strict=True)
                return Slice(full_shape=full_shape, starts=starts, sizes=sizes)
    raise GraphError("slice-malformed", f"{spec!r} is no slice of a variable")
