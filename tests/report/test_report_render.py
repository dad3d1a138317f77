"""Formats: JSON against its schema, sameness, and that rich stays out of pipes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import msgspec
import pytest

from fqrewrite.report.records import Report, report_schema_json
from fqrewrite.report.render import Format, render, to_json


def test_json_is_sorted_and_reads_back_as_the_same_report(report: Report, dry_report: Report) -> None:
    for made in (report, dry_report):
        text = render(made, "json")
        assert text == to_json(made).decode()
        assert text == json.dumps(json.loads(text), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        assert render(msgspec.json.decode(text, type=Report), "json") == text


def test_json_follows_its_schema(report: Report, dry_report: Report) -> None:
    schema = json.loads(report_schema_json())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for made in (report, dry_report):
        validator.validate(json.loads(to_json(made)))
    wrong = json.loads(to_json(report))
    wrong["schema_version"] = 2
    assert not validator.is_valid(wrong)


def test_the_schema_names_every_field(report: Report) -> None:
    schema = json.loads(report_schema_json())
    assert schema["$defs"]["Report"]["properties"].keys() == json.loads(to_json(report)).keys()


@pytest.mark.parametrize("format", ["text", "json", "md"])
def test_every_format_ends_with_one_newline(report: Report, format: Format) -> None:
    text = render(report, format)
    assert text.endswith("\n") and not text.endswith("\n\n")


@pytest.mark.parametrize("format", ["json", "md"])
def test_colour_and_verbosity_are_for_text_only(report: Report, format: Format) -> None:
    assert render(report, format, color=True, verbose=True) == render(report, format)


def test_colour_makes_tables(report: Report) -> None:
    assert "\x1b[" in render(report, "text", color=True)
    assert "\x1b[" not in render(report, "text")


@pytest.mark.parametrize(("color", "imported"), [(False, "False"), (True, "True")])
def test_rich_is_imported_for_a_terminal_only(report: Report, tmp_path: Path, color: bool, imported: str) -> None:
    (tmp_path / "r.json").write_bytes(to_json(report))
    code = (
        "import sys, msgspec\n"
        "from fqrewrite.report.records import Report\n"
        "from fqrewrite.report.render import render\n"
        "report = msgspec.json.decode(open(sys.argv[1], 'rb').read(), type=Report)\n"
        f"render(report, 'text', color={color}, verbose=True)\n"
        "print('rich' in sys.modules)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "r.json")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == imported
