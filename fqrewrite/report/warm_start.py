"""What a warm start says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fqrewrite.report.escape import printable
from fqrewrite.report.words import count

if TYPE_CHECKING:
    from fqrewrite.verbs.warm_start import WarmStart

_MOST_LISTED = 8


def warm_start_text(made: WarmStart, output: str) -> str:
    """Where every value of a new checkpoint came from, one fact a line."""
    lines = [
        f"fqrewrite warm-start -> {output}: {count(len(made.values), 'variable')}",
        f"  from the float model  {count(made.from_float, 'variable')}",
        f"  ranges of weights     {made.from_weights}, from the weights",
        f"  ranges from file      {made.from_file}",
        f"  ranges at their start {len(made.initial)}{_listed(made.initial)}",
    ]
    if made.fresh:
        lines.append(f"  not in the float model, as the graph initialises them: {', '.join(made.fresh)}")
    lines.append("  step counters         0")
    lines += [f"note  {note.code}  {note.text}" for note in made.notes]
    return "".join(f"{printable(line)}\n" for line in lines)


def _listed(names: tuple[str, ...]) -> str:
    if not names:
        return ""
    more = ", ..." if len(names) > _MOST_LISTED else ""
    return f" (the first training step sets them): {', '.join(names[:_MOST_LISTED])}{more}"
