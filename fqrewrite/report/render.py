"""One report in the format that is asked for; each format's module is imported only when it is used."""

from __future__ import annotations

from typing import Literal

import msgspec

from fqrewrite.report.records import Report

Format = Literal["text", "json", "md"]


def to_json(report: Report) -> bytes:
    """The report as JSON: keys sorted, indented, UTF-8, a newline at its end."""
    return msgspec.json.format(msgspec.json.encode(report, order="sorted"), indent=2) + b"\n"


def render(report: Report, format: Format, *, color: bool = False, verbose: bool = False) -> str:
    """Renders a report, with a newline at its end.

    Args:
        report: what to render.
        format: "text" for people, "json" for programs, "md" for a pull request.
        color: whether the text goes to a terminal, which gets tables and colours; only then rich is imported.
        verbose: whether text lists every fake quantizer and fold, too. JSON always does; Markdown does while it
            fits into a comment on a pull request, and with `verbose` whatever its length.
    """
    if format == "json":
        return to_json(report).decode()
    if format == "md":
        from fqrewrite.report.markdown import render_markdown

        return render_markdown(report, verbose=verbose)
    if color:
        from fqrewrite.report.table import render_table

        return render_table(report, verbose=verbose)
    from fqrewrite.report.text import render_text

    return render_text(report, verbose=verbose)
