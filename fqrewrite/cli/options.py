"""Options that several commands have, and what they come to."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fqrewrite.errors import ConfigError, path_text

if TYPE_CHECKING:
    from fqrewrite.config.records import Config
    from fqrewrite.model.container import Model
    from fqrewrite.plans.items import Plan

_Command = TypeVar("_Command", bound=Callable[..., Any])
FILE = click.Path(path_type=Path)

REPORT_FORMAT = click.option(
    "--report-format",
    type=click.Choice(["text", "md", "json"]),
    default="text",
    show_default=True,
    help="What is printed on the terminal; md is for a pull request.",
)
STRIP_TRAINING = click.option(
    "--strip-training",
    is_flag=True,
    help="First remove gradients, optimizer and all else that the outputs do not need.",
)
THAW = click.option("--thaw", is_flag=True, help="First make variables of a frozen graph's constant weights.")
RANGES = click.option(
    "--ranges",
    type=FILE,
    help='JSON file of known ranges: {"version": 1, "ranges": {"relu1:0": [0, 6]}}.',
)


TAG_SET = click.option(
    "--tag-set",
    metavar="TAG[,TAG...]",
    help="Which graph of a SavedModel: all its tags.  [default: the only one, or the one tagged serve]",
)


def read_tags(text: str | None) -> tuple[str, ...] | None:
    """The tags in a value of `--tag-set`; none in an empty one, None without the option."""
    return None if text is None else tuple(filter(None, (tag.strip() for tag in text.split(","))))


def choosing(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say what is meant of a SavedModel; the command is given them as `choice`."""

    @wraps(command)
    def run(*args: Any, tag_set: str | None, signature: tuple[str, ...], **given: Any) -> Any:
        from fqrewrite.source.open import Choice

        return command(*args, choice=Choice(read_tags(tag_set), signature), **given)

    return _all(
        [
            TAG_SET,
            click.option(
                "--signature",
                multiple=True,
                metavar="KEY",
                help="Which signature of a SavedModel; may be given several times.  "
                "[default: serving_default, or the only one]",
            ),
        ],
        run,
    )


def _all(options: list[Callable[[_Command], _Command]], command: _Command) -> _Command:
    for option in reversed(options):
        command = option(command)
    return command


def settings(command: _Command) -> _Command:
    """The options that shape a plan; they win over the config file."""
    return _all(
        [
            click.option("-c", "--config", type=FILE, help="YAML config; `fqrewrite config init` prints one."),
            click.option("--preset", help="Named settings to start from.  [default: tflite-int8]"),
            click.option(
                "--outputs", help="Output tensors, comma-separated: logits:0,boxes:0.  [default: found in the model]"
            ),
            click.option("--scope", help="Quantize only what is in this name scope."),
            click.option("--quant-delay", type=int, help="Training steps before quantization sets in."),
            click.option(
                "--freeze-bn-delay", type=int, help="Training step at which batch norms switch to moving statistics."
            ),
            click.option("--weight-bits", type=int, help="Bits of weights, 2 to 8."),
            click.option("--activation-bits", type=int, help="Bits of activations, 2 to 8."),
            click.option("--symmetric/--asymmetric", default=None, help="Ranges symmetric around zero, or not."),
            click.option(
                "--set",
                "bindings",
                multiple=True,
                metavar="NAME=VALUE",
                help="Make a constant of a placeholder: is_training=false. May be given several times.",
            ),
        ],
        command,
    )


def rewriting(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of `train` and `eval`."""
    return _all(
        [
            click.argument("model", type=FILE),
            click.option("-o", "--output", type=FILE, required=True, help="Where to write; the suffix says what."),
            click.option(
                "--plan", "plan_file", type=FILE, help="Apply this plan, made by `fqrewrite plan MODEL -o PLAN`."
            ),
            click.option("--report", type=FILE, help="Where the JSON report goes.  [default: OUTPUT.report.json]"),
            REPORT_FORMAT,
            click.option("--allow-empty", is_flag=True, help="Go on when there is nothing to quantize."),
            click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors."),
            click.option("-v", "--verbose", is_flag=True, help="List every quantizer and fold."),
        ],
        settings(choosing(command)),
    )


def read_config(given: dict[str, Any]) -> Config:
    """The configuration that the options of `settings` come to."""
    from fqrewrite.config.resolve import resolve

    flags = {key: value for key, value in given.items() if key != "config"}
    outputs = flags.pop("outputs")
    names = None if outputs is None else [name.strip() for name in outputs.split(",")]
    return resolve(given["config"], outputs=names, **flags)


def read_plan(path: Path, given: dict[str, Any], model: Model) -> Plan:
    """Reads the plan of a model; no option of `settings` can be given with it.

    Raises:
        ConfigError: `plan-conflict`, `plan-unreadable`, `plan-mismatch`.
    """
    from fqrewrite.plans import serialise

    flags = {"bindings": "set"}
    said = [f"--{flags.get(key, key).replace('_', '-')}" for key, value in given.items() if value not in (None, ())]
    if said:
        raise ConfigError("plan-conflict", f"{', '.join(said)} cannot be given with --plan")
    plan = serialise.read_plan(path)
    serialise.check_made_of(plan, model.sha256, model.path, path_text(path))
    return plan
