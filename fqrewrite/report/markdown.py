"""The report as Markdown, for a comment on a pull request: first what a reviewer has to judge."""

from __future__ import annotations

from collections.abc import Sequence

from fqrewrite.plans.items import LeftOut
from fqrewrite.report import words
from fqrewrite.report.escape import code, code_cell, plain, prose_cell, table
from fqrewrite.report.records import Report

_OPEN_ROWS = 20
"""Longer tables of quantizers start closed."""

_MOST_CHARACTERS = 60_000
"""GitHub takes 65,536 characters in a comment; the rest is for what a workflow writes around the report."""


def render_markdown(report: Report, *, verbose: bool) -> str:
    """Heading, summary, what was done beside, what is left out, notes, quantizers, folds.

    Args:
        report: what to render.
        verbose: whether the text may be longer than a comment on a pull request. If not, as many of its tables as
            it takes are replaced by a sentence: quantizers first, then folds, then what is left out.
    """
    tables = {"quantizers", "folds", "left out"}
    text = _render(report, tables)
    for name in ("quantizers", "folds", "left out"):
        if verbose or len(text) <= _MOST_CHARACTERS:
            break
        tables.remove(name)
        text = _render(report, tables)
    return text


def _render(report: Report, tables: set[str]) -> str:
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
    if changes := words.change_lines(report):
        parts.append("".join(f"* {label}: {plain(text)}\n" for label, text in changes))
    if report.left_out:
        listed = _left_out(report) if "left out" in tables else _left_out_codes(report)
        parts.append(f"#### Left out\n\n{listed}")
    if report.notes:
        parts.append("#### Notes\n\n" + "".join(f"* {code(note.code)}: {plain(note.text)}\n" for note in report.notes))
    if report.inserted:
        listed = _quantizers(report) if "quantizers" in tables else _too_long(report)
        parts.append(_details(words.count(quantizers, "fake quantizer"), listed, quantizers <= _OPEN_ROWS))
    if report.folds:
        listed = _folds(report) if "folds" in tables else _too_long(report)
        parts.append(_details(words.count(summary.folds, "folded batch norm"), listed, False))
    parts.append(f"fqrewrite {report.tool_version}, input sha256 {code(report.input.sha256)}\n")
    return "\n".join(parts)


def _too_long(report: Report) -> str:
    where = "`--report-format json` lists" if report.output is None else "the JSON report and `--verbose` list"
    return f"Not listed here, to fit into a comment on a pull request; {where} them.\n"


def _left_out_codes(report: Report) -> str:
    rows = [(code_cell(name), str(number)) for name, number in report.summary.left_out_codes.items()]
    return table(("code", "how many"), rows) + "\n" + _too_long(report)


def _left_out(report: Report) -> str:
    header = ("left out", "kind", "op", "code", "reason", "remedy")
    return _placed(header, [(_left_out_row(entry), entry.function) for entry in report.left_out])


def _placed(header: tuple[str, ...], rows: Sequence[tuple[tuple[str, ...], str]]) -> str:
    """A table whose last column is the function that each row is about, if any is about one."""
    if not any(function for _, function in rows):
        return table(header, [row for row, _ in rows])
    return table((*header, "function"), [(*row, code_cell(function) if function else "") for row, function in rows])


def _left_out_row(entry: LeftOut) -> tuple[str, ...]:
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
            (
                code_cell(item.node),
                item.role.replace("_", " "),
                code_cell(item.quantized),
                words.scheme(item),
                plain(words.range_source(item.range)),
                code_cell(item.rule) + (f" ({code_cell(item.because)})" if item.because else ""),
            ),
            item.function,
        )
        for item in report.inserted
    ]
    return _placed(("fake quantizer", "role", "quantizes", "scheme", "range", "rule"), rows)


def _folds(report: Report) -> str:
    rows = [
        (
            (code_cell(fold.layer), code_cell(fold.batch_norm), code_cell(fold.result), words.fold_kind(fold)),
            fold.function,
        )
        for fold in report.folds
    ]
    return _placed(("layer", "batch norm", "result", "how"), rows)


def _details(title: str, body: str, is_open: bool) -> str:
    # GitHub renders Markdown inside HTML only behind a blank line.
    return f"<details{' open' if is_open else ''}>\n<summary>{title}</summary>\n\n{body}\n</details>\n"
