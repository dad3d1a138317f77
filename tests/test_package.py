"""What `import fqrewrite` gives, and what it costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import fqrewrite

ALONE = """
import sys
before = set(sys.modules)
import fqrewrite
new = set(sys.modules) - before
packages = ("fqrewrite", "msgspec", "numpy", "google", "tensorflow")
print(sorted(name for name in new if name.partition(".")[0] in packages))
"""
LATER = """
import sys
import fqrewrite, fqrewrite.verbs.evaluate, fqrewrite.plans.build
from fqrewrite.plans.items import Plan
assert fqrewrite.Plan is Plan
fqrewrite.train, fqrewrite.tf1.create_training_graph
assert fqrewrite.plan.__module__ == fqrewrite.evaluate.__module__ == "fqrewrite.api"
print([name for name in ("tensorflow", "numpy", "yaml", "rich") if name in sys.modules])
"""


def _run(code: str) -> str:
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_the_import_alone_costs_nothing() -> None:
    assert _run(ALONE) == "['fqrewrite']"


def test_the_verbs_keep_their_names_and_need_no_tensorflow() -> None:
    assert _run(LATER) == "[]"


@pytest.mark.parametrize("name", fqrewrite.__all__)
def test_every_name_is_there(name: str) -> None:
    assert getattr(fqrewrite, name) is not None
