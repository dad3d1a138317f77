"""The report as Markdown, for a comment on a pull request: first what a reviewer has to judge."""

from __future__ import annotations

from fqrewrite.plan.items import LeftOut
from fqrewrite.report import words
from fqrewrite.report.escape import code, code_cell, plain, prose_cell, table
from fqrewrite.report.records import Report

_OPEN_ROWS = 20
"""Longer tables of quantizers start closed."""


def render_markdown(report: Report) -> str:
    """Heading, summary, what is left out, notes, quantizers, folds."""
    summary = report.summary
    target = "" if report.output is None or words.is_dry(report) else f" to {code(report.output)}"
    quantizers = sum(summary.fake_quants.values())
    roles = words.by_name(summary.fake_quants)
    parts = [
        f"### fqrewrite {words.run(report)}: {code(report.input.path)}{target}\n",
        f"**{summary.layers_quantized} of {words.count(summary.layers, 'layer')} quantized**: "
        f"{words.count(quantizers, 'fake quantizer')}{plain(f' ({roles})' if roles else '')}, "
        f"{words.count(summary.folds, 'batch norm')} folded, {words.left_out_kinds(report)} left out.\n",
    ]
    if report.left_out:
        header = ("left out", "kind", "op", "code", "reason", "remedy")
        parts.append("#### Left out\n\n" + table(header, [_left_out(entry) for entry in report.left_out]))
    if report.notes:
        parts.append("#### Notes\n\n" + "".join(f"* {code(note.code)}: {plain(note.text)}\n" for note in report.notes))
    if report.inserted:
        parts.append(_details(words.count(quantizers, "fake quantizer"), _quantizers(report), quantizers <= _OPEN_ROWS))
    if report.folds:
        parts.append(_details(words.count(summary.folds, "folded batch norm"), _folds(report), False))
    parts.append(f"fqrewrite {report.tool_version}, input sha256 {code(report.input.sha256)}\n")
    return "\n".join(parts)


def _left_out(entry: LeftOut) -> tuple[str, ...]:
    origin = f" ({code_cell(entry.because)})" if entry.because else ""
    return (
        code_cell(entry.name),
        entry.kind.replace("_", " "),
        code_cell(entry.op),
        code_cell(entry.code),
        plain(entry.reason) + origin,
        prose_cell(entry.remedy),
    )


def _quantizers(report: Report) -> str:
    rows = [
        (
            code_cell(item.node),
            item.role.replace("_", " "),
            code_cell(item.quantized),
            words.scheme(item),
            plain(words.range_source(item.range)),
            code_cell(item.rule) + (f" ({code_cell(item.because)})" if item.because else ""),
        )
        for item in report.inserted
    ]
    return table(("fake quantizer", "role", "quantizes", "scheme", "range", "rule"), rows)


def _folds(report: Report) -> str:
    rows = [
        (code_cell(fold.layer), code_cell(fold.batch_norm), code_cell(fold.result), words.fold_kind(fold))
        for fold in report.folds
    ]
    return table(("layer", "batch norm", "result", "how"), rows)


def _details(title: str, body: str, is_open: bool) -> str:
    # GitHub renders Markdown inside HTML only behind a blank line.
    return f"<details{' open' if is_open else ''}>\n<summary>{title}</summary>\n\n{body}\n</details>\n"
