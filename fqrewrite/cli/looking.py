"""Commands that change nothing: what is in a file, what the tool recognises, what its codes and config keys mean."""

from __future__ import annotations

from pathlib import Path

import click

from fqrewrite.cli.options import FILE, TAG_SET, read_tags
from fqrewrite.cli.terminal import say
from fqrewrite.errors import path_text


@click.command(short_help="Show how a rewritten graph was made.")
@click.argument("file", type=FILE)
@TAG_SET
@click.option("--json", "as_json", is_flag=True, help="Print everything, plan included, as JSON.")
def show(file: Path, tag_set: str | None, as_json: bool) -> None:
    """Show how FILE was made, by what fqrewrite left in it: a graph that it wrote, or a checkpoint trained from one."""
    from fqrewrite.report.provenance import provenance_json, provenance_text
    from fqrewrite.source.open import Choice, open_source
    from fqrewrite.source.provenance import require_provenance

    opened = open_source(file, choice=Choice(read_tags(tag_set), None), needs_values=False)
    found, scope = require_provenance(opened.model.graph_def, path_text(file))
    say(provenance_json(found, scope) if as_json else provenance_text(found, scope))


@click.command()
@click.option("--markdown", is_flag=True, help="As the table in README.")
def rules(markdown: bool) -> None:
    """List what the tool recognises in a graph."""
    from fqrewrite.report.explain import rules_table

    say(rules_table(markdown=markdown))


@click.command(short_help="Say what a code in a message or report means.")
@click.argument("code", required=False)
@click.option("--markdown", is_flag=True, help="All codes, as the table in README.")
def explain(code: str | None, markdown: bool) -> None:
    """Say what CODE, from a message or a report, means and what to do; without CODE, list them all."""
    from fqrewrite.report.explain import codes_markdown, explain_text

    say(codes_markdown() if markdown else explain_text(code))


@click.group()
def config() -> None:
    """Start, check and describe config files."""


@config.command()
@click.option("--preset", help="Which preset to start from.  [default: tflite-int8]")
def init(preset: str | None) -> None:
    """Print a commented config file."""
    from fqrewrite.config.template import template

    say(template(preset) if preset is not None else template())


@config.command()
@click.argument("file", type=FILE)
def check(file: Path) -> None:
    """Check the config FILE without a model."""
    from fqrewrite.config.resolve import resolve

    found = resolve(file)
    count = len(found.rules)
    say(f"{path_text(file)}: good; preset {found.preset}, {count} rule{'' if count == 1 else 's'}\n")


@config.command()
def schema() -> None:
    """Print the JSON schema of config files, for editors."""
    from fqrewrite.config.template import schema_json

    say(schema_json())
