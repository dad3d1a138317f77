"""The report as plain text: for pipes and CI logs, aligned, one fact a line, so that grep finds it whole."""

from __future__ import annotations

from collections.abc import Sequence

from fqrewrite.plans.items import LeftOut
from fqrewrite.report import words
from fqrewrite.report.escape import printable
from fqrewrite.report.records import Report


def render_text(report: Report, *, verbose: bool) -> str:
    """Summary, then everything left out and every note; with `verbose` every fake quantizer and fold, too."""
    summary = [(f"  {label}", text) for label, text in words.summary_lines(report)]
    blocks = [f"{printable(words.title(report))}\n{_aligned(summary)}"]
    if report.left_out:
        blocks.append(_aligned([_left_out(entry) for entry in report.left_out]))
    if report.notes:
        blocks.append(_aligned([("note", note.code, note.text) for note in report.notes]))
    if verbose and report.inserted:
        blocks.append(_aligned(_quantizers(report)))
    if verbose and report.folds:
        blocks.append(_aligned(_folds(report)))
    return "\n".join(blocks)


def _left_out(entry: LeftOut) -> tuple[str, ...]:
    origin = f" ({entry.because})" if entry.because else ""
    reason = words.sentence(f"{entry.reason}{origin}")
    kind = f"left out: {entry.kind}{words.place(entry.function)}"
    return kind, entry.name, entry.op, entry.code, f"{reason} {entry.remedy}"


def _quantizers(report: Report) -> list[tuple[str, ...]]:
    return [
        (
            f"fake quant: {item.role}",
            item.node,
            item.quantized,
            words.scheme(item),
            words.range_source(item.range),
            words.decided_by(item) + words.place(item.function),
        )
        for item in report.inserted
    ]


def _folds(report: Report) -> list[tuple[str, ...]]:
    return [
        ("fold", item.layer, item.batch_norm, item.result, words.fold_kind(item) + words.place(item.function))
        for item in report.folds
    ]


def _aligned(rows: Sequence[tuple[str, ...]]) -> str:
    """Columns two spaces apart; the last one is as long as it likes."""
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    widths[-1] = 0
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells)
    return "".join(f"{line.rstrip()}\n" for line in lines)
