"""From what `eval` was given to what it writes: a graph file, with a checkpoint or without, or a SavedModel."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from fqrewrite.config.records import Config
from fqrewrite.errors import ConfigError, path_text
from fqrewrite.evaluate import Evaluated, evaluate_model
from fqrewrite.ir.editor import Editor
from fqrewrite.ir.graph import Graph
from fqrewrite.match.parameters import VARIABLE_OPS
from fqrewrite.model.atomic import write_all
from fqrewrite.model.container import Model, convert_to_meta_graph, output_format, to_bytes
from fqrewrite.model.kinds import Kind
from fqrewrite.model.ranges_file import read_ranges
from fqrewrite.open import Source
from fqrewrite.plan.items import Note, Plan
from fqrewrite.plan.ranges import RangeSources
from fqrewrite.recovery import recover_model
from fqrewrite.restore import Restorer, variable_keys
from fqrewrite.rewrite import undescribed

if TYPE_CHECKING:
    from fqrewrite.plan.constants import Array


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
    keys = variable_keys(model) if source.checkpoint else {}
    found = recover_model(model, config, plan)
    if found.plan.is_empty and not allow_empty:
        return Evaluated(found.plan, None, {})
    notes: list[Note] = []
    if form.kind == "meta_graph" and model.kind == "graph_def":
        notes = undescribed(convert_to_meta_graph(model))
    restorer = Restorer(source.checkpoint, keys, found.scope) if source.checkpoint else None
    sources = RangeSources(config=config, file=ranges, file_name=name)
    return evaluate_model(model, found, config, sources, restorer, freezes=form.freezes, notes=notes)


def write_eval(form: Form, source: Source, evaluated: Evaluated, report: tuple[Path, bytes]) -> None:
    """Writes an eval graph, its variables and its report, whole or not at all.

    Raises:
        InputError: `output-unwritable`.
        ConfigError: `output-exists`; `output-without-variables` for a SavedModel with variables of a graph alone.
    """
    model, rewritten = source.model, evaluated.rewritten
    outputs = rewritten.outputs if rewritten else ()
    if form.directory:
        _write_saved_model(form, model, outputs, evaluated.values, report)
        return
    files = [(form.path, to_bytes(model, form.kind, form.text)), report]
    if evaluated.values:
        from fqrewrite.model.checkpoint_write import checkpoint_files

        files = [*checkpoint_files(evaluated.values, _prefix(form.path)), *files]
    write_all(files)


def _write_saved_model(
    form: Form, model: Model, outputs: Iterable[str], values: dict[str, Array], report: tuple[Path, bytes]
) -> None:
    from fqrewrite.model.directory import write_directory
    from fqrewrite.model.saved_model import FILE_NAME, VARIABLES_PREFIX, saved_model_bytes
    from fqrewrite.model.signature import signature_of
    from fqrewrite.transform.saver import add_saver

    graph = Graph(model.graph_def)
    variables = graph.by_op(*VARIABLE_OPS)
    if variables and not values:
        what = f"{len(variables)} variables of the SavedModel have no values, because no checkpoint is given"
        raise ConfigError("output-without-variables", what, where=path_text(form.path))
    inputs, results = signature_of(graph, [graph.value(name) for name in outputs])
    files: dict[str, bytes] = {}
    if values:
        from fqrewrite.model.checkpoint_write import checkpoint_files

        editor = Editor(graph)
        model.message.saver_def.CopyFrom(add_saver(editor, variables))
        files = {
            f"variables/{path.name}": data for path, data in checkpoint_files(values, Path("/") / VARIABLES_PREFIX)
        }
    message = model.message if model.kind == "meta_graph" else model.graph_def
    write_directory(form.path, {**files, FILE_NAME: saved_model_bytes(message, inputs, results)}, [report])


def _prefix(path: Path) -> str:
    """The checkpoint prefix that a .meta file belongs to."""
    return str(path).removesuffix(".pbtxt").removesuffix(".meta")
