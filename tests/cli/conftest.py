"""Runs the command line as its users do: in a process of its own, in an empty folder."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from command_line import EXAMPLES, Run, Write, run_in, write_in


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where commands run, and relative paths begin."""
    return tmp_path


@pytest.fixture
def run(folder: Path) -> Run:
    return partial(run_in, folder)


@pytest.fixture
def write(folder: Path) -> Write:
    return partial(write_in, folder)


@pytest.fixture
def model(folder: Path) -> Path:
    """The trained network of the repository, in training form."""
    return _copy("model.meta", folder)


@pytest.fixture
def model_eval(folder: Path) -> Path:
    """The same network in inference form."""
    return _copy("model_eval.meta", folder)


def _copy(name: str, folder: Path) -> Path:
    (folder / name).write_bytes((EXAMPLES / name).read_bytes())
    return folder / name
