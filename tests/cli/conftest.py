"""Runs the command line as its users do: in a process of its own, in an empty folder."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import pytest
from google.protobuf import text_format

from fqrewrite.ir.text import parse
from fqrewrite.proto import MetaGraphDef

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples" / "fashion_mnist"

# conv, bias, relu6; matmul, bias. The second layer's scope is called head.
NET = """
x = Placeholder {shape: [?, 8, 8, 3]}
conv/w = VariableV2 {shape: [3, 3, 3, 4]}
conv/w/read = Identity(conv/w)
conv/b = VariableV2 {shape: [4]}
conv/b/read = Identity(conv/b)
conv/Conv2D = Conv2D(x, conv/w/read)
conv/BiasAdd = BiasAdd(conv/Conv2D, conv/b/read)
conv/Relu6 = Relu6(conv/BiasAdd)
axes = Const {value: [1, 2]}
pool = Mean(conv/Relu6, axes)
head/w = VariableV2 {shape: [4, 5]}
head/w/read = Identity(head/w)
head/b = VariableV2 {shape: [5]}
head/b/read = Identity(head/b)
head/MatMul = MatMul(pool, head/w/read)
head/BiasAdd = BiasAdd(head/MatMul, head/b/read)
"""
FROZEN = """
x = Placeholder {shape: [?, 2]}
w = Const {value: [[1.0, -2.0], [3.0, 0.5]]}
dense/MatMul = MatMul(x, w)
dense/Relu = Relu(dense/MatMul)
"""
FLOAT = """
x = Placeholder {shape: [?, 2]}
y = Neg(x)
"""


class Result(NamedTuple):
    """What a run left behind: exit status, standard output and standard error."""

    status: int
    out: str
    err: str


Run: TypeAlias = Callable[..., Result]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where commands run, and relative paths begin."""
    return tmp_path


@pytest.fixture
def run(folder: Path) -> Run:
    """Runs `fqrewrite ARGS...`; keyword arguments are environment variables."""

    def runs(*args: str | Path, **environment: str) -> Result:
        command = [sys.executable, "-m", "fqrewrite", *map(str, args)]
        known = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
        done = subprocess.run(command, cwd=folder, env=known, capture_output=True, check=False, timeout=60)
        assert b"Traceback" not in done.stderr and b"internal-error" not in done.stderr, done.stderr.decode()
        return Result(done.returncode, done.stdout.decode(), done.stderr.decode())

    return runs


@pytest.fixture
def model(folder: Path) -> Path:
    """The trained network of the repository, in training form; it names its outputs by no collection."""
    return _copy("model.meta", folder)


@pytest.fixture
def model_eval(folder: Path) -> Path:
    """The same network in inference form, with a signature."""
    return _copy("model_eval.meta", folder)


def _copy(name: str, folder: Path) -> Path:
    (folder / name).write_bytes((EXAMPLES / name).read_bytes())
    return folder / name


@pytest.fixture
def write(folder: Path) -> Callable[[str, str], Path]:
    """Writes a graph in the printed form of `fqrewrite.ir.text` to a file, in the kind that its suffix says."""

    def writes(name: str, text: str) -> Path:
        message: Any = parse(text)
        if ".meta" in name:
            message = MetaGraphDef(graph_def=message)
        path = folder / name
        if name.endswith(".pbtxt"):
            path.write_text(text_format.MessageToString(message), encoding="utf-8")
        else:
            path.write_bytes(message.SerializeToString(deterministic=True))
        return path

    return writes


Write: TypeAlias = Callable[[str, str], Path]
