from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

import fqrewrite.rules
from fqrewrite.match.proposal import PHASES
from fqrewrite.rules import all_rules, rules_of


def test_every_file_is_a_rule() -> None:
    folder = Path(fqrewrite.rules.__file__).parent
    files = {path.stem for path in folder.glob("*.py") if not path.name.startswith("_")}
    assert {rule.name for rule in all_rules()} == files
    assert len(all_rules()) == len(files)


def test_every_rule_has_a_test_file() -> None:
    folder = Path(__file__).parent
    assert {rule.name for rule in all_rules() if not (folder / f"test_{rule.name}_rule.py").exists()} == set()


def test_rules_of_a_phase() -> None:
    assert [rule for phase in PHASES for rule in rules_of(phase)] == list(all_rules())
    assert [rule.name for rule in rules_of("placement")] == [
        "post_activation_bypass", "activation", "final_bias", "bare_layer",
    ]  # fmt: skip


def test_summaries_are_sentences() -> None:
    for rule in all_rules():
        assert rule.summary.endswith(".")
        assert "\n" not in rule.summary
        assert rule.ops


def test_the_order_of_the_files_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    expected, listdir = all_rules(), os.listdir

    def shuffled(path: str) -> list[str]:
        names = listdir(path)
        random.Random(7).shuffle(names)
        return names

    monkeypatch.setattr(os, "listdir", shuffled)
    all_rules.cache_clear()
    assert all_rules() == expected
