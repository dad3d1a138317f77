"""The static check and the conversion agree on what becomes of small graphs."""

from __future__ import annotations

from pathlib import Path

import pytest
from check.converting import converted, results
from check.small_graphs import CASES

from fqrewrite.check.conversion import MOST_LSB
from fqrewrite.check.records import Conversion

LIGHT = [name for name, case in CASES.items() if not case.heavy]
HEAVY = [name for name, case in CASES.items() if case.heavy]


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return converted(tmp_path_factory.mktemp("light"), "small_graphs", LIGHT)


@pytest.fixture(scope="module")
def heavy(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return converted(tmp_path_factory.mktemp("heavy"), "small_graphs", HEAVY)


def _outcome(conversion: Conversion) -> str:
    if conversion.error is not None:
        return "fails"
    if conversion.islands:
        return "float"
    return "wrong" if any(output.max_error > MOST_LSB for output in conversion.outputs) else "integer"


def _agrees(name: str, directory: Path) -> None:
    case = CASES[name]
    static, conversion = results(directory, case.target)
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
