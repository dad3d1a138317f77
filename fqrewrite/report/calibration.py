"""What a calibration says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fqrewrite.report.escape import printable
from fqrewrite.report.words import count

if TYPE_CHECKING:
    from fqrewrite.verbs.calibrate import Calibrated


def calibration_text(made: Calibrated, what: str, output: str, *, verbose: bool) -> str:
    """One line; with `verbose` the range of each tensor, too, and what was observed of it."""
    found = made.statistics
    method = found.method if found.percentile is None else f"{found.method} {found.percentile:g}"
    ran = f"{count(found.samples, 'sample')} in {found.batches} {'batch' if found.batches == 1 else 'batches'}"
    lines = [f"fqrewrite calibrate: {what} -> {output}: {count(len(made.ranges), 'range')}, {method}, {ran}"]
    if verbose:
        width = max(map(len, made.ranges), default=0)
        for tensor, ((low,), (high,)) in sorted(made.ranges.items()):
            seen = found.tensors[tensor]
            observed = f"observed [{seen.minimum:.6g}, {seen.maximum:.6g}]"
            lines.append(f"  {tensor:<{width}}  [{low:.6g}, {high:.6g}]  {observed}")
    lines += [f"note  {note.code}  {note.text}" for note in made.notes]
    return "".join(f"{printable(line)}\n" for line in lines)
