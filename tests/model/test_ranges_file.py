"""The ranges file: what is read, what is refused, and that it survives writing."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fqrewrite.errors import InputError
from fqrewrite.model.ranges_file import Range, ranges_to_json, read_ranges

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


def write(folder: Path, text: str) -> Path:
    file = folder / "r.json"
    file.write_text(text, encoding="utf-8")
    return file


def failure(path: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        read_ranges(path)
    return caught.value


def test_what_is_read(tmp_path: Path) -> None:
    text = """{"version": 1, "method": "minmax", "statistics": {"relu1:0": {"count": 3}}, "samples": 3,
    "ranges": {"relu1": [0, 6], "a/b:1": [0.1, 5.5], "w:0": [[-1, -2.5], [1, 0]], "none": [3, 3], "z": [-0.0, 1]}}"""
    assert read_ranges(write(tmp_path, text)) == {
        "relu1:0": ((0.0,), (6.0,)),
        "a/b:1": ((struct.unpack("<f", struct.pack("<f", 0.1))[0],), (5.5,)),
        "w:0": ((-1.0, -2.5), (1.0, 0.0)),
        "none:0": ((3.0,), (3.0,)),
        "z:0": ((0.0,), (1.0,)),
    }


def test_a_byte_order_mark_and_no_ranges_at_all(tmp_path: Path) -> None:
    assert read_ranges(write(tmp_path, '\ufeff{"version": 1, "ranges": {}}')) == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "it is not JSON"),
        ("{'version': 1}", "it is not JSON"),
        ('{"version": 1, "ranges": {"a": [' + "9" * 5000 + ", 1]}}", "it is not JSON"),
        ("[" * 100_000, "it is not JSON"),
        ("[]", "this is no ranges file"),
        ("{}", "this is no ranges file"),
        ('{"version": 1, "range": {}}', "this is no ranges file"),
        ('{"version": 1, "ranges": []}', "this is no ranges file"),
        ('{"ranges": {}}', "the file has no version, this fqrewrite reads version 1"),
        ('{"version": 2, "ranges": {}}', "the file is of version 2"),
        ('{"version": true, "ranges": {}}', "the file is of version true"),
        ('{"version": 1, "ranges": {}, "ranges": {}}', "the key 'ranges' is given twice"),
    ],
)
def test_what_is_no_ranges_file(tmp_path: Path, text: str, words: str) -> None:
    path = write(tmp_path, text)
    error = failure(path)
    assert (error.code, error.where) == ("ranges-unreadable", str(path))
    assert words in error.what
    assert len(error.what) < 300


def test_files_that_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "nowhere.json", tmp_path, tmp_path / "binary.json"):
        error = failure(path)
        assert (error.code, error.where) == ("ranges-unreadable", str(path))


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ('"a": 6', "expected [min, max]"),
        ('"a": {"b": 1}', "expected [min, max]"),
        ('"a": [6]', "expected [min, max]"),
        ('"a": [0, 1, 2]', "expected [min, max]"),
        ('"a": [0, [1, 2]]', "as many minima as maxima"),
        ('"a": [[0], [1, 2]]', "as many minima as maxima"),
        ('"a": [[], []]', "as many minima as maxima"),
        ('"a": [0, "6"]', 'expected a number, got "6"'),
        ('"a": [0, null]', "expected a number, got null"),
        ('"a": [false, 6]', "expected a number, got false"),
        ('"a": [[0, [1]], [1, 2]]', "expected a number, got [1]"),
        ('"a": [NaN, 6]', "expected a finite number, got nan"),
        ('"a": [0, Infinity]', "expected a finite number, got inf"),
        ('"a": [0, 1e39]', "1e+39 does not fit into float32"),
        ('"a": [0, 1' + "0" * 400 + "]", "does not fit into float32"),
        ('"a": [6, 0]', "min 6 is greater than max 0"),
        ('"a": [[0, 3], [1, 2]]', "min 3 is greater than max 2"),
        ('"a": [0, 1], "a": [0, 2]', "a:0 is given twice"),
        ('"a:0": [0, 1], "a": [0, 2]', "a:0 is given twice"),
        ('"^a": [0, 1]', "'^a' is not the name of a tensor"),
        ('"a:b": [0, 1]', "'a:b' is not the name of a tensor"),
        ('"": [0, 1]', "'' is not the name of a tensor"),
    ],
)
def test_entries_that_are_no_range(tmp_path: Path, entry: str, words: str) -> None:
    path = write(tmp_path, f'{{"version": 1, "ranges": {{{entry}}}}}')
    error = failure(path)
    assert error.code == "range-invalid"
    assert words in error.what
    assert len(error.what) < 100
    assert str(error.where).startswith(f"{path}: ranges")


def test_the_text_that_is_written() -> None:
    ranges: dict[str, Range] = {"z:0": ((0.0,), (float.fromhex("0x1.99999ap-4"),)), "a:0": ((-1.0, 0.0), (1.0, 2.5))}
    expected = """{
  "version": 1,
  "method": "minmax",
  "statistics": {"a": 1, "b": 2},
  "ranges": {
    "a:0": [[-1.0, 0.0], [1.0, 2.5]],
    "z:0": [0.0, 0.1]
  }
}
"""
    assert ranges_to_json(ranges, method="minmax", statistics={"b": 2, "a": 1}) == expected
    assert json.loads(ranges_to_json({})) == {"version": 1, "ranges": {}}


@given(
    st.dictionaries(
        st.from_regex(r"[a-z][a-z/]{0,7}:[0-9]", fullmatch=True),
        st.lists(st.tuples(FLOATS, FLOATS).map(sorted), min_size=1, max_size=3),
        max_size=4,
    )
)
def test_writing_and_reading_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, pairs: dict[str, list[list[float]]]
) -> None:
    ranges: dict[str, Range] = {
        name: (tuple(low for low, _ in channels), tuple(high for _, high in channels))
        for name, channels in pairs.items()
    }
    text = ranges_to_json(ranges)
    assert ranges_to_json(dict(reversed(ranges.items()))) == text
    assert read_ranges(write(tmp_path_factory.mktemp("r"), text)) == ranges
