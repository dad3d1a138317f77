"""What the package quantizes becomes an integer model, but for what it says, and computes the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from check.converting import converted, results
from check.quantized_nets import NETS, quantized

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.heavy
_FUZZ = 1e-3  # of float32, where both sides are so many steps


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return converted(tmp_path_factory.mktemp("nets"), "quantized_nets", list(NETS))


@pytest.mark.parametrize("name", NETS)
def test_becomes_an_integer_model(name: str, directories: dict[str, Path]) -> None:
    static, conversion = results(directories[name], "tflite-int8")
    said = (static.findings, conversion)
    assert conversion.error is None, said
    assert (static.prediction == "float") == bool(NETS[name].left), said
    assert bool(conversion.islands) == bool(NETS[name].left), said
    assert all(island.predicted for island in conversion.islands), said
    assert max(output.max_error for output in conversion.outputs) <= NETS[name].lsb + _FUZZ, said


@pytest.mark.parametrize("name", NETS)
def test_what_stays_float_is_listed(name: str) -> None:
    _, _, plan = quantized(name)
    codes = {item.code for item in plan.left_out if item.kind == "tensor"}
    assert codes == NETS[name].left, plan.left_out


def test_the_table_is_large() -> None:
    assert len(NETS) > 60
