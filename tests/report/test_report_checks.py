"""Renderings of a check."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree

import msgspec
import pytest

from fqrewrite.check.records import CheckReport, Conversion, Finding, Island, OutputDifference, Static
from fqrewrite.report.checks import Format, render_check

_NASTY = 'a|b<c>&"d"\x1b[0m\n'
_WARNING = Finding(
    code="weights-without-quantizer",
    severity="warning",
    name="conv",
    op="Conv2D",
    reason="no range",
    remedy="add `one`",
)
_FAILURE = Finding(
    code="range-missing", severity="float", name=_NASTY, op="Relu", reason="no <range>", remedy="put one | behind it"
)


def _report(*findings: Finding, conversion: Conversion | None = None) -> CheckReport:
    static = Static(prediction="integer", findings=findings, operations=3, float_operations=(), quantizers=4)
    return CheckReport(
        tool_version="1",
        path="graph.pb",
        target="tflite-int8",
        outputs=("y:0",),
        static=static,
        conversion=conversion,
        findings=findings,
        passed=all(finding.severity == "warning" for finding in findings),
    )


_CONVERSION = Conversion(
    stage="done",
    error=None,
    signal=None,
    converter="the route",
    kernels="some kernels",
    tensorflow="2.21.0",
    operations={"ELU": 1, "QUANTIZE": 2, "DEQUANTIZE": 2},
    quantize=2,
    dequantize=2,
    islands=(Island(op="ELU", tensor="elu", inputs=("FLOAT32",), outputs=("FLOAT32",), predicted=False),),
    outputs=(
        OutputDifference(
            tensor="y:0",
            scale=0.5,
            max_error=1.0,
            p99_error=0.5,
            mean_error=0.25,
            sqnr_db=40.0,
            argmax_agreement=0.75,
        ),
        OutputDifference(
            tensor="z:0",
            scale=None,
            max_error=0.0,
            p99_error=0.0,
            mean_error=0.0,
            sqnr_db=None,
            argmax_agreement=None,
        ),
    ),
    samples=8,
    data="random numbers",
    size=100,
)


def test_text_says_everything() -> None:
    text = render_check(_report(_WARNING, conversion=_CONVERSION), "text")
    assert "check for tflite-int8: passed" in text
    assert "5 operations, 1 of them float; 2 QUANTIZE, 2 DEQUANTIZE; 100 bytes" in text
    assert "ELU elu (FLOAT32) -> FLOAT32, which the static check did not name" in text
    assert "y:0: mean 0.25, 99% to 0.5, max 1 LSB, SQNR 40.0 dB, argmax equal in 75.0%" in text
    assert "z:0: mean 0, 99% to 0, max 0 (no scale)\n" in text
    assert "some kernels" in text
    assert "warning: conv (Conv2D): no range [weights-without-quantizer]" in text


@pytest.mark.parametrize("form", ["text", "md", "json", "junit"])
def test_names_break_nothing(form: Format) -> None:
    text = render_check(_report(_FAILURE, conversion=_CONVERSION), form)
    assert text.endswith("\n") and "\x1b" not in text


def test_json_is_the_record() -> None:
    report = _report(_FAILURE, conversion=_CONVERSION)
    text = render_check(report, "json")
    assert msgspec.json.decode(text, type=CheckReport) == report
    assert list(json.loads(text)) == sorted(json.loads(text))


def test_markdown_is_a_table() -> None:
    lines = render_check(_report(_FAILURE), "md").splitlines()
    assert lines[0].endswith("**failed**")
    rows = [line for line in lines if line.startswith("| float")]
    assert len(rows) == 1 and rows[0].replace("\\|", "").count("|") == 7


def test_junit_counts() -> None:
    suite = ElementTree.fromstring(render_check(_report(_FAILURE, _WARNING), "junit"))[0]
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    assert [case[0].tag for case in suite] == ["failure", "system-out"]
    assert suite[0].get("name", "").startswith('a|b<c>&"d"')
    passed = ElementTree.fromstring(render_check(_report(), "junit"))[0]
    assert (passed.get("tests"), passed.get("failures"), len(passed[0])) == ("1", "0", 0)
