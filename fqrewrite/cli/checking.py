"""The command that looks whether a graph becomes an integer model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from fqrewrite.cli.options import FILE, choosing
from fqrewrite.cli.terminal import say

if TYPE_CHECKING:
    from fqrewrite.source.open import Choice

Format = Literal["text", "md", "json", "junit"]


@click.command(short_help="Say whether a graph becomes an integer model.")
@click.argument("graph", type=FILE)
@click.option(
    "--target",
    type=click.Choice(["tflite-int8", "tflite-uint8"]),
    default="tflite-int8",
    show_default=True,
    help="What the graph shall become.",
)
@click.option("--outputs", help="Output tensors, comma-separated.  [default: found in the graph]")
@choosing
@click.option("--convert", "converts", is_flag=True, help="Convert, run and compare, too; needs TensorFlow.")
@click.option("--data", type=FILE, help="With --convert: .npz of inputs by placeholder, first axis = samples.")
@click.option("--samples", type=click.IntRange(1), default=8, show_default=True, help="How many inputs to compare.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of random inputs, without --data.")
@click.option("--timeout", type=float, default=600.0, show_default=True, help="Of the conversion, in seconds.")
@click.option("--tflite", type=FILE, help="With --convert: write the model here.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "md", "json", "junit"]),
    default="text",
    show_default=True,
    help="Of the report; junit is XML for CI.",
)
@click.option("--json", "as_json", is_flag=True, help="Same as --format json.")
@click.option("-o", "--output", type=FILE, help="Write the report here instead of printing it.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors; the exit status tells.")
def check(
    *,
    graph: Path,
    target: str,
    outputs: str | None,
    choice: Choice,
    converts: bool,
    data: Path | None,
    samples: int,
    seed: int,
    timeout: float,
    tflite: Path | None,
    form: Format,
    as_json: bool,
    output: Path | None,
    quiet: bool,
) -> None:
    """Say whether the converter makes an integer model of GRAPH, an eval graph or SavedModel with fake quantizers.

    The exit status is 1 when something stands in the way, and 0 when there is nothing, or warnings only. With
    --convert, the graph is converted in a process of its own, and the model runs next to the graph.
    """
    from fqrewrite.check.targets import TARGETS
    from fqrewrite.errors import ConfigError
    from fqrewrite.model.atomic import check_distinct, write_all
    from fqrewrite.report.checks import render_check
    from fqrewrite.verbs.check import Conditions, check_model, open_checked

    if not converts and (tflite or data):
        what = f"{'--tflite' if tflite else '--data'} needs a conversion"
        raise ConfigError("convert-needed", what, remedy="add --convert")
    opened = open_checked(graph, choice, [name.strip() for name in outputs.split(",")] if outputs else None)
    written = [path for path in (tflite, output) if path]
    check_distinct([opened.file, *([data] if data else [])], written, directories=[opened.directory])
    conditions = Conditions(data, samples, seed, timeout) if converts else None
    report, model = check_model(opened, TARGETS[target], graph, conditions)
    text = render_check(report, "json" if as_json else form)
    files = [(output, text.encode())] if output else []
    if tflite and model is not None:
        files.append((tflite, model))
    write_all(files)
    if not output and not quiet:
        say(text)
    if not report.passed:
        sys.exit(1)
