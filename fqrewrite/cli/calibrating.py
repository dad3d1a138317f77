"""Commands that run graphs on sample data."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from fqrewrite.cli.options import FILE, choosing, read_config, settings
from fqrewrite.cli.terminal import progress_bar, say
from fqrewrite.errors import path_text

if TYPE_CHECKING:
    from fqrewrite.model.statistics_file import Method
    from fqrewrite.run.images import ImageOptions, Layout
    from fqrewrite.source.open import Choice
    from fqrewrite.verbs.calibrate import Calibrated

_Command = TypeVar("_Command", bound=Callable[..., Any])
_NUMBERS = "N[,N...]"  # for all channels, or for each
_METHODS = ("min-max", "moving-average", "percentile", "mse", "entropy")
_DATA_HELP = (
    "Sample data: an .npz file (an array for each input, under its name; the first axis counts samples), an .npy "
    "file for the only input, a folder of pictures, or module:function that yields feeds."
)


def _size(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """``HEIGHTxWIDTH``."""
    if value is None:
        return None
    found = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", value)
    if not found:
        raise click.BadParameter(f"{value!r} is no size such as 224x224 (height x width)", ctx, param)
    return int(found[1]), int(found[2])


def _numbers(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[float, ...] | None:
    """One number, or one for each channel with commas between them."""
    if value is None:
        return None
    try:
        numbers = tuple(float(text) for text in value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r} is no number, nor numbers with commas", ctx, param) from None
    if any(number - number != 0 or (param.name == "std" and number <= 0) for number in numbers):
        raise click.BadParameter(f"{value!r} holds a number that cannot be used", ctx, param)
    return numbers


def _data_options(command: _Command) -> _Command:
    """How samples are read; `--data` itself is each command's own."""
    for option in (
        click.option("--layout", type=click.Choice(["NHWC", "NCHW"]), help="Of pictures.  [default: by the graph]"),
        click.option(
            "--std", callback=_numbers, metavar="N[,N...]", help="What (pixel - mean) is divided by.  [default: 1]"
        ),
        click.option(
            "--mean",
            callback=_numbers,
            metavar="N[,N...]",
            help="What is taken off pixels (0 to 255), or one for each channel.",
        ),
        click.option(
            "--image-size", callback=_size, metavar="HxW", help="What pictures are resized to.  [default: the graph's]"
        ),
        click.option(
            "--batch-size",
            type=click.IntRange(1),
            default=8,
            show_default=True,
            help="Samples at a time, where the graph does not fix it; the last batch may be smaller.",
        ),
        click.option(
            "--model",
            "graph_file",
            type=FILE,
            help="Graph file of the checkpoint, when no .meta lies beside it or that is the wrong one.",
        ),
    ):
        command = option(command)
    return command


def _images(
    image_size: tuple[int, int] | None,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    layout: Layout | None,
) -> ImageOptions:
    from fqrewrite.run.images import ImageOptions

    return ImageOptions(size=image_size, mean=mean or (0.0,), std=std or (1.0,), layout=layout)


@click.command(short_help="Measure the ranges of activations on sample data.")
@click.argument("models", nargs=-1, type=FILE, metavar="MODEL | --merge FILE...")
@click.option("-o", "--output", type=FILE, required=True, help="The ranges file to write, for `eval --ranges`.")
@click.option("--data", help=_DATA_HELP)
@click.option("--merge", "merges", is_flag=True, help="Put the ranges files of several calibrations together.")
@click.option(
    "--method",
    type=click.Choice(_METHODS),
    help="How ranges are chosen; mse and entropy minimise what quantization costs.  [default: min-max]",
)
@click.option(
    "--percentile",
    type=click.FloatRange(50, 100, min_open=True),
    help="Share of the values below the maximum, and above the minimum.  [default: 99.99]",
)
@click.option(
    "--ema-decay",
    type=click.FloatRange(0, 1, max_open=True),
    help="Decay per batch of moving averages.  [default: the config's]",
)
@_data_options
@choosing
@settings
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
@click.option("-v", "--verbose", is_flag=True, help="List every range.")
def calibrate(
    *,
    models: tuple[Path, ...],
    output: Path,
    data: str | None,
    merges: bool,
    method: Method | None,
    percentile: float | None,
    ema_decay: float | None,
    graph_file: Path | None,
    batch_size: int,
    image_size: tuple[int, int] | None,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    layout: Layout | None,
    choice: Choice,
    quiet: bool,
    verbose: bool,
    **given: Any,
) -> None:
    """Run the float MODEL on sample data, and write the ranges that `fqrewrite eval MODEL --ranges` needs.

    MODEL is what `eval` takes: a frozen graph, a checkpoint or a SavedModel. Give the same --config, --preset and
    --outputs to both. Every activation that would be quantized is measured, in one pass over the data and in constant
    memory. A graph with a fixed batch size gets just that many samples; where they do not come out even, the last ones
    are repeated.

    With --merge, FILEs are what this command wrote for parts of the data, in their order.
    """
    import gc

    if percentile is not None and method is None and not merges:
        method = "percentile"
    if percentile is not None and method not in ("percentile", None):
        raise click.UsageError(f"--percentile is for --method percentile, not {method}.")
    if ema_decay is not None and (merges or method != "moving-average"):
        raise click.UsageError("--ema-decay is for --method moving-average, when it measures.")
    gc.enable()  # a long run, and not one that builds its objects once
    if merges:
        said = [f"--{key.replace('_', '-')}" for key, value in given.items() if value not in (None, ())]
        said += ["--data"] if data is not None else []
        said += ["--tag-set"] if choice.tag_set is not None else []
        said += ["--signature"] if choice.signatures else []
        if said:
            raise click.UsageError(f"{', '.join(said)} cannot be given with --merge.")
        made, what = _merged(models, output, method, percentile), f"{len(models)} merged"
    else:
        if len(models) != 1 or data is None:
            raise click.UsageError("Give one MODEL and --data DATA, or --merge and the files to put together.")
        images = _images(image_size, mean, std, layout)
        how = {"method": method or "min-max", "ema_decay": ema_decay}
        if percentile is not None:
            how["percentile"] = percentile
        made, what = _measured(models[0], graph_file, choice, output, data, how, batch_size, images, given, quiet)
    _write(made, what, output, quiet, verbose)


