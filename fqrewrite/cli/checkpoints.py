"""The command that makes a checkpoint."""

from __future__ import annotations

from pathlib import Path

import click

from fqrewrite.cli.options import FILE, RANGES, TAG_SET, read_tags
from fqrewrite.cli.terminal import say
from fqrewrite.errors import Refusal, path_text


@click.command(name="warm-start", short_help="Make a checkpoint for the start of that training.")
@click.argument("float_checkpoint", type=FILE)
@click.argument("train_graph", type=FILE)
@click.option(
    "-o", "--output", type=FILE, required=True, help="Prefix of the checkpoint to write: warm for warm.index."
)
@RANGES
@TAG_SET
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
def warm_start(
    float_checkpoint: Path, train_graph: Path, output: Path, ranges: Path | None, tag_set: str | None, quiet: bool
) -> None:
    """Write a checkpoint that starts TRAIN_GRAPH, which `fqrewrite train` wrote, with the weights of FLOAT_CHECKPOINT.

    It holds every variable of TRAIN_GRAPH: those of the float model from its checkpoint, ranges of weights from the
    weights, ranges of activations from --ranges or else as they start (the first training step sets them), step
    counters at 0. Restore it with a Saver that is made before the optimizer is added. Both may be SavedModels.
    """
    from fqrewrite.model.atomic import check_distinct, write_all
    from fqrewrite.model.checkpoint_write import checkpoint_files
    from fqrewrite.model.ranges_file import read_ranges
    from fqrewrite.plans.ranges import RangeSources
    from fqrewrite.report.warm_start import warm_start_text
    from fqrewrite.source.open import Choice, choices, directory_of, open_checkpoint, open_source, own_files
    from fqrewrite.source.provenance import require_provenance
    from fqrewrite.source.restore import Restorer, variable_keys
    from fqrewrite.verbs.warm_start import warm_start as make

    own, other = choices([float_checkpoint, train_graph], Choice(read_tags(tag_set), None))
    trained = open_source(train_graph, choice=other, needs_values=False)
    graph = trained.model
    provenance, scope = require_provenance(graph.graph_def, path_text(train_graph))
    if provenance.mode != "train":
        what = "this is an eval graph, and a warm start is for a graph that `fqrewrite train` wrote"
        raise Refusal("provenance-missing", what, where=path_text(train_graph))
    checkpoint, own_graph = open_checkpoint(float_checkpoint, own)
    outputs = [Path(f"{output}{suffix}") for suffix in (".index", ".data-00000-of-00001")]
    inputs = [*own_files(checkpoint), *trained.files, *([ranges] if ranges else [])]
    check_distinct(inputs, outputs, directories=[directory_of(own_graph), trained.directory])
    sources = RangeSources(file=read_ranges(ranges), file_name=path_text(ranges)) if ranges else RangeSources()
    keys = variable_keys(own_graph or graph)
    made = make(graph, provenance, scope, Restorer(checkpoint, keys, scope), sources)
    write_all(checkpoint_files(made.values, str(output)))
    if not quiet:
        say(warm_start_text(made, path_text(output)))
