"""Runs the command line as its users do: in a process of its own, in an empty folder."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
from command_line import EXAMPLES, Result, Run, Write, run_in, write_in


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


FREEZE = 60


class Trained(NamedTuple):
    """The shipped model after some quantization-aware training. Tests only read it.

    Attributes:
        folder: where everything lies, and commands ran.
        train: the training graph, batch norms frozen from step `FREEZE`.
        warm: prefix of the checkpoint that training started from.
        warm_start: what the command said that made it.
        checkpoints: folder of ``ckpt-100`` and ``ckpt-110``.
        frozen: the frozen eval graph of the latter, made by its prefix.
        evaluated: what the command said that made it.
    """

    folder: Path
    train: Path
    warm: Path
    warm_start: Result
    checkpoints: Path
    frozen: Path
    evaluated: Result

    @property
    def latest(self) -> Path:
        """Prefix of the later checkpoint."""
        return self.checkpoints / "ckpt-110"


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    from quantized_training import start_training

    folder = tmp_path_factory.mktemp("trained")
    (folder / "run").mkdir()
    run = partial(run_in, folder)
    assert run("train", EXAMPLES / "model.meta", "-o", "train.meta", "-q", "--freeze-bn-delay", str(FREEZE)).status == 0
    warm_start = run("warm-start", EXAMPLES / "model", "train.meta", "-o", "warm")
    assert warm_start.status == 0, warm_start
    start_training(folder / "train.meta", folder / "warm", folder / "run", [100, 110])
    evaluated = run("eval", "run/ckpt-110", "-o", "frozen.pb")
    assert evaluated.status == 0, evaluated
    return Trained(
        folder=folder,
        train=folder / "train.meta",
        warm=folder / "warm",
        warm_start=warm_start,
        checkpoints=folder / "run",
        frozen=folder / "frozen.pb",
        evaluated=evaluated,
    )


def _copy(name: str, folder: Path) -> Path:
    (folder / name).write_bytes((EXAMPLES / name).read_bytes())
    return folder / name
