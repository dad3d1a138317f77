"""Every code that the source raises or records is explained, and every explained code is used."""

from __future__ import annotations

import re
from pathlib import Path

from fqrewrite.codes import CODES

SOURCE = Path(__file__).resolve().parent.parent / "fqrewrite"
QUOTED = re.compile(r'"([a-z0-9]+(?:-[a-z0-9]+)+)"')


def _texts() -> dict[str, str]:
    return {
        str(path.relative_to(SOURCE)): path.read_text(encoding="utf-8")
        for path in SOURCE.rglob("*.py")
        if path.parent.name != "codes"
    }


def test_every_code_is_used() -> None:
    used = {code for text in _texts().values() for code in QUOTED.findall(text)}
    assert sorted(set(CODES) - used) == []


def test_every_code_in_an_error_is_explained() -> None:
    raised = re.compile(
        r'(?:Error|Refusal|Decline|NoChain|Note|leave_out\w*)\((?:[^()"]|\([^()]*\))*?"([a-z0-9]+(?:-[a-z0-9]+)+)"'
    )
    found = {code for text in _texts().values() for code in raised.findall(text)}
    assert len(found) > 40  # the pattern does find them
    assert sorted(found - set(CODES)) == []


def test_codes_are_told_apart_by_kind() -> None:
    assert {code.kind for code in CODES.values()} == {"error", "left-out", "note", "finding"}
    assert all(code.meaning and code.remedy.endswith((".", ":0.")) for code in CODES.values())
