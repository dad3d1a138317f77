"""Which ops of a converted model are float islands."""

from __future__ import annotations

import pytest

from fqrewrite.check.flatbuffer import LiteOperation


@pytest.mark.parametrize(
    ("name", "inputs", "outputs", "is_island"),
    [
        ("CONV_2D", ("INT8", "INT8", "INT32"), ("INT8",), False),
        ("CONV_2D", ("FLOAT32", "FLOAT32", "-"), ("FLOAT32",), True),
        ("QUANTIZE", ("FLOAT32",), ("INT8",), False),
        ("ARG_MAX", ("FLOAT32", "INT32"), ("INT32",), True),
        ("SHAPE", ("FLOAT32",), ("INT32",), False),
        ("RANK", ("FLOAT32",), ("INT32",), False),
    ],
)
def test_islands(name: str, inputs: tuple[str, ...], outputs: tuple[str, ...], is_island: bool) -> None:
    assert LiteOperation(name, inputs, outputs, ()).is_island == is_island
