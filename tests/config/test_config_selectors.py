"""Selectors: what matches and what does not, and patterns that could never match."""

from __future__ import annotations

import pytest

from fqrewrite.config.selectors import Selector, check
from fqrewrite.errors import ConfigError


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("scope1", ["scope1", "scope1/x", "scope1/x/y"], ["scope10/x", "a/scope1", "scope"]),
        ("scope1/", ["scope1", "scope1/x"], ["scope10/x"]),
        ("a.b", ["a.b", "a.b/c"], ["axb"]),
        ("a/*", ["a/b"], ["a", "a/b/c", "b/a/c"]),
        ("a/conv?", ["a/conv1"], ["a/conv", "a/conv12", "a/conv/"]),
        ("*", ["a"], ["a/b"]),
        ("**", ["a", "a/b/c"], []),
        ("**/**", ["a", "a/b/c"], []),
        ("a/**", ["a", "a/b", "a/b/c"], ["ab", "ab/c", "b/a"]),
        ("a/**/**", ["a", "a/b/c"], ["ab"]),
        ("**/b", ["b", "a/b", "a/a/b"], ["ab", "b/a", "a/b/c"]),
        ("a/**/b", ["a/b", "a/x/b", "a/x/y/b"], ["ab", "a/xb", "a/b/c"]),
        ("a/**/**/b", ["a/b", "a/x/y/b"], ["ab"]),
        ("**/b/**", ["b", "a/b", "b/c", "a/b/c/d"], ["ab/c", "a/bc"]),
        ("*_pw/w*", ["c_pw/weights", "_pw/w"], ["a/c_pw/w"]),
        ("regex:a.c", ["abc", "a/c"], ["xabc", "abcd"]),
        (r"regex:.*/conv\d+", ["net/conv12"], ["conv1", "net/conv1/x"]),
    ],
)
def test_names(pattern: str, matching: list[str], others: list[str]) -> None:
    check(pattern, where="here")
    selector = Selector(name=pattern)
    assert [name for name in matching + others if selector.matches((name,), "Conv2D")] == matching


def test_either_the_node_or_its_variable_may_be_meant() -> None:
    names = ("MobilenetV1/MobilenetV1/Conv2d_0/Conv2D", "MobilenetV1/Conv2d_0/weights")
    assert Selector(name="MobilenetV1/Conv2d_0/**").matches(names, "Conv2D")
    assert Selector(name="MobilenetV1/MobilenetV1/Conv2d_0").matches(names, "Conv2D")
    assert not Selector(name="MobilenetV1/Conv2d_1").matches(names, "Conv2D")


def test_op_types_are_compared_whole_and_together_with_the_name() -> None:
    either = Selector(ops=("MatMul", "Conv2D"))
    assert either.matches(("x",), "MatMul")
    assert not either.matches(("x",), "BatchMatMul")
    both = Selector(name="net", ops=("Conv2D",))
    assert both.matches(("net/a",), "Conv2D")
    assert not both.matches(("net/a",), "MatMul")
    assert not both.matches(("a",), "Conv2D")


def test_as_text() -> None:
    assert str(Selector(name="net/**", ops=("Conv2D", "MatMul"))) == "net/** and op Conv2D or MatMul"
    assert str(Selector(ops=("MatMul",))) == "op MatMul"


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("/a", "begins with a slash"),
        ("a//b", "empty component"),
        ("conv1:0", "names a tensor"),
        ("a**b", "** next to other characters"),
        ("a/[bc]", "'['"),
        ("a b", "' '"),
        ("regex:(", "not a regular expression"),
    ],
)
def test_patterns_that_could_never_match(pattern: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check(pattern, where="f.yaml:3: rules[0].match")
    assert caught.value.code == "config-selector"
    assert caught.value.where == "f.yaml:3: rules[0].match"
    assert message in caught.value.what
