"""Paths in messages and reports can be printed and encoded, whatever the file system says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fqrewrite.errors import FqrewriteError, path_text


@pytest.mark.parametrize(
    ("name", "text"), [(b"a b.pb", "a b.pb"), ("ö日".encode(), "ö日"), (b"odd\xff.pb", r"odd\xff.pb")]
)
def test_paths_as_text(name: bytes, text: str) -> None:
    assert path_text(Path(os.fsdecode(name))) == text


def test_errors_say_where_and_carry_their_code() -> None:
    assert str(FqrewriteError("a-code", "it is wrong", where="f:3")) == "f:3: it is wrong [a-code]"
    assert str(FqrewriteError("a-code", "it is wrong")) == "it is wrong [a-code]"
