"""Running the command line in a process of its own, and graphs to run it on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from google.protobuf import text_format

from fqrewrite.ir.text import parse
from fqrewrite.proto import MetaGraphDef

ROOT = Path(__file__).resolve().parents[1]
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
y = Elu(x)
"""


class Result(NamedTuple):
    """What a run left behind: exit status, standard output and standard error."""

    status: int
    out: str
    err: str


Run: TypeAlias = Callable[..., Result]
"""Runs ``fqrewrite ARGS...`` in the folder of the test; keyword arguments are environment variables."""

Write: TypeAlias = Callable[[str, str], Path]
"""Writes a graph in the printed form of `fqrewrite.ir.text` to a file, in the kind and format of its suffix."""


def run_in(folder: Path, *args: str | Path, **environment: str) -> Result:
    """Runs ``fqrewrite ARGS...``; whatever happens, it must not end in a traceback or by a bug."""
    command = [sys.executable, "-m", "fqrewrite", *map(str, args)]
    known = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    done = subprocess.run(command, cwd=folder, env=known, capture_output=True, check=False, timeout=60)
    assert b"Traceback" not in done.stderr and b"internal-error" not in done.stderr, done.stderr.decode()
    return Result(done.returncode, done.stdout.decode(), done.stderr.decode())


def write_in(folder: Path, name: str, text: str) -> Path:
    """As `Write`."""
    message: Any = parse(text)
    if ".meta" in name:
        message = MetaGraphDef(graph_def=message)
    path = folder / name
    if name.endswith(".pbtxt"):
        path.write_text(text_format.MessageToString(message), encoding="utf-8")
    else:
        path.write_bytes(message.SerializeToString(deterministic=True))
    return path


def refused(done: Result, status: int, code: str, *said: str) -> None:
    """Checks an error: its status, a message and its remedy on standard error, a code, and what it says.

    A message that lists things has them on indented lines of their own.
    """
    assert done.status == status, done
    first, *listed, last = done.err.splitlines()
    assert first.startswith("error: ") and " ".join([first, *listed]).endswith(f" [{code}]"), done.err
    assert all(line.startswith("  ") for line in listed), done.err
    assert last.startswith("  what to do: ") and last.endswith("."), done.err
    for words in said:
        assert words in done.err
