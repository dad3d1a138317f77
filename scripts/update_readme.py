#!/usr/bin/env python3
"""Writes the tables in README.md that are generated from rules and codes; with --check, says if they are up to date.

A generated part stands between ``<!-- begin NAME -->`` and ``<!-- end NAME -->``.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from fqrewrite.report.explain import codes_markdown, rules_table

README = Path(__file__).resolve().parent.parent / "README.md"


def with_part(text: str, name: str, content: str) -> str:
    """A README with another content between the marks of a part.

    Raises:
        SystemExit: the part's marks are missing.
    """
    found = re.search(rf"<!-- begin {name} -->\n.*?<!-- end {name} -->", text, re.DOTALL)
    if not found:
        sys.exit(f"README.md has no part {name!r}")
    part = f"<!-- begin {name} -->\n{content.strip()}\n<!-- end {name} -->"
    return text[: found.start()] + part + text[found.end() :]


def write_part(name: str, content: str) -> None:
    """Writes a part of README.md that another script measured."""
    README.write_text(with_part(README.read_text(encoding="utf-8"), name, content), encoding="utf-8")


def updated(text: str) -> str:
    """The README with the parts made anew that are generated from rules and codes."""
    for name, content in {"rules": rules_table(markdown=True), "codes": codes_markdown()}.items():
        text = with_part(text, name, content)
    return text


def main() -> None:
    """Updates or checks README.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 when README.md is out of date")
    check = parser.parse_args().check
    before = README.read_text(encoding="utf-8")
    after = updated(before)
    if check and after != before:
        sys.exit("README.md is out of date; run scripts/update_readme.py")
    if not check:
        README.write_text(after, encoding="utf-8")


if __name__ == "__main__":
    main()