def _measured(
    path: Path,
    graph_file: Path | None,
    choice: Choice,
    output: Path,
    data: str,
    how: dict[str, Any],
    batch_size: int,
    images: ImageOptions,
    given: dict[str, Any],
    quiet: bool,
) -> tuple[Calibrated, str]:
    from fqrewrite.model.atomic import check_distinct, check_folder
    from fqrewrite.source.open import open_source
    from fqrewrite.verbs import calibrate as calibration

    check_folder(output)
    source = open_source(path, graph_file, choice)
    others = [Path(data), *([given["config"]] if given["config"] else [])]
    check_distinct([*source.files, *others], [output], directories=[source.directory])
    config = read_config(given)
    with progress_bar("calibrating", shown=not quiet) as progress:
        made = calibration.calibrate(
            source,
            config,
            data,
            calibration.Choice(**how),
            batch_size=batch_size,
            images=images,
            progress=progress,
        )
    return made, path_text(path)


def _merged(paths: tuple[Path, ...], output: Path, method: Method | None, percentile: float | None) -> Calibrated:
    from fqrewrite.model.atomic import check_distinct
    from fqrewrite.model.statistics_file import read_statistics
    from fqrewrite.verbs.calibrate import merge

    if not paths:
        raise click.UsageError("--merge needs the files to put together.")
    check_distinct(paths, [output])
    return merge([(path_text(path), read_statistics(path)) for path in paths], method, percentile)


def _write(made: Calibrated, what: str, output: Path, quiet: bool, verbose: bool) -> None:
    from fqrewrite.model.atomic import write_atomic
    from fqrewrite.model.statistics_file import statistics_to_json
    from fqrewrite.report.calibration import calibration_text

    write_atomic(output, statistics_to_json(made.statistics, made.ranges).encode())
    if not quiet:
        say(calibration_text(made, what, path_text(output), verbose=verbose))


@click.command(short_help="Find out which quantizers cost most, on sample data.")
@click.argument("original", type=FILE, metavar="FLOAT_MODEL")
@click.argument("quantized", type=FILE, metavar="EVAL_GRAPH")
@click.option("--data", required=True, help=_DATA_HELP)
@_data_options
@choosing
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def compare(
    *,
    original: Path,
    quantized: Path,
    data: str,
    graph_file: Path | None,
    batch_size: int,
    image_size: tuple[int, int] | None,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    layout: Layout | None,
    choice: Choice,
    as_json: bool,
) -> None:
    """Run FLOAT_MODEL and the EVAL_GRAPH that `fqrewrite eval` made of it on the same data, and compare every tensor.

    The worst come first: the signal-to-quantization-noise ratio (SQNR) in decibels of all that went wrong up to there,
    and what each quantizer alone does to the float tensor. Keep layers with a low ratio of their own at more bits, or
    give them another range.
    """
    import gc

    from fqrewrite.report.comparison import comparison_json, comparison_text
    from fqrewrite.source.open import choices, open_source
    from fqrewrite.verbs.compare import compare as make

    gc.enable()  # a long run, and not one that builds its objects once
    images = _images(image_size, mean, std, layout)
    own, other = choices([original, quantized], choice)
    floats, integers = open_source(original, graph_file, own), open_source(quantized, choice=other)
    with progress_bar("comparing", shown=True) as progress:
        made = make(floats, integers, data, batch_size=batch_size, images=images, progress=progress)
    names = path_text(original), path_text(quantized)
    say(comparison_json(made, *names) if as_json else comparison_text(made, *names))
