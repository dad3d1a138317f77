"""The command line: options in, verbs called, errors to exit statuses. Thin on purpose.

Exit status 0: done. 1: the graph is refused, or nothing would be quantized. 2: a wrong command line, config or plan.
3: a file that cannot be read or written, or a damaged graph. 4: a bug of fqrewrite.

Everything that a command needs is imported in that command, so that `--help` answers at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar

import click

from fqrewrite import __version__
from fqrewrite.errors import ConfigError, FqrewriteError, InputError, Refusal

if TYPE_CHECKING:
    from fqrewrite.config.records import Config
    from fqrewrite.model.container import Model
    from fqrewrite.plan.items import Plan

_Command = TypeVar("_Command", bound=Callable[..., Any])
_INTERNAL_ERROR = 4
_FILE = click.Path(path_type=Path)


def main() -> NoReturn:
    """Entry point: runs a command and exits."""
    try:
        cli(prog_name="fqrewrite")
    except SystemExit as end:
        if end.code:
            raise
        _leave()
    except FqrewriteError as error:
        _complain(error)
        sys.exit(_exit_status(error))
    except Exception as error:
        if os.environ.get("FQREWRITE_DEBUG"):
            raise
        what = f"{type(error).__name__}: {error}"
        _complain(FqrewriteError("internal-error", what, where="a bug of fqrewrite"))
        click.echo("  FQREWRITE_DEBUG=1 shows where", err=True)
        sys.exit(_INTERNAL_ERROR)
    _leave()


def _exit_status(error: FqrewriteError) -> int:
    if isinstance(error, Refusal):
        return 1
    return 3 if isinstance(error, InputError) else 2


def _complain(error: FqrewriteError) -> None:
    from fqrewrite.codes import CODES

    remedy = error.remedy or CODES[error.code].remedy
    click.echo(f"error: {error}", err=True)
    click.echo(f"  what to do: {remedy}", err=True)


def _leave() -> NoReturn:
    """Ends the process without taking down the graph object by object, which would cost as long as rewriting it."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


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


@cli.command()
@_rewriting
def train(**options: Any) -> None:
    """Write the training graph of MODEL: batch norms folded, fake quantizers that learn their ranges.

    MODEL is a GraphDef (.pb, .pbtxt) or MetaGraphDef (.meta) without gradients. Add the optimizer to what is written.
    """
    _rewrite("train", **options)


@cli.command(name="eval")
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

    report = report or output.with_name(output.name + ".report.json")
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
        model_path=str(model),
        model_kind=opened.source_kind,
        plan=plan,
        mode=mode,
        rewritten=rewritten,
        output=str(output),
    )
    if empty:
        click.echo(render(made, "text", color=_is_terminal(), verbose=verbose), nl=False)
        _refuse_empty(plan, str(model))
    write_all([(output, to_bytes(opened, kind, text)), (report, to_json(made))])
    if not quiet:
        click.echo(render(made, report_format, color=_is_terminal(), verbose=verbose), nl=False)


@cli.command()
@click.argument("model", type=_FILE)
@_settings
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON, for `--plan`.")
@click.option("-o", "--output", type=_FILE, help="Write the plan as JSON to this file.")
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
    if as_json:
        click.echo(plan_to_json(made), nl=False)
    else:
        report = build_report(
            model_path=str(model), model_kind=opened.source_kind, plan=made, mode=None, rewritten=None, output=None
        )
        click.echo(render(report, report_format, color=_is_terminal(), verbose=True), nl=False)
    if _is_empty(made) and not allow_empty:
        _refuse_empty(made, str(model))
    if output:
        write_atomic(output, plan_to_json(made))


@cli.command()
@click.option("--markdown", is_flag=True, help="As the table in README.")
def rules(markdown: bool) -> None:
    """List what the tool recognises in a graph."""
    from fqrewrite.report.explain import rules_table

    click.echo(rules_table(markdown=markdown), nl=False)


@cli.command()
@click.argument("code", required=False)
@click.option("--markdown", is_flag=True, help="All codes, as the table in README.")
def explain(code: str | None, markdown: bool) -> None:
    """Say what CODE, from a message or a report, means and what to do; without CODE, list them all."""
    from fqrewrite.report.explain import codes_markdown, explain_text

    click.echo(codes_markdown() if markdown else explain_text(code), nl=False)


@cli.group()
def config() -> None:
    """Start, check and describe config files."""


@config.command()
@click.option("--preset", help="Which preset to start from.  [default: contrib]")
def init(preset: str | None) -> None:
    """Print a commented config file."""
    from fqrewrite.config.template import template

    click.echo(template(preset) if preset else template(), nl=False)


@config.command()
@click.argument("file", type=_FILE)
def check(file: Path) -> None:
    """Check the config FILE without a model."""
    from fqrewrite.config.resolve import resolve

    found = resolve(file)
    click.echo(f"{file}: good; preset {found.preset}, {len(found.rules)} rules")


@config.command()
def schema() -> None:
    """Print the JSON schema of config files, for editors."""
    from fqrewrite.config.template import schema_json

    click.echo(schema_json(), nl=False)


def _config(settings: dict[str, Any]) -> Config:
    from fqrewrite.config.resolve import resolve

    flags = {key: value for key, value in settings.items() if key != "config"}
    outputs = flags.pop("outputs")
    names = [name.strip() for name in outputs.split(",") if name.strip()] if outputs else None
    return resolve(settings["config"], outputs=names, **flags)


def _read_plan(path: Path, settings: dict[str, Any], model: Model) -> Plan:
    from fqrewrite.plan.serialise import plan_from_json

    given = [f"--{key.replace('_', '-')}" for key, value in settings.items() if value is not None]
    if given:
        raise ConfigError("plan-conflict", f"{', '.join(given)} cannot be given with --plan")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError("plan-unreadable", f"cannot be read: {error.strerror}", where=str(path)) from None
    plan = plan_from_json(data, str(path))
    if plan.source_sha256 != model.sha256:
        raise ConfigError("plan-mismatch", f"the plan was made from another file than {model.path}", where=str(path))
    return plan


def _is_empty(plan: Plan) -> bool:
    return not any(item.layer for item in plan.quantizers)


def _refuse_empty(plan: Plan, where: str) -> NoReturn:
    layers = sum(entry.kind == "layer" for entry in plan.left_out)
    what = (
        f"no layer would be quantized; {layers} are left out, for the reasons above"
        if layers
        else ("no layer would be quantized: the graph has no convolution, depthwise convolution or matmul with weights")
    )
    raise Refusal("nothing-quantized", what, where=where)


def _is_terminal() -> bool:
    return sys.stdout.isatty()
