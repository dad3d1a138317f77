"""The commands that plan and rewrite."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from fqrewrite.cli.options import (
    FILE,
    RANGES,
    REPORT_FORMAT,
    STRIP_TRAINING,
    THAW,
    choosing,
    read_config,
    read_plan,
    rewriting,
    settings,
)
from fqrewrite.cli.terminal import is_terminal, say
from fqrewrite.errors import path_text

if TYPE_CHECKING:
    from fqrewrite.plans.items import Plan
    from fqrewrite.report.records import Report
    from fqrewrite.source.open import Choice

Format = Literal["text", "md", "json"]


@click.command(short_help="Make a model ready for quantization-aware training.")
@rewriting
@STRIP_TRAINING
@THAW
def train(
    *,
    model: Path,
    output: Path,
    plan_file: Path | None,
    choice: Choice,
    report: Path | None,
    report_format: Format,
    allow_empty: bool,
    quiet: bool,
    verbose: bool,
    strip_training: bool,
    thaw: bool,
    **given: Any,
) -> None:
    """Write the training graph of MODEL: batch norms folded, fake quantizers that learn their ranges.

    MODEL is a GraphDef (.pb, .pbtxt), a MetaGraphDef (.meta) or a SavedModel (its directory), and so is what is
    written: .meta is what TensorFlow trains, and a SavedModel, for an OUTPUT without a suffix, has its variables with
    it. MODEL must hold no gradients yet: add the optimizer to what is written, or pass --strip-training. A switch
    between training and inference is set to training. `fqrewrite eval` takes the checkpoints of that training.
    """
    from fqrewrite.model.atomic import check_distinct
    from fqrewrite.report.build import build_report
    from fqrewrite.report.render import to_json
    from fqrewrite.source.open import directory_of, open_model
    from fqrewrite.verbs.write_train import train_form, train_source, write_train

    report = report or Path(f"{output}.report.json")
    opened = open_model(model, choice)
    inputs = [path for path in (opened.path, given["config"], plan_file) if path]
    check_distinct(inputs, [output, report], directories=[directory_of(opened)])
    form = train_form(output, opened)
    made = read_plan(plan_file, given, opened) if plan_file else None
    trained = train_source(
        opened,
        read_config(given),
        form,
        plan=made,
        strip_training=strip_training,
        thaw=thaw,
        allow_empty=allow_empty,
    )
    result = build_report(
        model_path=path_text(model),
        model_kind=opened.source_kind,
        plan=trained.plan,
        mode="train",
        rewritten=trained.rewritten,
        output=path_text(output),
    )
    if trained.rewritten is not None:
        write_train(form, opened, trained, (report, to_json(result)))
    _finish(result, trained.plan, trained.rewritten is None, report_format, quiet, verbose)


@click.command(name="eval", short_help="Make the graph to deploy of a checkpoint or model.")
@rewriting
@click.option(
    "--model",
    "graph_file",
    type=FILE,
    help="Graph file of the checkpoint, when no .meta lies beside it or that is the wrong one.",
)
@RANGES
@click.option(
    "--freeze/--no-freeze",
    default=True,
    help="Make constants of variables, or keep them and write a checkpoint beside.  [default: freeze]",
)
def eval_(
    *,
    model: Path,
    output: Path,
    plan_file: Path | None,
    choice: Choice,
    report: Path | None,
    report_format: Format,
    allow_empty: bool,
    quiet: bool,
    verbose: bool,
    graph_file: Path | None,
    ranges: Path | None,
    freeze: bool,
    **given: Any,
) -> None:
    """Write the eval graph of MODEL: inference only, batch norms folded, fake quantizers with fixed ranges.

    MODEL is a checkpoint (its prefix, its directory for the latest, or its .index or .meta file), a SavedModel (its
    directory) or a graph without either (.pb, .pbtxt, .meta). What was trained from what `fqrewrite train` wrote needs
    nothing else; any other needs the ranges of its activations from --ranges or the config. OUTPUT is a graph (.pb,
    .pbtxt, .meta) or, without a suffix, the directory of a SavedModel. Of a graph alone, variables stay variables.
    """
    from fqrewrite.model.atomic import check_distinct
    from fqrewrite.report.build import build_report
    from fqrewrite.report.render import to_json
    from fqrewrite.source.open import open_source
    from fqrewrite.verbs.serve import eval_form, evaluate_source, write_eval

    report = report or Path(f"{output}.report.json")
    source = open_source(model, graph_file, choice)
    form = eval_form(output, source, freezes=freeze)
    inputs = [path for path in (given["config"], plan_file, ranges) if path]
    check_distinct([*inputs, *source.files], [*form.files, report], directories=[source.directory])
    made = read_plan(plan_file, given, source.model) if plan_file else None
    evaluated = evaluate_source(
        source, read_config(given), form, plan=made, ranges_file=ranges, allow_empty=allow_empty
    )
    result = build_report(
        model_path=path_text(model),
        model_kind=source.kind,
        plan=evaluated.plan,
        mode="eval",
        rewritten=evaluated.rewritten,
        output=path_text(output),
    )
    if evaluated.rewritten is not None:
        write_eval(form, source, evaluated, (report, to_json(result)))
    _finish(result, evaluated.plan, evaluated.rewritten is None, report_format, quiet, verbose)


@click.command(short_help="Show what train and eval would do, and change nothing.")
@click.argument("model", type=FILE)
@settings
@choosing
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON, not as a table.")
@click.option("-o", "--output", type=FILE, help="Write the plan to this file, as JSON for `--plan`.")
@REPORT_FORMAT
@click.option("--allow-empty", is_flag=True, help="Exit with status 0 when there is nothing to quantize.")
@STRIP_TRAINING
@THAW
def plan(
    *,
    model: Path,
    choice: Choice,
    as_json: bool,
    output: Path | None,
    report_format: Format,
    allow_empty: bool,
    strip_training: bool,
    thaw: bool,
    **given: Any,
) -> None:
    """Show what `train` and `eval` would do with MODEL, and why the rest is left out. Nothing is changed."""
    from fqrewrite.model.atomic import check_distinct, write_atomic
    from fqrewrite.plans.serialise import plan_to_json
    from fqrewrite.report.build import build_report
    from fqrewrite.source.open import directory_of, open_model
    from fqrewrite.verbs.rewrite import plan_model, prepare_model

    opened, config = open_model(model, choice), read_config(given)
    if output:
        inputs = [path for path in (opened.path, given["config"]) if path]
        check_distinct(inputs, [output], directories=[directory_of(opened)])
    prepared = prepare_model(opened, config, strip_training=strip_training, thaw_constants=thaw)
    made = plan_model(opened, config, prepared)
    empty = made.is_empty and not allow_empty
    if output and not empty:
        write_atomic(output, plan_to_json(made))
    report = build_report(
        model_path=path_text(model),
        model_kind=opened.source_kind,
        plan=made,
        mode=None,
        rewritten=None,
        output=None,
    )
    if as_json and not output:
        say(plan_to_json(made))
    # Every quantizer is what a plan is read for; in a comment on a pull request there may be no room for them.
    _finish(report, made, empty, report_format, quiet=as_json, verbose=report_format != "md")


def _finish(report: Report, plan: Plan, empty: bool, report_format: Format, quiet: bool, verbose: bool) -> None:
    """Prints the report, and fails when nothing would be quantized."""
    from fqrewrite.plans.empty import refuse_empty
    from fqrewrite.report.render import render

    if not quiet:
        say(render(report, report_format, color=is_terminal(), verbose=verbose))
    if empty:
        refuse_empty(plan, report.input.path)
