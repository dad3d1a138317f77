"""What a comparison of two graphs says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fqrewrite.report.escape import printable
from fqrewrite.report.words import count

if TYPE_CHECKING:
    from fqrewrite.run.noise import Noise
    from fqrewrite.verbs.compare import Comparison

_HEADER = ("kind", "tensor", "SQNR dB", "own dB", "max error", "mean error", "bias", "bits", "layer")
_NUMBERS = range(2, 8)  # columns that are aligned to the right
SCHEMA_VERSION = 1
_MOST_WORST = 3
_PARAMETERS = ("weights", "constant")


def comparison_text(made: Comparison, original: str, quantized: str) -> str:
    """A table, the worst tensors first.

    Args:
        made: what was found.
        original, quantized: the graphs, as they were given.
    """
    rows = [_HEADER]
    for entry in made.tensors:
        noise = entry.noise
        rows.append(
            (
                entry.kind,
                entry.tensor,
                _decibels(noise),
                "" if entry.own is None else _decibels(entry.own),
                f"{noise.max_error:.4g}",
                f"{noise.mean_error:.4g}",
                f"{noise.bias:+.2g}",
                "-" if entry.bits is None else str(entry.bits),
                entry.layer or "",
            )
        )
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [f"fqrewrite compare: {original}, {quantized}: {count(made.samples, 'sample')}"]
    for row in cells:
        aligned = (
            cell.rjust(width) if column in _NUMBERS else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join(aligned).rstrip())
    if made.missing:
        lines.append(f"not in {original}: {', '.join(made.missing)}")
    lines.append("SQNR: with all errors up to here; own: what this quantizer alone does to the float tensor")
    lines += _worst(made)
    return "".join(f"{printable(line)}\n" for line in lines)


def _worst(made: Comparison) -> list[str]:
    """The quantizers that cost most, whatever stands before them."""
    costs = [(entry.own or entry.noise, entry) for entry in made.tensors if entry.own or entry.kind in _PARAMETERS]
    known = [(noise.sqnr_db, entry.tensor, entry.bits) for noise, entry in costs if noise.sqnr_db is not None]
    listed = [f"{tensor} ({ratio:.1f} dB, {bits} bits)" for ratio, tensor, bits in sorted(known)[:_MOST_WORST]]
    return [f"worst by themselves: {', '.join(listed)}"] if listed else []


def comparison_json(made: Comparison, original: str, quantized: str) -> bytes:
    """The same as JSON, in full precision; a ratio is null where there is no error, or no signal."""
    content = {
        "schema_version": SCHEMA_VERSION,
        "float": original,
        "quantized": quantized,
        **msgspec.to_builtins(made),
    }
    return msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"


def _decibels(noise: Noise) -> str:
    if noise.sqnr_db is not None:
        return f"{noise.sqnr_db:.1f}"
    return "no signal" if noise.max_error else "exact"
