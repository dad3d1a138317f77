"""The shipped model in quantization-aware training, as users of `fqrewrite train` train it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from command_line import EXAMPLES
from numeric import Arrays, session_config, tf1

LOGITS = "logits/BiasAdd/quant/FakeQuantWithMinMaxVars:0"
"""What the eval graph of the shipped model gives: the quantized logits."""

_BATCH = 16


def pictures(number: int = 64) -> Any:
    """The first test pictures, float32[number, 28, 28, 1]."""
    images = np.load(EXAMPLES / "sample.npz")["images"][:number]
    return (images[..., None] / 255).astype(np.float32)


def _feed(step: int, scope: str) -> dict[str, Any]:
    sample = np.load(EXAMPLES / "sample.npz")
    chosen = np.random.RandomState(step).choice(len(sample["labels"]), _BATCH, replace=False)
    images = (sample["images"][chosen][..., None] / 255).astype(np.float32)
    return {f"{scope}images:0": images, f"{scope}labels:0": sample["labels"][chosen]}


def start_training(meta: Path, start: Path, folder: Path, saves: Sequence[int], *, scope: str = "") -> None:
    """Trains a graph that `fqrewrite train` wrote with Adam, from a warm start, and saves ``folder/ckpt-STEP``.

    Args:
        meta: the training graph.
        start: prefix of the checkpoint to start from, in the graph's own names.
        folder: for checkpoints and their state file.
        saves: steps after which is saved; training ends with the last.
        scope: name scope to import the graph under, with a slash at its end; "" for none.
    """
    graph = tf1.Graph()
    with graph.as_default():
        tf1.train.import_meta_graph(str(meta), import_scope=scope.rstrip("/") or None)
        own = {variable.op.name.removeprefix(scope): variable for variable in tf1.global_variables()}
        starter = tf1.train.Saver(own)
        with tf1.control_dependencies(tf1.get_collection(tf1.GraphKeys.UPDATE_OPS)):
            loss = graph.get_tensor_by_name(f"{scope}loss:0")
            tf1.train.AdamOptimizer(1e-3).minimize(loss, name="train_step")
        saver = tf1.train.Saver(max_to_keep=None)
        with tf1.Session(graph=graph, config=session_config()) as session:
            session.run(tf1.global_variables_initializer())
            starter.restore(session, str(start))
            _steps(session, saver, range(1, saves[-1] + 1), folder, saves, scope)


def resume_training(checkpoint: Path, folder: Path, begin: int, end: int) -> None:
    """Goes on from a checkpoint in a new session, after step `begin`, and saves after step `end`."""
    graph = tf1.Graph()
    with graph.as_default(), tf1.Session(graph=graph, config=session_config()) as session:
        saver = tf1.train.import_meta_graph(f"{checkpoint}.meta")
        saver.restore(session, str(checkpoint))
        _steps(session, saver, range(begin + 1, end + 1), folder, [end], "")


def _steps(session: Any, saver: Any, steps: range, folder: Path, saves: Sequence[int], scope: str) -> None:
    for step in steps:
        session.run("train_step", _feed(step, scope))
        if step in saves:
            saver.save(session, str(folder / "ckpt"), global_step=step)


def values(checkpoint: Path) -> Arrays:
    """All variables in a checkpoint by name."""
    reader = tf1.train.load_checkpoint(str(checkpoint))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def run_graph(graph_def: Any, fetch: str, feed: Mapping[str, Any]) -> Any:
    """Runs a GraphDef that has no variables; of TensorFlow's class or of fqrewrite's own."""
    graph = tf1.Graph()
    with graph.as_default():
        tf1.import_graph_def(tf1.GraphDef.FromString(graph_def.SerializeToString()), name="")
    with tf1.Session(graph=graph, config=session_config()) as session:
        return session.run(fetch, feed)


def run_checkpoint(meta: Any, checkpoint: Path, fetch: str, feed: Mapping[str, Any]) -> Any:
    """Restores a checkpoint into a graph, with the graph's own saver or else a new one, and runs it.

    Args:
        meta: MetaGraphDef, or the path of one.
        checkpoint: prefix.
        fetch, feed: as of a session.
    """
    graph = tf1.Graph()
    with graph.as_default():
        saver = tf1.train.import_meta_graph(meta if not isinstance(meta, Path) else str(meta)) or tf1.train.Saver()
        with tf1.Session(graph=graph, config=session_config()) as session:
            saver.restore(session, str(checkpoint))
            return session.run(fetch, feed)
