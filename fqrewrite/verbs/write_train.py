"""From what `train` was given to what it writes: a graph file, or the SavedModel that the graph was in.

A SavedModel keeps whatever else is in it. Its variables get new ones beside them, which start as the graph initialises
them, and a saver that knows all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from fqrewrite.config.records import Config
from fqrewrite.errors import path_text
from fqrewrite.ir.block import BlockVariable
from fqrewrite.ir.editor import Editor
from fqrewrite.ir.graph import Graph
from fqrewrite.match.parameters import VARIABLE_OPS
from fqrewrite.match.reach import initializer
from fqrewrite.model.atomic import write_all
from fqrewrite.model.checkpoint import Checkpoint
from fqrewrite.model.container import Model, output_format, to_bytes
from fqrewrite.model.directory import files_in, write_directory
from fqrewrite.model.kinds import Kind
from fqrewrite.model.saved_model import VARIABLES_PREFIX
from fqrewrite.model.saved_model_read import SavedModelSource
from fqrewrite.model.saved_model_replace import replaced_files
from fqrewrite.plans.constants import evaluate
from fqrewrite.plans.items import Plan
from fqrewrite.source.open import saved_variables
from fqrewrite.source.served import kept_signatures
from fqrewrite.transform.saver import add_saver
from fqrewrite.verbs.rewrite import Prepared, Rewritten, plan_model, prepare_model, train_model

if TYPE_CHECKING:
    from fqrewrite.outline.saved_model import Outlined
    from fqrewrite.plans.constants import Array


class Form(NamedTuple):
    """Where and how a training graph is written.

    Attributes:
        path: as it was given.
        kind: of the message in the file.
        text: whether it is in text format.
        directory: whether the path becomes a SavedModel directory.
        variables: of the SavedModel that was read, when the directory is written; None when it has none.
    """

    path: Path
    kind: Kind
    text: bool
    directory: bool
    variables: Checkpoint | None


class Trained(msgspec.Struct, frozen=True):
    """A training graph.

    Attributes:
        plan: what was applied.
        rewritten: what was done; None when no layer would be quantized.
        starts: initial values of the new variables by name; of a SavedModel of TensorFlow 1 only.
        outlined: what is written; of a SavedModel of TensorFlow 2 only.
    """

    plan: Plan
    rewritten: Rewritten | None
    starts: dict[str, Array] = {}
    outlined: Outlined | None = None


def train_form(path: Path, model: Model) -> Form:
    """Decides by the output's path what is written: a suffix for a graph file, none for a SavedModel directory.

    Raises:
        ConfigError: `output-suffix`, also for a SavedModel of what is none.
        InputError: `saved-model-variables-missing`.
    """
    if model.saved_model is not None and (not path.suffix or path.is_dir()):
        variables = saved_variables(model, always=model.saved_model.has_objects)
        return Form(path, "meta_graph", False, True, variables)
    return Form(path, *output_format(path, model), False, None)


def train_source(
    model: Model,
    config: Config,
    form: Form,
    *,
    plan: Plan | None,
    strip_training: bool,
    thaw: bool,
    allow_empty: bool,
) -> Trained:
    """Makes the training graph of a model, in place.

    Args:
        model: is edited.
        config: of this run.
        form: what is going to be written.
        plan: one that was made before; None for a new one.
        strip_training, thaw: as for `verbs.rewrite.prepare_model`.
        allow_empty: whether to go on when no layer is quantized.

    Returns:
        The training graph; when no layer would be quantized, the plan alone.

    Raises:
        Refusal, ConfigError, InputError, GraphError: see `rewrite`.
    """
    prepared = prepare_model(
        model,
        config,
        as_meta_graph=form.kind == "meta_graph",
        strip_training=strip_training,
        thaw_constants=thaw,
        preparation=plan.preparation if plan else None,
    )
    applying = plan or plan_model(model, config, prepared)
    if applying.is_empty and not allow_empty:
        return Trained(applying, None)
    if form.directory and model.saved_model and model.saved_model.has_objects:
        return _outline(model, model.saved_model, applying, prepared)
    rewritten = train_model(model, applying, prepared, form.kind)
    if not form.directory:
        return Trained(applying, rewritten)
    graph = Graph(model.graph_def)
    names = [*(variable.node for variable in rewritten.applied.variables), *rewritten.changes.thawed]
    starts = {name: start for name in names if (start := _start(graph, name)) is not None}
    return Trained(applying, _with_notes(rewritten, model), starts)


def write_train(form: Form, model: Model, trained: Trained, report: tuple[Path, bytes]) -> None:
    """Writes a training graph and its report, whole or not at all; a SavedModel with its variables.

    Raises:
        InputError: `output-unwritable`.
        ConfigError: `output-exists`.
    """
    if form.directory:
        write_directory(form.path, _saved_model(form, model, trained), [report])
    else:
        write_all([(form.path, to_bytes(model, form.kind, form.text)), report])


def _outline(model: Model, source: SavedModelSource, plan: Plan, prepared: Prepared) -> Trained:
    """Trains a SavedModel of TensorFlow 2: the rewritten graph takes the place of the signatures' functions."""
    from fqrewrite.outline.intact import check_objects
    from fqrewrite.outline.saved_model import capture_names, outline_saved_model

    meta_graph = source.message.meta_graphs[source.index]
    check_objects(meta_graph, path_text(model.path))

    def captures(variables: tuple[BlockVariable, ...]) -> dict[str, str]:
        made = (*prepared.thawed, *variables)
        return capture_names(meta_graph, Graph(model.graph_def), source.signatures, made)

    rewritten = train_model(model, plan, prepared, "meta_graph", captures)
    if not (plan.folds or plan.quantizers or rewritten.changes.thawed or rewritten.changes.removed):
        return Trained(plan, rewritten)
    variables = (*prepared.thawed, *rewritten.applied.variables)
    thawed = [variable.node for variable in prepared.thawed]
    outlined = outline_saved_model(meta_graph, Graph(model.graph_def), source.signatures, variables, thawed)
    notes = (*_with_notes(rewritten, model).notes, *outlined.notes)
    return Trained(plan, msgspec.structs.replace(rewritten, notes=notes), outlined=outlined)


