"""The rules: one file each, found by being here.

A module in this folder whose name has no leading underscore holds one `RULE`. Nothing else has to be touched to add
one: the driver, `fqrewrite rules` and README's table follow.
"""

from __future__ import annotations

import importlib
import os
from functools import cache

from fqrewrite.match.proposal import PHASES, Phase, Rule


@cache
def all_rules() -> tuple[Rule, ...]:
    """Every rule, in the order in which they are tried: by phase, rank and name; file order does not count."""
    names = {os.path.splitext(entry)[0] for folder in __path__ for entry in os.listdir(folder)}  # noqa: PTH122, PTH208
    modules = [importlib.import_module(f"{__name__}.{name}") for name in sorted(names) if name[0] not in "_."]
    rules: list[Rule] = [module.RULE for module in modules]
    return tuple(sorted(rules, key=lambda rule: (PHASES.index(rule.phase), rule.rank, rule.name)))


def rules_of(phase: Phase) -> list[Rule]:
    """The rules of one phase, in the order in which they are tried."""
    return [rule for rule in all_rules() if rule.phase == phase]
