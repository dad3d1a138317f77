"""Conversions of many graphs in one process, and their results."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from check.convert_many import SIGNAL

from fqrewrite.check.conversion import collect, signal_name
from fqrewrite.check.records import Conversion, Static
from fqrewrite.check.static import check_graph
from fqrewrite.check.targets import TARGETS
from fqrewrite.verbs.check import open_checked

ROOT = Path(__file__).parents[2]


def converted(directory: Path, module: str, names: Sequence[str]) -> dict[str, Path]:
    """A directory for each case of a table, with what came of it."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "tests")))}
    command = [sys.executable, str(Path(__file__).with_name("convert_many.py")), str(directory), module, *names]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=1800)
    assert done.returncode == 0, done.stderr[-3000:]
    return {name: directory / str(number) for number, name in enumerate(names)}


@cache
def results(directory: Path, target: str) -> tuple[Static, Conversion]:
    """What was predicted, and what became of it."""
    checked = open_checked(directory)
    static = check_graph(checked.graph, checked.outputs, TARGETS[target])
    killed = directory / SIGNAL
    name = signal_name(int(killed.read_text(encoding="ascii"))) if killed.exists() else None
    error = f"killed by {name}" if name else None
    return static, collect(directory, static, TARGETS[target], error, name, None).conversion
