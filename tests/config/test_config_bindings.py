"""``--set NAME=VALUE``: the scalars of YAML 1.2, and what is refused."""

from __future__ import annotations

import pytest
import yaml

from fqrewrite.config.resolve import resolve
from fqrewrite.errors import ConfigError


def bound(text: str) -> object:
    return resolve(None, bindings=(f"a={text}",)).bindings["a"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True), ("False", False), ("TRUE", True), ("1", 1), ("-7", -7), ("+7", 7), ("007", 7), ("0x1F", 31),
        ("0o17", 15), ("1.0", 1.0), (".5", 0.5), ("-2.", -2.0), ("1e-3", 0.001), ("1E3", 1000.0),
        ("eval", "eval"), ("yes", "yes"), ("1 2", "1 2"), ("a=b", "a=b"), ('"1"', "1"), ("'true'", "true"), ('""', ""),
        ("[1, 2.5, x]", (1, 2.5, "x")), ("[ true ]", (True,)), ("[", "["), ("1_000", "1_000"),
    ],
)  # fmt: skip
def test_values(text: str, value: object) -> None:
    found = bound(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("text", ["true", "3", "-0.25", "1.5e+3", "plain", "'quoted'", "[1, 2]", "0x10"])
def test_where_the_versions_of_yaml_agree_it_is_as_in_a_file(text: str) -> None:
    expected = yaml.safe_load(text)
    assert bound(text) == (tuple(expected) if isinstance(expected, list) else expected)


@pytest.mark.parametrize("text", ["", "~", "null", ".nan", ".inf", "-.inf", "1e999", "[]", "[1,]", "9" * 20])
def test_values_that_no_placeholder_has(text: str) -> None:
    with pytest.raises(ConfigError, match="expected true, false, a finite number, text, or a list") as caught:
        bound(text)
    assert (caught.value.code, caught.value.where) == ("config-value", "--set a")


@pytest.mark.parametrize("text", ["is_training", "=1", " = 1", ""])
def test_a_flag_without_name_or_value(text: str) -> None:
    with pytest.raises(ConfigError, match="expected NAME=VALUE") as caught:
        resolve(None, bindings=[text])
    assert (caught.value.code, caught.value.where) == ("config-value", "--set")


@pytest.mark.parametrize(
    ("texts", "code"),
    [
        (["a=1", "a=2"], "config-duplicate-key"),
        (["a=1", "a:0=1"], "config-duplicate-key"),
        (["a:1=1"], "config-value"),
        (["a b=1"], "config-value"),
    ],
)
def test_names(texts: list[str], code: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(None, bindings=texts)
    assert caught.value.code == code
    assert str(caught.value.where).startswith("--set")
