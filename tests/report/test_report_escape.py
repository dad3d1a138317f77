"""Any string as a name."""

from __future__ import annotations

import pytest

from fqrewrite.report.escape import code, code_cell, plain, printable, prose_cell, table


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("net/conv:0", "net/conv:0"),
        ("a\nb", r"a\nb"),
        ("\x1b[31m", r"\x1b[31m"),
        ("\udcff", r"\udcff"),
        ("é", "é"),
    ],
)
def test_printable(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a_b", "`a_b`"), ("a`b", "``a`b``"), ("`a", "`` `a ``"), ("a``b`c", "```a``b`c```"), ("a|b", "`a|b`")],
)
def test_code(text: str, shown: str) -> None:
    assert code(text) == shown


def test_a_bar_ends_no_cell() -> None:
    assert code_cell("a|b") == r"`a\|b`"


def test_plain_text_is_no_markdown() -> None:
    assert plain("<b> *x* _y_ `z` [l](u) | a\\b") == r"\<b\> \*x\* \_y\_ \`z\` \[l\](u) \| a\\b"


def test_prose_keeps_its_code_and_hides_tags_outside_it() -> None:
    assert prose_cell("fetch <scope>/x, not `<scope>|y`") == r"fetch &lt;scope>/x, not `<scope>\|y`"


def test_table() -> None:
    assert table(("a", "b"), [("1", "2")]) == "| a | b |\n| --- | --- |\n| 1 | 2 |\n"