def _start(graph: Graph, name: str) -> Array | None:
    """The value that a variable is initialised with; None when nothing in the graph initialises it."""
    assign = initializer(graph.node(name))
    return None if assign is None else evaluate(assign.inputs[1])


def _with_notes(rewritten: Rewritten, model: Model) -> Rewritten:
    """The notes as they are for a SavedModel, which gets a saver, and may have signatures that were not chosen."""
    notes = [note for note in rewritten.notes if note.code != "saver-dropped"]
    note = kept_signatures(model)
    return msgspec.structs.replace(rewritten, notes=(*notes, *([note] if note else [])))


def _saved_model(form: Form, model: Model, trained: Trained) -> Mapping[str, bytes | Path]:
    """The files of a SavedModel by their path in its directory."""
    from fqrewrite.source.restore import Restorer, meta_graph_keys
    from fqrewrite.verbs.extended_checkpoint import extend_checkpoint

    saved_model = model.saved_model
    assert saved_model is not None
    if not model.edited or (saved_model.has_objects and trained.outlined is None):
        return files_in(saved_model.directory)
    if trained.outlined is not None:
        assert form.variables is not None
        made = trained.outlined.checkpoint(form.variables, Path("/") / VARIABLES_PREFIX)
        variables = {path.relative_to("/").as_posix(): data for path, data in made}
        return replaced_files(saved_model, trained.outlined.meta_graph, variables)
    graph = Graph(model.graph_def)
    # As it was read: a backward pass that went took its savers along.
    keys = meta_graph_keys(saved_model.message.meta_graphs[saved_model.index])
    if not form.variables and not trained.starts:
        return replaced_files(saved_model, model.message, None)
    old = Restorer(form.variables, keys, "") if form.variables else None
    extended = extend_checkpoint(old, graph.by_op(*VARIABLE_OPS), trained.starts)
    saved = [node for node in graph.by_op(*VARIABLE_OPS) if node.name in extended.keys]
    model.message.saver_def.CopyFrom(add_saver(Editor(graph), saved, extended.keys))
    return replaced_files(saved_model, model.message, extended.files)
