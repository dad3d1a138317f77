"""Codes and rules, told from the tables themselves."""

from __future__ import annotations

import pytest

from fqrewrite.codes import CODES
from fqrewrite.errors import ConfigError
from fqrewrite.report.explain import codes_markdown, explain_text, rules_table
from fqrewrite.rules import all_rules


def squeezed(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("name", CODES)
def test_every_code_is_explained_and_listed(name: str) -> None:
    code = CODES[name]
    text = squeezed(explain_text(name))
    assert text == squeezed(f"{name} ({code.kind}) {code.meaning} What to do: {code.remedy}")
    assert f"  {name} " in explain_text(None)
    assert f"| `{name}` | {code.kind} |" in codes_markdown()


def test_the_list_is_by_kind_and_then_by_name() -> None:
    blocks = explain_text(None).split("\n\n")
    kinds = ["error", "left-out", "note", "finding"]
    for block, kind in zip(blocks, kinds, strict=True):
        names = [line.split()[0] for line in block.splitlines()[1:]]
        assert names == sorted(code.name for code in CODES.values() if code.kind == kind)


def test_an_unknown_code_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="output-not-found") as raised:
        explain_text("output-not-fuond")
    assert raised.value.code == "unknown-code"
    with pytest.raises(ConfigError, match="there is no code '#'") as raised:
        explain_text("#")
    assert "nearest" not in raised.value.what


def test_markdown_has_a_row_for_each_code_and_no_html() -> None:
    lines = codes_markdown().splitlines()
    assert len(lines) == len(CODES) + 2
    assert all(line.count(" | ") - line.count(r"\|") == 3 for line in lines)
    assert "<scope>" not in codes_markdown().replace("`<scope>", "")


def test_every_rule_is_told_in_the_order_of_trial() -> None:
    text, markdown = squeezed(rules_table()), rules_table(markdown=True)
    places = [text.index(f"{rule.name} ({rule.phase}) {squeezed(rule.summary)}") for rule in all_rules()]
    assert places == sorted(places)
    lines = markdown.splitlines()[2:]
    assert [line.split(" | ")[0] for line in lines] == [f"| `{rule.name}`" for rule in all_rules()]
    assert all(f"`{op}`" in line for line, rule in zip(lines, all_rules(), strict=True) for op in rule.ops)


def test_text_fits_a_terminal() -> None:
    assert max(map(len, rules_table().splitlines())) <= 100
    assert max(max(map(len, explain_text(name).splitlines())) for name in CODES) <= 100
