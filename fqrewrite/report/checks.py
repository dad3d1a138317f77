"""A check as text, JSON, Markdown, or JUnit XML for CI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal
from xml.sax.saxutils import escape, quoteattr

import msgspec

from fqrewrite.report.escape import code, code_cell, plain, printable, prose_cell, table

if TYPE_CHECKING:
    from fqrewrite.check.records import CheckReport, Conversion, Finding

Format = Literal["text", "md", "json", "junit"]

_VERDICTS = {
    "integer": "an integer model",
    "float": "a model with operations in float",
    "wrong": "a model that computes something else",
    "fails": "no model that runs",
}


def render_check(report: CheckReport, format: Format) -> str:
    """Renders a check, with a newline at its end."""
    if format == "json":
        return msgspec.json.format(msgspec.json.encode(report, order="sorted"), indent=2).decode() + "\n"
    return {"text": _text, "md": _markdown, "junit": _junit}[format](report)


def _verdict(report: CheckReport) -> str:
    static = report.static
    floats = f", {len(static.float_operations)} of them float" if static.float_operations else ""
    return f"{_VERDICTS[static.prediction]} ({static.operations} operations{floats}; {static.quantizers} quantizers)"


def _conversion_lines(conversion: Conversion) -> list[tuple[str, str]]:
    """(label, text) pairs."""
    lines = [("converted", f"with TensorFlow {conversion.tensorflow or 'unknown'}: {conversion.converter}")]
    if conversion.error is not None:
        lines.append(("failed", f"while {conversion.stage}: {printable(conversion.error)}"))
    if conversion.operations:
        total = sum(conversion.operations.values())
        lines.append(
            (
                "model",
                f"{total} operations, {len(conversion.islands)} of them float; {conversion.quantize} QUANTIZE, "
                f"{conversion.dequantize} DEQUANTIZE; {conversion.size} bytes",
            )
        )
    for island in conversion.islands:
        types = f"({', '.join(island.inputs)}) -> {', '.join(island.outputs)}"
        named = "" if island.predicted else ", which the static check did not name"
        lines.append(("float", f"{island.op} {printable(island.tensor)} {types}{named}"))
    if conversion.outputs:
        lines.append(("compared", f"on {conversion.samples} inputs ({printable(conversion.data)})"))
        lines.append(("kernels", conversion.kernels))
    for output in conversion.outputs:
        unit = "LSB" if output.scale is not None else "(no scale)"
        agreement = "" if output.argmax_agreement is None else f", argmax equal in {output.argmax_agreement:.1%}"
        difference = f"mean {output.mean_error:.3g}, 99% to {output.p99_error:.3g}, max {output.max_error:.3g} {unit}"
        ratio = "" if output.sqnr_db is None else f", SQNR {output.sqnr_db:.1f} dB"
        lines.append(("difference", f"{printable(output.tensor)}: {difference}{ratio}{agreement}"))
    return lines


def _text(report: CheckReport) -> str:
    lines = [
        f"{printable(report.path)}: check for {report.target}: {'passed' if report.passed else 'FAILED'}",
        f"  {'outputs':<11} {', '.join(map(printable, report.outputs))}",
        f"  {'predicted':<11} {_verdict(report)}",
    ]
    if report.conversion is not None:
        lines += [f"  {label:<11} {text}" for label, text in _conversion_lines(report.conversion)]
    for finding in report.findings:
        kind = f" ({finding.op})" if finding.op else ""
        lines.append(f"{finding.severity}: {printable(finding.name)}{kind}: {finding.reason} [{finding.code}]")
        lines.append(f"  what to do: {finding.remedy}")
    return "\n".join(lines) + "\n"


def _markdown(report: CheckReport) -> str:
    verdict = "passed" if report.passed else "**failed**"
    parts = [
        f"### fqrewrite check {code(report.path)} for {report.target}: {verdict}\n",
        f"* predicted: {plain(_verdict(report))}\n* outputs: {', '.join(map(code, report.outputs))}\n",
    ]
    if report.conversion is not None:
        parts.append("".join(f"* {label}: {plain(text)}\n" for label, text in _conversion_lines(report.conversion)))
    if report.findings:
        header = ("severity", "what", "op", "code", "reason", "remedy")
        parts.append(table(header, [_row(finding) for finding in report.findings]))
    return "\n".join(parts)


def _row(finding: Finding) -> tuple[str, ...]:
    op = code_cell(finding.op) if finding.op else ""
    reason, remedy = plain(finding.reason), prose_cell(finding.remedy)
    return finding.severity, code_cell(finding.name), op, code_cell(finding.code), reason, remedy


def _junit(report: CheckReport) -> str:
    """One suite: a case for each finding, or a single one that passes."""
    failures = [finding for finding in report.findings if finding.severity != "warning"]
    cases = [_case(finding) for finding in report.findings]
    if not cases:
        cases = [f"  <testcase classname={_attribute(report.path)} name={_attribute(report.target)}/>\n"]
    name = _attribute(f"fqrewrite check {report.target} {report.path}")
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<testsuites>\n<testsuite name={name} tests="{len(cases)}" failures="{len(failures)}" errors="0">\n'
        f"{''.join(cases)}</testsuite>\n</testsuites>\n"
    )


def _case(finding: Finding) -> str:
    head = f"  <testcase classname={_attribute(finding.code)} name={_attribute(finding.name)}>"
    text = escape(printable(f"{finding.op} {finding.name}: {finding.reason}; what to do: {finding.remedy}".strip()))
    if finding.severity == "warning":
        return f"{head}<system-out>{text}</system-out></testcase>\n"
    message = _attribute(finding.reason)
    return f"{head}<failure type={_attribute(finding.severity)} message={message}>{text}</failure></testcase>\n"


def _attribute(text: str) -> str:
    return quoteattr(printable(text))
