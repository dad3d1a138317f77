"""What every test of this suite needs before TensorFlow is imported."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

# oneDNN, on by default, shifts numbers and crashes on some ordinary float graphs (TensorFlow 2.21, CPU).
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"


@pytest.fixture(scope="module")
def tensorflow_2() -> Iterator[None]:
    """TensorFlow 2 as its users have it; other tests switch the whole process over to graphs."""
    from tensorflow.python.eager.context import eager_mode

    with eager_mode():
        yield
