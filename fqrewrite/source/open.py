"""What a command is given to read: a graph file, a SavedModel, or a checkpoint and the graph that it belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from fqrewrite.errors import ConfigError, InputError, path_text
from fqrewrite.ir.graph import split_tensor
from fqrewrite.model.checkpoint import STATE_FILE, Checkpoint, find_checkpoint
from fqrewrite.model.container import Model, choose_signatures, is_saved_model, load
from fqrewrite.model.saved_model import SERVING_DEFAULT, output_names
from fqrewrite.model.saved_model_read import signature_keys
from fqrewrite.model.variables import VARIABLES
from fqrewrite.plans.outputs import quantized_names
from fqrewrite.source.provenance import find_provenance


class Choice(NamedTuple):
    """What is meant of a SavedModel; see `model.container.load`."""

    tag_set: tuple[str, ...] | None = None
    signatures: tuple[str, ...] | None = ()


DEFAULT = Choice()


class Source(NamedTuple):
    """An open model, and its checkpoint.

    Attributes:
        model: the graph.
        checkpoint: None for a graph alone. Of a SavedModel, its variables, if the graph has any.
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
    def directory(self) -> Path | None:
        """The directory of a SavedModel, in which nothing may be written; None of anything else."""
        return directory_of(self.model)

    @property
    def kind(self) -> str:
        """What the report calls it."""
        return self.model.source_kind if self.checkpoint is None or self.has_own_values else "checkpoint"

    @property
    def has_own_values(self) -> bool:
        """Whether the checkpoint is the one with the variables of the SavedModel that the graph is from."""
        saved_model = self.model.saved_model
        return bool(saved_model and self.checkpoint and self.checkpoint.prefix == str(saved_model.variables))


def choices(paths: Sequence[Path], choice: Choice) -> list[Choice]:
    """The choice for each of several inputs: the one given for SavedModels, the default for everything else.

    Raises:
        ConfigError: `saved-model-option` when something is chosen and no input is a SavedModel.
    """
    found = [choice if is_saved_model(path) else Choice(None, choice.signatures and ()) for path in paths]
    if choice not in found and (choice.tag_set is not None or choice.signatures):
        what = "none of these is a SavedModel, and tags and signatures are chosen in a SavedModel only"
        raise ConfigError("saved-model-option", what, where=", ".join(map(path_text, paths)))
    return found


def directory_of(model: Model | None) -> Path | None:
    """The directory of the SavedModel that a model was read from; None for a file."""
    return model.saved_model.directory if model and model.saved_model else None


def own_files(checkpoint: Checkpoint) -> list[Path]:
    """The files of a checkpoint, its graph and the state file of its directory, whether they are read or not."""
    state = Path(checkpoint.prefix.rpartition("/")[0] or ".") / STATE_FILE
    return [*checkpoint.files, *([checkpoint.meta] if checkpoint.meta else []), state]


def open_checkpoint(path: Path, choice: Choice = DEFAULT) -> tuple[Checkpoint, Model | None]:
    """Finds a checkpoint whose graph need not be known; it comes along if it lies beside it, or in a SavedModel.

    Raises:
        InputError: `checkpoint-not-found`, and as `open_source`.
    """
    checkpoint = find_checkpoint(path)
    if checkpoint is not None:
        return checkpoint, load(checkpoint.meta) if checkpoint.meta else None
    source = open_source(path, choice=choice) if path.is_dir() else None
    if source is None or source.checkpoint is None:
        raise InputError("checkpoint-not-found", "this is no checkpoint", where=path_text(path))
    return source.checkpoint, source.model


