"""Statistics in a ranges file: that they survive, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fqrewrite.errors import InputError
from fqrewrite.model.ranges_file import read_ranges
from fqrewrite.model.statistics_file import (
    Average,
    Histogram,
    Statistics,
    TensorStatistics,
    read_statistics,
    statistics_to_json,
)

SEEN = TensorStatistics(minimum=-0.1, maximum=6.0, bits=8, symmetric=False, narrow_range=True)
WHOLE = Statistics(
    model="ab",
    method="percentile",
    percentile=99.9,
    samples=100,
    batches=13,
    tensors={
        "a:0": SEEN,
        'b/"odd":1': TensorStatistics(
            minimum=0.0,
            maximum=0.1,
            bits=4,
            symmetric=True,
            narrow_range=False,
            average=Average(low=1 / 3, high=2 / 3, steps=7, decay=0.9),
            histogram=Histogram(exponent=-12, first=-3, counts=(1, 0, 5), zeros=9),
        ),
    },
)
RANGES = {"a:0": ((-0.5,), (6.0,))}


def write(folder: Path, text: str) -> Path:
    (folder / "r.json").write_text(text, encoding="utf-8")
    return folder / "r.json"


def test_what_is_written_is_read(tmp_path: Path) -> None:
    text = statistics_to_json(WHOLE, RANGES)
    path = write(tmp_path, text)
    assert read_statistics(path) == WHOLE
    assert read_ranges(path) == RANGES
    assert statistics_to_json(read_statistics(path), RANGES) == text
    assert '\n    "a:0": {' in text  # a line for each tensor


def test_statistics_of_nothing(tmp_path: Path) -> None:
    nothing = Statistics(model="ab", method="min-max", samples=0, batches=0, tensors={})
    assert read_statistics(write(tmp_path, statistics_to_json(nothing, {}))) == nothing


def test_ranges_without_statistics(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_statistics(write(tmp_path, '{"version": 1, "ranges": {}}'))
    assert caught.value.code == "statistics-missing"


def test_files_that_are_damaged(tmp_path: Path) -> None:
    good = json.loads(statistics_to_json(WHOLE, RANGES))
    tensor = good["statistics"]["a:0"]
    bad = [
        {**good, "version": 2},
        {**good, "method": "magic"},
        {**good, "samples": -1},
        {**good, "percentile": 0},
        {**good, "statistics": []},
        {**good, "statistics": {"a:0": {**tensor, "minimum": 7}}},
        {**good, "statistics": {"a:0": {**tensor, "maximum": 1e39}}},
        {**good, "statistics": {"a:0": {**tensor, "histogram": {"exponent": 0, "first": 0, "counts": [-1]}}}},
    ]
    for text in ["", "[]", "{}", *map(json.dumps, bad)]:
        with pytest.raises(InputError) as caught:
            read_statistics(write(tmp_path, text))
        assert caught.value.code == "ranges-unreadable", text
    with pytest.raises(InputError) as caught:
        read_statistics(tmp_path / "none.json")
    assert caught.value.code == "ranges-unreadable"
