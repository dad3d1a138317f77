"""The static check and the conversion agree on what becomes of small graphs."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from check.convert_many import SIGNAL
from check.small_graphs import CASES

from fqrewrite.check.conversion import MOST_LSB, collect, signal_name
from fqrewrite.check.records import Conversion, Static
from fqrewrite.check.static import check_graph
from fqrewrite.check.targets import TARGETS
from fqrewrite.check_model import open_checked

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[2]
LIGHT = [name for name, case in CASES.items() if not case.heavy]
HEAVY = [name for name, case in CASES.items() if case.heavy]


def _convert(directory: Path, names: Sequence[str]) -> dict[str, Path]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "tests")))}
    command = [sys.executable, str(Path(__file__).with_name("convert_many.py")), str(directory), *names]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    return {name: directory / str(number) for number, name in enumerate(names)}


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return _convert(tmp_path_factory.mktemp("light"), LIGHT)


@pytest.fixture(scope="module")
def heavy(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return _convert(tmp_path_factory.mktemp("heavy"), HEAVY)


def _outcome(conversion: Conversion) -> str:
    if conversion.error is not None:
        return "fails"
    if conversion.islands:
        return "float"
    return "wrong" if any(output.max_error > MOST_LSB for output in conversion.outputs) else "integer"


@cache
def _results(directory: Path, target: str) -> tuple[Static, Conversion]:
    checked = open_checked(directory)
    static = check_graph(checked.graph, checked.outputs, TARGETS[target])
    killed = directory / SIGNAL
    name = signal_name(int(killed.read_text(encoding="ascii"))) if killed.exists() else None
    error = f"killed by {name}" if name else None
    return static, collect(directory, static, TARGETS[target], error, name, None).conversion


def _agrees(name: str, directory: Path) -> None:
    case = CASES[name]
    static, conversion = _results(directory, case.target)
    said = (static.findings, conversion)
    assert _outcome(conversion) == case.expected, said
    assert static.prediction == case.expected, said
    if case.expected in ("integer", "float"):
        assert all(island.predicted for island in conversion.islands), said
        assert bool(static.float_operations) == (case.expected == "float"), said


@pytest.mark.parametrize("name", LIGHT)
def test_prediction_comes_true(name: str, light: dict[str, Path]) -> None:
    _agrees(name, light[name])


@pytest.mark.heavy
@pytest.mark.parametrize("name", HEAVY)
def test_prediction_comes_true_in_more_placements(name: str, heavy: dict[str, Path]) -> None:
    _agrees(name, heavy[name])


def test_the_table_is_large() -> None:
    assert len(LIGHT) > 60
    assert {case.expected for case in CASES.values()} == {"integer", "float", "wrong", "fails"}
