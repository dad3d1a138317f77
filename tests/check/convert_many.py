"""Converts many small graphs: `python convert_many.py DIRECTORY NAME...`, each in a fork of a process with TensorFlow.

Importing TensorFlow takes seconds, and the converter takes its process down on some graphs. For each case a directory
gets the SavedModel, and what the child process of `fqrewrite check --convert` leaves behind.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from fqrewrite.check.child import work
from fqrewrite.check.conversion import prepare
from fqrewrite.check.subject import Subject
from fqrewrite.check.targets import TARGETS
from fqrewrite.ir.graph import Graph
from fqrewrite.model.tensorflow_import import tensorflow
from fqrewrite.proto import GraphDef

SIGNAL = "signal"


def main(directory: Path, names: list[str]) -> None:
    """Converts the cases of these names, in order."""
    tf = tensorflow()
    from check.small_graphs import CASES, Case

    def write(case: Case, into: Path) -> None:
        with tf.Graph().as_default() as built:
            made = case.build()
        outputs = [output.name for output in (made if isinstance(made, list) else [made])]
        message = GraphDef.FromString(built.as_graph_def().SerializeToString())
        graph = Graph(message)
        subject = Subject(graph, [graph.value(name) for name in outputs])
        prepare(into, message, subject, TARGETS[case.target], samples=3)

    for number, name in enumerate(names):
        into = directory / str(number)
        into.mkdir()
        write(CASES[name], into)
        child = os.fork()
        if child == 0:
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


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
