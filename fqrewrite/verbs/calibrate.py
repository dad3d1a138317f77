"""Ranges of activations from sample data: the float graph runs once over it, and the plan's sites are measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec

from fqrewrite.config.records import Config
from fqrewrite.errors import ConfigError, InputError, Refusal, path_text
from fqrewrite.model.ranges_file import Range
from fqrewrite.model.statistics_file import Method, Statistics
from fqrewrite.plans.items import Note, Plan
from fqrewrite.run.clipping import chosen_range
from fqrewrite.run.data import open_data
from fqrewrite.run.images import AS_THEY_ARE, ImageOptions
from fqrewrite.run.inputs import graph_inputs
from fqrewrite.run.measure import HISTOGRAM_METHODS, Meter, Wanted, merged
from fqrewrite.run.outliers import LEAST_RATIO, SHARE
from fqrewrite.run.session import Runner
from fqrewrite.source.open import Source
from fqrewrite.verbs.float_graph import float_graph

DEFAULT_PERCENTILE = 99.99
_MOST_LISTED = 3

Progress = Callable[[int, int | None], None]
"""Takes the number of samples of a batch that is done, and of all samples where that is known."""


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """How ranges are chosen.

    Attributes:
        method: which statistics are taken, and what is made of them.
        percentile: for method percentile, in (50, 100].
        ema_decay: for moving averages; None for the config's.
    """

    method: Method = "min-max"
    percentile: float = DEFAULT_PERCENTILE
    ema_decay: float | None = None


class Calibrated(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of a calibration.

    Attributes:
        statistics: what was measured.
        ranges: by tensor.
        notes: what the user should know.
    """

    statistics: Statistics
    ranges: dict[str, Range]
    notes: tuple[Note, ...] = ()


def calibrate(
    source: Source,
    config: Config,
    data: str,
    choice: Choice,
    *,
    batch_size: int,
    images: ImageOptions = AS_THEY_ARE,
    progress: Progress,
) -> Calibrated:
    """Runs a float model on sample data, and measures every activation that `eval` would need a range for.

    Args:
        source: as `eval` takes it; the model is edited.
        config: as `eval` takes it.
        data: see `run.data.open_data`.
        choice: of ranges.
        batch_size: where neither graph nor data decide it.
        images: how pictures become samples.
        progress: is called after every batch.

    Raises:
        Refusal: `nothing-to-calibrate`, and as `verbs.float_graph.float_graph`.
        InputError: `graph-not-run`, `tensor-not-finite`, `tensor-without-values`; about the data, see `run.data`.
        ConfigError: about options and outputs.
    """
    sha256 = source.model.sha256
    where = path_text(source.path)
    found = float_graph(source, config)
    wanted = _wanted(found.plan, choice)
    if not wanted:
        what = "the eval graph needs no range from data: no activation is quantized, or all ranges are fixed"
        raise Refusal("nothing-to-calibrate", what, where=where)
    meters = [Meter(entry, choice.method) for entry in wanted]
    tensors = [entry.tensor for entry in wanted]
    inputs = graph_inputs(found.graph, map(found.graph.value, tensors))
    samples = batches = 0
    with Runner(found.graph, tensors, where) as runner, open_data(data, inputs, batch_size, images) as opened:
        for batch in opened.batches:
            place = f"sample {samples} to {samples + batch.samples - 1}"
            for meter, values in zip(meters, runner.run(batch.feed), strict=True):
                meter.add(values, place)
            samples, batches = samples + batch.samples, batches + 1
            progress(batch.samples, opened.samples)
    measured = {meter.wanted.tensor: meter.record() for meter in meters}
    empty = [tensor for tensor, entry in measured.items() if entry is None]
    if empty:
        what = f"{len(empty)} tensors are empty for all samples, the first is {empty[0]}"
        raise InputError("tensor-without-values", what, where=where)
    statistics = Statistics(
        model=sha256,
        method=choice.method,
        percentile=choice.percentile if choice.method == "percentile" else None,
        samples=samples,
        batches=batches,
        tensors={tensor: measured[tensor] for tensor in sorted(measured)},  # type: ignore[misc]
    )
    return Calibrated(statistics=statistics, ranges=_ranges(statistics), notes=(*found.notes, *_stretched(meters)))


def _stretched(meters: Sequence[Meter]) -> Iterator[Note]:
    """Says which ranges are wide for the sake of few values."""
    found = [(meter.wanted.tensor, stretch) for meter in meters if (stretch := meter.stretch()) is not None]
    stretched = sorted((entry for entry in found if entry[1].ratio >= LEAST_RATIO), key=lambda entry: -entry[1].ratio)
    if not stretched:
        return
    listed = "; ".join(
        f"{tensor} is {stretch.ratio:.3g} times as wide as [{stretch.low:.4g}, {stretch.high:.4g}]"
        for tensor, stretch in stretched[:_MOST_LISTED]
    )
    more = f"; and {len(stretched) - _MOST_LISTED} more" if len(stretched) > _MOST_LISTED else ""
    text = (
        f"{len(stretched)} of {len(meters)} ranges are wide for the sake of few values, and {SHARE:.2%} of the others "
        f"lie closer together: {listed}{more}. Try --method percentile or mse, and see with `fqrewrite compare`"
    )
    yield Note(code="range-stretched", text=text)


def merge(parts: Sequence[tuple[str, Statistics]], method: Method | None, percentile: float | None) -> Calibrated:
    """The calibration that one run over the samples of several would have been.

    Args:
        parts: each with the file that it is from.
        method: None for the one that all parts have.
        percentile: None for that of the parts, or the default.

    Raises:
        InputError: `statistics-differ`, and as `run.measure.merged`.
        ConfigError: `method-not-measured`.
    """
    total = merged(parts)
    known = {(part.method, part.percentile) for _, part in parts}
    if method is None:
        if len(known) > 1:
            listed = ", ".join(sorted({part.method for _, part in parts}))
            what = f"the files chose their ranges by different methods or percentiles ({listed})"
            raise InputError("statistics-differ", what, where=parts[-1][0], remedy="say which: --method, --percentile")
        ((method, measured_percentile),) = known
        percentile = percentile or measured_percentile
    _check_measured(total, method)
    share = (percentile or DEFAULT_PERCENTILE) if method == "percentile" else None
    total = msgspec.structs.replace(total, method=method, percentile=share)
    return Calibrated(statistics=total, ranges=_ranges(total))


def _check_measured(statistics: Statistics, method: Method) -> None:
    entries = statistics.tensors.values()
    if (method in HISTOGRAM_METHODS and any(entry.histogram is None for entry in entries)) or (
        method == "moving-average" and any(entry.average is None for entry in entries)
    ):
        what = f"the files hold what method {statistics.method} needs, and not what {method} needs"
        raise ConfigError("method-not-measured", what, where="--method")


def _wanted(plan: Plan, choice: Choice) -> list[Wanted]:
    """The activations whose range is not known, each once, in the order of the plan."""
    found: dict[str, Wanted] = {}
    for item in plan.quantizers:
        if item.role in ("weights", "constant") or item.range.source == "constant" or item.tensor in found:
            continue
        found[item.tensor] = Wanted(
            tensor=item.tensor,
            bits=item.scheme.bits,
            symmetric=item.scheme.symmetric,
            narrow_range=item.scheme.narrow_range,
            decay=item.range.decay if choice.ema_decay is None else choice.ema_decay,
        )
    return list(found.values())


def _ranges(statistics: Statistics) -> dict[str, Range]:
    return {
        tensor: chosen_range(entry, statistics.method, statistics.percentile)
        for tensor, entry in statistics.tensors.items()
    }
