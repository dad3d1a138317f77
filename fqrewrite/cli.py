"""The command line: options in, verbs called. Thin on purpose; errors become exit statuses in `__main__`.

Everything that a command needs is imported in that command, so that `--help` answers at once.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar

import click

from fqrewrite import __version__
from fqrewrite.errors import ConfigError, Refusal, path_text

if TYPE_CHECKING:
    from fqrewrite.config.records import Config
    from fqrewrite.model.container import Model
    from fqrewrite.plan.items import Plan

_Command = TypeVar("_Command", bound=Callable[..., Any])
_FILE = click.Path(path_type=Path)


def _print(text: str | bytes) -> None:
    """Prints what a command has to say; a reader that has gone (``| head``) is no failure."""
    try:
        click.echo(text, nl=False)
    except BrokenPipeError:
        # What is still buffered must have somewhere to go, or the interpreter complains at its end.
        with contextlib.suppress(OSError), Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(prog)s %(version)s")
def cli() -> None:
    """Rewrite serialized TensorFlow graphs for quantization-aware training and for eval."""


def _settings(command: _Command) -> _Command:
    """The options that shape a plan; they win over the config file."""
    options = [
        click.option("-c", "--config", type=_FILE, help="YAML config; `fqrewrite config init` prints one."),
        click.option("--preset", help="Named settings to start from.  [default: contrib]"),
        click.option("--outputs", help="Output tensors, comma-separated: logits:0,boxes:0."),
        click.option("--scope", help="Quantize only what is in this name scope."),
        click.option("--quant-delay", type=int, help="Steps of training before quantization sets in."),
        click.option("--freeze-bn-delay", type=int, help="Step at which batch norms switch to moving statistics."),
        click.option("--weight-bits", type=int, help="Bits of weights, 2 to 8."),
        click.option("--activation-bits", type=int, help="Bits of activations, 2 to 8."),
        click.option("--symmetric/--asymmetric", default=None, help="Ranges symmetric around zero, or not."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def _rewriting(command: _Command) -> _Command:
    """The options of `train` and `eval`."""
    options = [
        click.argument("model", type=_FILE),
        click.option("-o", "--output", type=_FILE, required=True, help="What to write: .meta, .pb or .pbtxt."),
        click.option("--plan", "plan_file", type=_FILE, help="Apply this plan, made by `fqrewrite plan --json`."),
        click.option("--report", type=_FILE, help="Where the JSON report goes.  [default: OUTPUT.report.json]"),
        _REPORT_FORMAT,
        click.option("--allow-empty", is_flag=True, help="Go on when there is nothing to quantize."),
        click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors."),
        click.option("-v", "--verbose", is_flag=True, help="List every quantizer and fold."),
    ]
    for option in reversed(options):
        command = option(command)
    return _settings(command)


_REPORT_FORMAT = click.option(
    "--report-format",
    type=click.Choice(["text", "md", "json"]),
    default="text",
    show_default=True,
    help="What is printed on the terminal; md suits a pull request.",
)


@cli.command(short_help="Write the training graph of MODEL.")
@_rewriting
def train(**options: Any) -> None:
    """Write the training graph of MODEL: batch norms folded, fake quantizers that learn their ranges.

    MODEL is a GraphDef (.pb, .pbtxt) or MetaGraphDef (.meta) without gradients. Add the optimizer to what is written.
    """
    _rewrite("train", **options)


@cli.command(name="eval", short_help="Write the eval graph of MODEL.")
@_rewriting
def eval_(**options: Any) -> None:
    """Write the eval graph of MODEL: batch norms folded, fake quantizers that read trained ranges.

    MODEL is an inference graph; its range variables have the names that `train` gives them.
    """
    _rewrite("eval", **options)


def _rewrite(
    mode: Literal["train", "eval"],
    *,
    model: Path,
    output: Path,
    plan_file: Path | None,
    report: Path | None,
    report_format: Literal["text", "md", "json"],
    allow_empty: bool,
    quiet: bool,
    verbose: bool,
    **settings: Any,
) -> None:
    from fqrewrite.ir.graph import Graph
    from fqrewrite.model.atomic import check_distinct, write_all
    from fqrewrite.model.container import load, output_format, to_bytes
    from fqrewrite.report.build import build_report
    from fqrewrite.report.render import render, to_json
    from fqrewrite.rewrite import as_meta_graph, plan_model, rewrite_model

    report = report or Path(f"{output}.report.json")
    config_file = settings["config"]
    check_distinct([path for path in (model, config_file, plan_file) if path], [output, report])
    opened = load(model)
    kind, text = output_format(output, opened)
    notes = as_meta_graph(opened) if kind == "meta_graph" else ()
    if plan_file is None:
        plan, graph = plan_model(opened, _config(settings))
    else:
        plan, graph = _read_plan(plan_file, settings, opened), Graph(opened.graph_def)
    empty = _is_empty(plan) and not allow_empty
    rewritten = None if empty else rewrite_model(opened, plan, graph, mode, kind, notes)
    made = build_report(
        model_path=path_text(model),
        model_kind=opened.source_kind,
        plan=plan,
        mode=mode,
        rewritten=rewritten,
        output=path_text(output),
    )
    if not empty:
        write_all([(output, to_bytes(opened, kind, text)), (report, to_json(made))])
    if not quiet:
        _print(render(made, report_format, color=_is_terminal(), verbose=verbose))
    if empty:
        _refuse_empty(plan, path_text(model))


@cli.command(short_help="Show what would be done with MODEL, and why the rest is left out.")
@click.argument("model", type=_FILE)
@_settings
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON, not as a table.")
@click.option("-o", "--output", type=_FILE, help="Write the plan to this file, as JSON for `--plan`.")
@_REPORT_FORMAT
@click.option("--allow-empty", is_flag=True, help="Exit with status 0 when there is nothing to quantize.")
def plan(
    model: Path,
    as_json: bool,
    output: Path | None,
    report_format: Literal["text", "md", "json"],
    allow_empty: bool,
    **settings: Any,
) -> None:
    """Show what `train` and `eval` would do with MODEL, and why the rest is left out. Nothing is changed."""
    from fqrewrite.model.atomic import check_distinct, write_atomic
    from fqrewrite.model.container import load
    from fqrewrite.plan.serialise import plan_to_json
    from fqrewrite.report.build import build_report
    from fqrewrite.report.render import render
    from fqrewrite.rewrite import plan_model

    if output:
        check_distinct([path for path in (model, settings["config"]) if path], [output])
    opened = load(model)
    made, _ = plan_model(opened, _config(settings))
    empty = _is_empty(made) and not allow_empty
    if output and not empty:
        write_atomic(output, plan_to_json(made))
    if as_json:
        if not output:
            _print(plan_to_json(made))
    else:
        report = build_report(
            model_path=path_text(model),
            model_kind=opened.source_kind,
            plan=made,
            mode=None,
            rewritten=None,
            output=None,
        )
        # Every quantizer is what a plan is read for; in a comment on a pull request there may be no room for them.
        verbose = report_format != "md"
        _print(render(report, report_format, color=_is_terminal(), verbose=verbose))
    if empty:
        _refuse_empty(made, path_text(model))


@cli.command()
@click.option("--markdown", is_flag=True, help="As the table in README.")
def rules(markdown: bool) -> None:
    """List what the tool recognises in a graph."""
    from fqrewrite.report.explain import rules_table

    _print(rules_table(markdown=markdown))


@cli.command(short_help="Say what a code in a message or report means.")
@click.argument("code", required=False)
@click.option("--markdown", is_flag=True, help="All codes, as the table in README.")
def explain(code: str | None, markdown: bool) -> None:
    """Say what CODE, from a message or a report, means and what to do; without CODE, list them all."""
    from fqrewrite.report.explain import codes_markdown, explain_text

    _print(codes_markdown() if markdown else explain_text(code))


@cli.group()
def config() -> None:
    """Start, check and describe config files."""


@config.command()
@click.option("--preset", help="Which preset to start from.  [default: contrib]")
def init(preset: str | None) -> None:
    """Print a commented config file."""
    from fqrewrite.config.template import template

    _print(template(preset) if preset is not None else template())


@config.command()
@click.argument("file", type=_FILE)
def check(file: Path) -> None:
    """Check the config FILE without a model."""
    from fqrewrite.config.resolve import resolve

    found = resolve(file)
    count = len(found.rules)
    _print(f"{path_text(file)}: good; preset {found.preset}, {count} rule{'' if count == 1 else 's'}\n")


@config.command()
def schema() -> None:
    """Print the JSON schema of config files, for editors."""
    from fqrewrite.config.template import schema_json

    _print(schema_json())


def _config(settings: dict[str, Any]) -> Config:
    from fqrewrite.config.resolve import resolve

    flags = {key: value for key, value in settings.items() if key != "config"}
    outputs = flags.pop("outputs")
    names = None if outputs is None else [name.strip() for name in outputs.split(",")]
    return resolve(settings["config"], outputs=names, **flags)


def _read_plan(path: Path, settings: dict[str, Any], model: Model) -> Plan:
    from fqrewrite.plan.serialise import plan_from_json

    given = [f"--{key.replace('_', '-')}" for key, value in settings.items() if value is not None]
    if given:
        raise ConfigError("plan-conflict", f"{', '.join(given)} cannot be given with --plan")
    try:
        data = path.read_bytes()
    except OSError as error:
        what = f"the plan cannot be read: {error.strerror}"
        raise ConfigError("plan-unreadable", what, where=path_text(path)) from None
    plan = plan_from_json(data, path_text(path))
    if plan.source_sha256 != model.sha256:
        what = f"the plan was made from another file than {path_text(model.path)}"
        raise ConfigError("plan-mismatch", what, where=path_text(path))
    return plan


def _is_empty(plan: Plan) -> bool:
    return not any(item.layer for item in plan.quantizers)


def _refuse_empty(plan: Plan, where: str) -> NoReturn:
    codes = Counter(entry.code for entry in plan.left_out if entry.kind == "layer")
    listed = ", ".join(f"{code} {number}" for code, number in sorted(codes.items()))
    what = "no layer would be quantized" + (
        f"; left out: {listed}"
        if listed
        else ": the graph has no convolution, depthwise convolution or matmul with weights"
    )
    raise Refusal("nothing-quantized", what, where=where)


def _is_terminal() -> bool:
    return sys.stdout is not None and sys.stdout.isatty()