def open_source(
    path: Path, graph_file: Path | None = None, choice: Choice = DEFAULT, *, needs_values: bool = True
) -> Source:
    """Opens a graph file, a SavedModel or a checkpoint.

    Args:
        path: a graph file, a SavedModel's directory, or a checkpoint's prefix, directory or file.
        graph_file: the graph of the checkpoint, or a SavedModel that it was trained from; None for the .meta file
            beside it.
        choice: of a SavedModel.
        needs_values: whether a SavedModel with variables must have their values.

    Raises:
        ConfigError: `checkpoint-without-graph`; `model-without-checkpoint` for a graph file of a graph file;
            `model-not-of-checkpoint` for another graph than that which fqrewrite made for the training.
        InputError: `saved-model-variables-missing`; see `model.checkpoint.find_checkpoint` and `model.container.load`.
    """
    checkpoint = find_checkpoint(path)
    if checkpoint is None:
        if graph_file is not None:
            what = "this is no checkpoint, and --model names the graph of a checkpoint"
            raise ConfigError("model-without-checkpoint", what, where=path_text(path))
        model = open_model(path, choice)
        return Source(model, saved_variables(model) if needs_values else None, path)
    graph = graph_file or checkpoint.meta
    if graph is None:
        what = "the checkpoint has no .meta file beside it, so its graph is not known"
        raise ConfigError("checkpoint-without-graph", what, where=path_text(path))
    model = open_model(graph, choice)
    if graph_file is not None and checkpoint.meta is not None:
        _check_graph(model, checkpoint.meta)
    return Source(model, checkpoint, path)


def open_model(path: Path, choice: Choice = DEFAULT) -> Model:
    """Opens a graph file or a SavedModel; what `train` made of one is opened with the signatures that it was made for.

    Raises:
        InputError, ConfigError: as `model.container.load`.
        Refusal: as `source.provenance.find_provenance`.
    """
    if choice.signatures != () or not is_saved_model(path):
        return load(path, tag_set=choice.tag_set, signatures=choice.signatures)
    model = load(path, tag_set=choice.tag_set, signatures=None)
    choose_signatures(model, _signatures_made_for(model))
    return model


def _signatures_made_for(model: Model) -> tuple[str, ...]:
    """The signatures that give the outputs of the plan that a rewritten graph was made by; none for another model.

    In a model of TensorFlow 2 the plan's names are those of another graph; there they are those of the same keys.
    """
    known = signature_keys(model.message) if model.saved_model else []
    if model.saved_model is None or (model.saved_model.has_objects and SERVING_DEFAULT in known):
        return ()
    found = find_provenance(model.graph_def, path_text(model.path))
    if found is None:
        return ()
    provenance, scope = found
    if model.saved_model.has_objects:
        return tuple(key for key in provenance.calls if key in known)
    behind = quantized_names(provenance.plan) if provenance.mode == "eval" else {}
    outputs = {f"{scope}{behind.get(tensor, tensor)}" for tensor in provenance.plan.outputs}
    definitions = model.message.signature_def
    named = {key: {":".join(map(str, split_tensor(name))) for name in output_names(definitions[key])} for key in known}
    exact = [key for key, names in named.items() if names == outputs]
    return tuple(exact or [key for key, names in named.items() if names <= outputs])


def saved_variables(model: Model, *, always: bool = False) -> Checkpoint | None:
    """The checkpoint with the variables of a SavedModel; None when its graph has none, or for another model.

    Args:
        model: as it was opened.
        always: whether it is needed, variables or not: TensorFlow 2 keeps the graph of its objects there, too.

    Raises:
        InputError: `saved-model-variables-missing`, and as `model.checkpoint.find_checkpoint`.
    """
    saved_model = model.saved_model
    if saved_model is None:
        return None
    count = sum(node.op in VARIABLES for node in model.graph_def.node)
    if not count and not always:
        return None
    checkpoint = find_checkpoint(saved_model.variables)
    if checkpoint is None:
        index = path_text(f"{saved_model.variables}.index")
        missed = (
            f"the graph has {count} variables, and the file with their values" if count else "the file of its objects"
        )
        what = f"{missed} does not exist: {index}"
        raise InputError("saved-model-variables-missing", what, where=path_text(saved_model.directory))
    return checkpoint


def _check_graph(model: Model, own: Path) -> None:
    """Refuses a graph that knows less than the checkpoint's own: how it was trained, and with which settings."""
    if find_provenance(model.graph_def, path_text(model.path)) is None:
        found = find_provenance(load(own).graph_def, path_text(own))
        if found is not None and found[0].mode == "train":
            what = "the checkpoint's own graph says how it was trained, and this one does not"
            raise ConfigError("model-not-of-checkpoint", what, where=path_text(model.path))
