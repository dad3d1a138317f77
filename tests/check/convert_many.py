"""Converts many small graphs: `python convert_many.py DIRECTORY MODULE NAME...`, each in a fork of one process.

MODULE has `made(name)`, which gives a GraphDef with fake quantizers, its outputs, and the target's name.

Importing TensorFlow takes seconds, and the converter takes its process down on some graphs. For each case a directory
gets the SavedModel, and what the child process of `fqrewrite check --convert` leaves behind.
"""

from __future__ import annotations

import os
import sys
import traceback
from importlib import import_module
from pathlib import Path

from fqrewrite.check.child import work
from fqrewrite.check.conversion import prepare
from fqrewrite.check.subject import Subject
from fqrewrite.check.targets import TARGETS
from fqrewrite.ir.graph import Graph
from fqrewrite.model.tensorflow_import import tensorflow

SIGNAL = "signal"


def main(directory: Path, module: str, names: list[str]) -> None:
    """Converts the cases of these names, in order."""
    tensorflow()
    table = import_module(f"check.{module}")
    for number, name in enumerate(names):
        into = directory / str(number)
        into.mkdir()
        child = os.fork()  # before TensorFlow has any threads: what is forked later hangs
        if child == 0:
            try:
                message, outputs, target = table.made(name)
                graph = Graph(message)
                subject = Subject(graph, [graph.value(output) for output in outputs])
                prepare(into, message, subject, TARGETS[target], samples=3)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
            try:
                work(into)
            finally:
                os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            (into / SIGNAL).write_text(str(os.WTERMSIG(status)), encoding="ascii")
        elif status:
            sys.exit(f"{name} could not be made")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
