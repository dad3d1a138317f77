"""From what `eval` was given to what it writes: a graph file, with a checkpoint or without, or a SavedModel.

The SavedModel of a graph that was in one keeps whatever else is there: other graphs, assets, tags, signatures.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from fqrewrite.config.records import Config
from fqrewrite.errors import ConfigError, path_text
from fqrewrite.ir.editor import Editor
from fqrewrite.ir.graph import Graph, Node
from fqrewrite.match.parameters import VARIABLE_OPS
from fqrewrite.model.atomic import write_all
from fqrewrite.model.checkpoint import find_checkpoint
from fqrewrite.model.container import Model, convert_to_meta_graph, output_format, to_bytes
from fqrewrite.model.directory import files_in, write_directory
from fqrewrite.model.kinds import Kind
from fqrewrite.model.ranges_file import read_ranges
from fqrewrite.model.saved_model import FILE_NAME, SERVING_DEFAULT, Served, saved_model_bytes, served_meta_graph
from fqrewrite.model.saved_model_read import signature_keys
from fqrewrite.model.saved_model_replace import others_have_variables, replaced_files
from fqrewrite.model.signature import signature_of
from fqrewrite.plans.items import Note, Plan
from fqrewrite.plans.outputs import quantized_names
from fqrewrite.plans.ranges import RangeSources
from fqrewrite.source.open import Source
from fqrewrite.source.restore import Restorer, VariableKeys, meta_graph_keys, variable_keys
from fqrewrite.source.served import flatten_others, kept_signatures
from fqrewrite.transform.saver import add_saver
from fqrewrite.verbs.evaluate import Evaluated, evaluate_model
from fqrewrite.verbs.extended_checkpoint import Extended, extend_checkpoint
from fqrewrite.verbs.recovery import recover_model
from fqrewrite.verbs.rewrite import undescribed

if TYPE_CHECKING:
    from fqrewrite.plans.constants import Array


class Form(NamedTuple):
    """Where and how an eval graph is written.

    Attributes:
        path: as it was given.
        kind: of the message in the file.
        text: whether it is in text format.
        directory: whether the path becomes a SavedModel directory.
        freezes: whether variables become constants.
        files: all that is written, but for the report.
    """

    path: Path
    kind: Kind
    text: bool
    directory: bool
    freezes: bool
    files: tuple[Path, ...]


def eval_form(path: Path, source: Source, *, freezes: bool) -> Form:
    """Decides by the output's path what is written: a suffix for a graph file, none for a SavedModel directory.

    Raises:
        ConfigError: `output-suffix`; `output-without-variables` for values of variables with no file to go to.
    """
    if not path.suffix or path.is_dir():
        return Form(path, "meta_graph", False, True, freezes, (path,))
    kind, text = output_format(path, source.model)
    files = [path]
    if source.checkpoint is not None and not freezes:
        if kind == "graph_def":
            what = "a GraphDef has no checkpoint beside it for the variables that --no-freeze keeps"
            raise ConfigError("output-without-variables", what, where=path_text(path))
        prefix = _prefix(path)
        files += [Path(f"{prefix}.data-00000-of-00001"), Path(f"{prefix}.index")]
    return Form(path, kind, text, False, freezes, tuple(files))


def evaluate_source(
    source: Source, config: Config, form: Form, *, plan: Plan | None, ranges_file: Path | None, allow_empty: bool
) -> Evaluated:
    """Makes the eval graph of what was opened, in place.

    Args:
        source: a graph, with its checkpoint if there is one.
        config: of this run.
        form: what is going to be written.
        plan: one that was made before; None for the model's own or a new one.
        ranges_file: None without one.
        allow_empty: whether to go on when no layer is quantized.

    Returns:
        The eval graph; when no layer would be quantized, the plan alone.

    Raises:
        Refusal, ConfigError, InputError, GraphError: see `evaluate`, `recovery`, `restore`, `model.ranges_file`.
    """
    model = source.model
    ranges = read_ranges(ranges_file) if ranges_file else {}
    name = path_text(ranges_file) if ranges_file else None
    # Its savers say how variables are called in the checkpoint, and are no part of what is made of it.
    keys = variable_keys(model) if source.checkpoint else VariableKeys()
    signatures = signature_keys(model.message) if form.directory and model.saved_model else []
    found = recover_model(model, config, plan)
    if found.plan.is_empty and not allow_empty:
        return Evaluated(found.plan, None, {})
    notes: list[Note] = []
    if form.kind == "meta_graph" and model.kind == "graph_def":
        notes = undescribed(convert_to_meta_graph(model))
    restorer = Restorer(source.checkpoint, keys, found.scope) if source.checkpoint else None
    sources = RangeSources(config=config, file=ranges, file_name=name)
    if form.directory:
        flatten_others(model)
    evaluated = evaluate_model(
        model, found, config, sources, restorer, freezes=form.freezes, serves=form.directory, notes=notes
    )
    return _with_notes(evaluated, model, signatures)


def _with_notes(evaluated: Evaluated, model: Model, before: list[str]) -> Evaluated:
    """Adds what became of the signatures that were there before and not chosen."""
    rewritten = evaluated.rewritten
    if not before or rewritten is None:
        return evaluated
    after = signature_keys(model.message)
    notes = [note for note in rewritten.notes if note.code != "saver-dropped"]  # it gets one
    if gone := [key for key in before if key not in after]:
        text = f"{', '.join(map(repr, gone))}: the eval graph has no longer what this needs"
        notes.append(Note(code="signature-dropped", text=text))
    notes += filter(None, [kept_signatures(model)])
    return evaluated._replace(rewritten=msgspec.structs.replace(rewritten, notes=tuple(notes)))


def write_eval(form: Form, source: Source, evaluated: Evaluated, report: tuple[Path, bytes]) -> None:
    """Writes an eval graph, its variables and its report, whole or not at all.

    Raises:
        InputError: `output-unwritable`.
        ConfigError: `output-exists`; `output-without-variables` for a SavedModel with variables of a graph alone.
    """
    if form.directory:
        write_directory(form.path, _saved_model(form, source, evaluated), [report])
        return
    files = [(form.path, to_bytes(source.model, form.kind, form.text)), report]
    if evaluated.values:
        from fqrewrite.model.checkpoint_write import checkpoint_files

        files = [*checkpoint_files(evaluated.values, _prefix(form.path)), *files]
    write_all(files)


def _saved_model(form: Form, source: Source, evaluated: Evaluated) -> Mapping[str, bytes | Path]:
    """The files of a SavedModel by their path in its directory."""
    model, saved_model = source.model, source.model.saved_model
    if saved_model and not model.edited:
        return files_in(saved_model.directory)
    graph = Graph(model.graph_def)
    variables = graph.by_op(*VARIABLE_OPS)
    if variables and not evaluated.values:
        what = f"{len(variables)} variables of the SavedModel have no values, because no checkpoint is given"
        raise ConfigError("output-without-variables", what, where=path_text(form.path))
    outputs = evaluated.rewritten.outputs if evaluated.rewritten else ()
    inputs, results = signature_of(graph, [graph.value(name) for name in outputs])
    checkpoint = _variables(source, variables, evaluated.values) if evaluated.values else None
    if checkpoint:
        editor = Editor(graph)
        model.message.saver_def.CopyFrom(add_saver(editor, variables, checkpoint.keys))
    if saved_model is None:
        message = model.message if model.kind == "meta_graph" else model.graph_def
        return {**(checkpoint.files if checkpoint else {}), FILE_NAME: saved_model_bytes(message, inputs, results)}
    served = Served(
        inputs=inputs,
        outputs=results,
        signatures=saved_model.signatures or (SERVING_DEFAULT,),
        renamed={tensor: name for tensor, name in quantized_names(evaluated.plan).items() if name in outputs},
    )
    return replaced_files(
        saved_model, served_meta_graph(model.message, served), checkpoint.files if checkpoint else None
    )


def _variables(source: Source, variables: list[Node], values: dict[str, Array]) -> Extended:
    """The checkpoint of the variables; other graphs of a SavedModel find theirs in it, too."""
    saved_model = source.model.saved_model
    old = None
    if saved_model and others_have_variables(saved_model) and (own := find_checkpoint(saved_model.variables)):
        # As it was read: the savers are no part of the eval graph.
        old = Restorer(own, meta_graph_keys(saved_model.message.meta_graphs[saved_model.index]), "")
    if old is not None and source.has_own_values:
        values = {name: value for name, value in values.items() if old.key(name) is None}
    return extend_checkpoint(old, variables, values)


def _prefix(path: Path) -> str:
    """The checkpoint prefix that a .meta file belongs to."""
    return str(path).removesuffix(".pbtxt").removesuffix(".meta")
