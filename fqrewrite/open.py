"""What a command is given to read: a graph file, or a checkpoint and the graph that it belongs to."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from fqrewrite.errors import ConfigError, InputError, path_text
from fqrewrite.model.checkpoint import STATE_FILE, Checkpoint, find_checkpoint
from fqrewrite.model.container import Model, load
from fqrewrite.provenance import find_provenance


class Source(NamedTuple):
    """An open model, and its checkpoint.

    Attributes:
        model: the graph.
        checkpoint: None for a graph alone.
        path: as it was given.
    """

    model: Model
    checkpoint: Checkpoint | None
    path: Path

    @property
    def files(self) -> list[Path]:
        """What is read, or belongs to what is read, and must not be written over."""
        if self.checkpoint is None:
            return [self.model.path]
        # The state file of a directory may name a checkpoint in another.
        return [self.model.path, *own_files(self.checkpoint), self.path / STATE_FILE]

    @property
    def kind(self) -> str:
        """What the report calls it."""
        return "checkpoint" if self.checkpoint else self.model.source_kind


def own_files(checkpoint: Checkpoint) -> list[Path]:
    """The files of a checkpoint, its graph and the state file of its directory, whether they are read or not."""
    state = Path(checkpoint.prefix.rpartition("/")[0] or ".") / STATE_FILE
    return [*checkpoint.files, *([checkpoint.meta] if checkpoint.meta else []), state]


def open_checkpoint(path: Path) -> tuple[Checkpoint, Model | None]:
    """Finds a checkpoint whose graph need not be known; it comes along if it lies beside it.

    Raises:
        InputError: `checkpoint-not-found`, and as `open_source`.
    """
    checkpoint = find_checkpoint(path)
    if checkpoint is None:
        raise InputError("checkpoint-not-found", "this is no checkpoint", where=path_text(path))
    return checkpoint, load(checkpoint.meta) if checkpoint.meta else None


def open_source(path: Path, graph_file: Path | None = None) -> Source:
    """Opens a graph file or a checkpoint.

    Args:
        path: a graph file, or a checkpoint's prefix, directory or file.
        graph_file: the graph of the checkpoint; None for the .meta file beside it.

    Raises:
        ConfigError: `checkpoint-without-graph`; `model-without-checkpoint` for a graph file of a graph file;
            `model-not-of-checkpoint` for another graph than that which fqrewrite made for the training.
        InputError: see `model.checkpoint.find_checkpoint` and `model.container.load`.
    """
    checkpoint = find_checkpoint(path)
    if checkpoint is None:
        if graph_file is not None:
            what = "this is no checkpoint, and --model names the graph of a checkpoint"
            raise ConfigError("model-without-checkpoint", what, where=path_text(path))
        return Source(load(path), None, path)
    graph = graph_file or checkpoint.meta
    if graph is None:
        what = "the checkpoint has no .meta file beside it, so its graph is not known"
        raise ConfigError("checkpoint-without-graph", what, where=path_text(path))
    model = load(graph)
    if graph_file is not None and checkpoint.meta is not None:
        _check_graph(model, checkpoint.meta)
    return Source(model, checkpoint, path)


def _check_graph(model: Model, own: Path) -> None:
    """Refuses a graph that knows less than the checkpoint's own: how it was trained, and with which settings."""
    if find_provenance(model.graph_def, path_text(model.path)) is None:
        found = find_provenance(load(own).graph_def, path_text(own))
        if found is not None and found[0].mode == "train":
            what = "the checkpoint's own graph says how it was trained, and this one does not"
            raise ConfigError("model-not-of-checkpoint", what, where=path_text(model.path))
