"""YAML text to values: syntax, duplicate keys, odd values and odd files, each with its line."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from fqrewrite.config.source import parse_source, read_source
from fqrewrite.errors import ConfigError


@pytest.fixture(autouse=True, params=["libyaml", "pure Python"])
def loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both of PyYAML's parsers: wheels without libyaml exist."""
    if request.param == "pure Python":
        monkeypatch.delattr(yaml, "CSafeLoader", raising=False)


def test_values_and_lines_of_nested_data() -> None:
    source = parse_source("a: 1\nb:\n  - {c: 0.5}\n  - {c: text, d: null}\n", "x.yaml")
    assert source.data == {"a": 1, "b": [{"c": 0.5}, {"c": "text", "d": None}]}
    assert source.where(("b", 1, "c")) == "x.yaml:4: b[1].c"
    assert source.where(("b",), key=True) == "x.yaml:2: b"
    assert source.line(("b",)) == 3
    assert source.line(("b", 7, "nowhere")) == 3


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n", "\ufeff"])
def test_empty_text_has_no_data(text: str) -> None:
    assert parse_source(text, "x.yaml").data is None


def test_dates_are_text_and_aliases_are_followed() -> None:
    source = parse_source("a: 2024-13-45\nb: &x [1]\nc: *x\n", "x.yaml")
    assert source.data == {"a": "2024-13-45", "b": [1], "c": [1]}


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("a: 1\nb: [1,\nc: 2\n", "config-syntax", "that begins in line 2"),
        ("a:\n\tb: 1\n", "config-syntax", "no tabs"),
        ("a: 1\n---\nb: 2\n", "config-syntax", "x.yaml:2"),
        ("a: 1\nb: \x07\n", "config-syntax", "x.yaml"),
        ("a: &x\n  b: *x\n", "config-syntax", "alias that contains itself"),
        ("a: *unknown\n", "config-syntax", "undefined alias"),
        ("\n" + "[" * 200_000, "config-syntax", "x.yaml:2: nested too deeply"),
        (
            "a: 1\nb: 2\na: 3\n",
            "config-duplicate-key",
            "x.yaml:3: a: the key a is given twice, first in line 1",
        ),
        ("o:\n  - {k: 1,\n     k: 2}\n", "config-duplicate-key", "x.yaml:3: o[0].k"),
        ("a: 1\nb: !python/object:os.system x\n", "config-value", "x.yaml:2: b: the tag"),
        ("a: !!int eight\n", "config-value", '"eight" is not of the kind int'),
        ("a: !!bool maybe\n", "config-value", '"maybe" is not of the kind bool'),
        ("? [a, b]\n: 1\n", "config-value", "a key that is a list or a mapping"),
    ],
)
def test_refused_text(text: str, code: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_source(text, "x.yaml")
    assert caught.value.code == code
    assert message in str(caught.value)


def test_nested_aliases_do_not_explode() -> None:
    lines = ["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}, *a{i - 1}]" for i in range(1, 60)]
    data = parse_source("\n".join(lines), "x.yaml").data
    assert isinstance(data, dict)
    assert len(data) == 60


def test_files_that_are_no_config(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such config file") as caught:
        read_source(tmp_path / "missing.yaml")
    assert caught.value.code == "config-not-found"
    with pytest.raises(ConfigError, match="this is a folder") as caught:
        read_source(tmp_path)
    assert caught.value.code == "config-unreadable"
    binary = tmp_path / "model.pb"
    binary.write_bytes(b"a: \xff\xfe")
    with pytest.raises(ConfigError, match=r"UTF-8 \(byte 3 is 0xff\)") as caught:
        read_source(binary)
    assert caught.value.code == "config-unreadable"
    with pytest.raises(ConfigError) as caught:
        read_source(binary / "below_a_file.yaml")
    assert caught.value.code == "config-unreadable"


def test_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    file = tmp_path / "bom.yaml"
    file.write_bytes(b"\xef\xbb\xbfversion: 1\n")
    assert read_source(file).data == {"version": 1}
