"""The ranges of an eval graph: every quantizer gets a constant, from the best source that knows one.

    activations    config, what an integer kernel fixes, ranges file, checkpoint when it was trained
    weights        config, ranges file, checkpoint when it was trained, the constant weights themselves
    constants      config, ranges file, the constants themselves, checkpoint

Tensors that share a range get the union of what is known about each (`plans.ties`).

A range that nobody knows is an error: the initial values of the training graph say nothing about the model.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec

from fqrewrite.config.records import Config
from fqrewrite.errors import InputError, Refusal
from fqrewrite.ir.graph import Graph
from fqrewrite.plans.constants import NotConstant, usable_limits
from fqrewrite.plans.fixed_ranges import channels, fix_ranges, nearest_name
from fqrewrite.plans.items import Note, Plan, QuantizerItem, RangeSpec
from fqrewrite.plans.weight_ranges import constant_weight_range

if TYPE_CHECKING:
    from fqrewrite.plans.constants import Array

Range: TypeAlias = tuple[tuple[float, ...], tuple[float, ...]]
"""(minima, maxima), one of each for the tensor or for every channel, as observed."""

Origin = Literal["config", "kernel", "ranges file", "checkpoint", "weights"]

_OF_PARAMETERS = ("weights", "constant")
_MOST_LISTED = 12
_MOST_UNUSED_LISTED = 5


class RangeSources(msgspec.Struct, frozen=True, kw_only=True):
    """Who may know ranges.

    Attributes:
        config: the configuration of this run, whose `ranges` go before those that the plan was made with.
        file: the ranges file's, by ``node:port``.
        file_name: that file; None without one.
        checkpoint: the variables `range_variables` that the checkpoint has; float32, a scalar or [C].
        checkpoint_name: that checkpoint; None without one.
    """

    config: Config = Config()
    file: Mapping[str, Range] = {}
    file_name: str | None = None
    checkpoint: Mapping[str, Array] = {}
    checkpoint_name: str | None = None


class ResolvedRanges(msgspec.Struct, frozen=True):
    """The outcome.

    Attributes:
        plan: every quantizer of it has a constant range.
        notes: what the user should know.
        origins: where each range came from, by quantizer id.
    """

    plan: Plan
    notes: tuple[Note, ...]
    origins: dict[str, Origin]


def share_ranges(items: Iterable[QuantizerItem]) -> tuple[QuantizerItem, ...]:
    """Gives quantizers of constant ranges that are tied the union of their ranges; others stay as they are."""
    items = tuple(items)
    known = {item.scope: item for item in items if item.range.source == "constant"}
    return tuple(_shared(item, known) if item.scope in known else item for item in items)


def _shared(item: QuantizerItem, known: Mapping[str, QuantizerItem]) -> QuantizerItem:
    if not item.tied_with and item.included == (0.0, 0.0):
        return item
    members = [item.range, *(known[scope].range for scope in item.tied_with if scope in known)]
    low = min(item.included[0], *(end for spec in members for end in spec.minimum))
    high = max(item.included[1], *(end for spec in members for end in spec.maximum))
    return msgspec.structs.replace(item, range=_spec((low,), (high,), item, item.tensor))


def range_variables(plan: Plan) -> tuple[str, ...]:
    """The variables of a checkpoint that `resolve_ranges` reads where they are; none of them need be there."""
    return tuple(name for item in plan.quantizers for name in (*_ends(item), _local_step(item)))


def resolve_ranges(plan: Plan, graph: Graph, sources: RangeSources) -> ResolvedRanges:
    """Makes every range of a plan a constant.

    Args:
        plan: what to do.
        graph: the source graph, its variables frozen to constants where there is a checkpoint.
        sources: who may know ranges.

    Raises:
        Refusal: `range-unknown`, which lists all quantizers whose range nobody knows.
        InputError: `range-invalid`, a range that is not finite, not ordered, or of another number of channels.
        ConfigError: see `fix_ranges`.
    """
    return _Resolver(plan, graph, sources).resolve()


def why_untrained(item: QuantizerItem, checkpoint: Mapping[str, Array]) -> str | None:
    """What shows that no training has seen a tensor, by a checkpoint that has its range; None when nothing does."""
    step = checkpoint.get(_local_step(item))
    if step is not None:
        return None if (step.ravel() > 0).all() else "its local_step in the checkpoint is 0"
    ends = tuple(set(map(float, checkpoint[name].ravel())) if name in checkpoint else None for name in _ends(item))
    if ends != tuple({start} for start in item.range.initial):
        return None
    return f"in the checkpoint it is [{item.range.initial[0]:g}, {item.range.initial[1]:g}], where it starts"


def range_values(plan: Plan, resolved: Plan) -> dict[str, Array]:
    """The values of a plan's range variables by name, float32.

    Args:
        plan: whose ranges are variables.
        resolved: the same quantizers with constant ranges.
    """
    import numpy as np

    constant = {item.id: item.range for item in resolved.quantizers}
    found: dict[str, Array] = {}
    for item in plan.quantizers:
        if item.range.source == "constant" or item.id not in constant:
            continue
        limits = constant[item.id]
        for name, end in zip(_ends(item), (limits.minimum, limits.maximum), strict=True):
            array = np.array(end, np.float32)
            found[name] = array if item.scheme.granularity == "per_channel" else array.reshape(())
    return found


class _Unknown(Exception):
    """A source does not know the range; says why."""


class _Resolver:
    def __init__(self, plan: Plan, graph: Graph, sources: RangeSources) -> None:
        self.plan = plan
        self.graph = graph
        self.sources = sources
        self.folds = {fold.id: fold for fold in plan.folds}
        self.fixed = {*sources.config.ranges, *plan.config.get("ranges", ())}
        self.origins: dict[str, Origin] = {}
        self.notes: list[Note] = []

    def resolve(self) -> ResolvedRanges:
        quantizers, notes = fix_ranges(self.plan.quantizers, self.sources.config)
        self.notes += [note for note in notes if note not in self.plan.notes]
        done: list[QuantizerItem] = []
        unknown: list[tuple[QuantizerItem, str]] = []
        for item in quantizers:
            try:
                done.append(msgspec.structs.replace(item, range=self._range(item)))
            except _Unknown as reason:
                unknown.append((item, str(reason)))
        if unknown:
            raise self._refusal(unknown)
        self._note_unused()
        plan = msgspec.structs.replace(self.plan, quantizers=share_ranges(done))
        return ResolvedRanges(plan, tuple(self.notes), self.origins)

    def _range(self, item: QuantizerItem) -> RangeSpec:
        if item.range.source == "constant" and item.tensor in self.fixed:
            self.origins[item.id] = "config"
            return item.range
        if item.range.source == "constant" and item.role not in _OF_PARAMETERS:
            self.origins[item.id] = "kernel"
            return item.range
        if item.tensor in self.sources.file:
            self.origins[item.id] = "ranges file"
            return self._from_file(item)
        if item.role == "constant":
            # The training graph, too, takes the range of this very step, which a checkpoint does not have yet.
            with contextlib.suppress(_Unknown):
                found = self._from_weights(item, _Unknown())
                self.origins[item.id] = "weights"
                return found
        try:
            found = self._from_checkpoint(item)
        except _Unknown as reason:
            if item.role not in _OF_PARAMETERS:
                known = list(self.sources.file)
                listed = self.sources.file_name is not None
                more = f"not in the ranges file{nearest_name(item.tensor, known)}; " if listed else ""
                raise _Unknown(f"{more}{reason}") from None
            found = self._from_weights(item, reason)
            self.origins[item.id] = "weights"
        else:
            self.origins[item.id] = "checkpoint"
        return found

    def _from_file(self, item: QuantizerItem) -> RangeSpec:
        low, high = self.sources.file[item.tensor]
        number = channels(item)
        if number is not None and len(low) == 1:
            low, high = low * number, high * number
        place = f"{self.sources.file_name}: ranges: {item.tensor}"
        if not item.scheme.symmetric and (max(low) > 0 or min(high) < 0):
            text = f"{place} does not hold zero, which a quantizer must represent exactly; it was widened"
            self.notes.append(Note(code="range-widened", text=text))
        return _spec(low, high, item, place)

    def _from_checkpoint(self, item: QuantizerItem) -> RangeSpec:
        checkpoint = self.sources.checkpoint
        if self.sources.checkpoint_name is None:
            raise _Unknown("there is no checkpoint")
        for name in _ends(item):
            if name not in checkpoint:
                raise _Unknown(f"{name} is not in the checkpoint")
        low, high = (tuple(map(float, checkpoint[name].ravel())) for name in _ends(item))
        untrained = why_untrained(item, checkpoint)
        if untrained is not None:
            raise _Unknown(f"it was never trained: {untrained}")
        place = f"{self.sources.checkpoint_name}: {item.scope}/min and max"
        return _spec(low, high, item, place)

    def _from_weights(self, item: QuantizerItem, reason: _Unknown) -> RangeSpec:
        fold = self.folds[item.fold] if item.fold is not None else None
        try:
            found = constant_weight_range(item.tensor, item.scheme, fold, self.graph, depthwise=item.depthwise)
        except NotConstant as error:
            raise _Unknown(f"{reason}; the weights are computed by {error}, which is not evaluated here") from None
        if found is None:
            raise _Unknown(f"{reason}; the weights are variables without values")
        return _spec(found.minimum, found.maximum, item, "the weights")

    def _note_unused(self) -> None:
        known = {item.tensor for item in self.plan.quantizers}
        unused = [tensor for tensor in self.sources.file if tensor not in known]
        if unused:
            number = f"{len(unused)} of {len(self.sources.file)} tensors"
            text = f"{self.sources.file_name}: no quantizer is on {number}: {_listed(unused, _MOST_UNUSED_LISTED)}"
            self.notes.append(Note(code="range-unused", text=text))

    def _refusal(self, unknown: list[tuple[QuantizerItem, str]]) -> Refusal:
        lines = [f"\n  {item.tensor} ({item.scope}): {reason}" for item, reason in unknown[:_MOST_LISTED]]
        if len(unknown) > _MOST_LISTED:
            lines.append(f"\n  and {len(unknown) - _MOST_LISTED} more")
        subject = "the range of 1 quantizer is" if len(unknown) == 1 else f"the ranges of {len(unknown)} quantizers are"
        where = self.sources.checkpoint_name or self.sources.file_name
        return Refusal("range-unknown", f"{subject} not known:{''.join(lines)}\n ", where=where)


def _ends(item: QuantizerItem) -> tuple[str, str]:
    return f"{item.scope}/min", f"{item.scope}/max"


def _local_step(item: QuantizerItem) -> str:
    return f"{item.scope}/{item.scope}/min/local_step"


def _spec(low: Iterable[float], high: Iterable[float], item: QuantizerItem, place: str) -> RangeSpec:
    """An observed range as the quantizer's own: zero inside, symmetric where the scheme says so, never empty."""
    import numpy as np

    lows, highs = (np.asarray(tuple(end), np.float32) for end in (low, high))
    number = channels(item)
    if lows.shape != (number or 1,) or highs.shape != lows.shape:
        wanted = "one range in all" if number is None else f"{number} channels"
        what = f"the quantizer of {item.tensor} has {wanted}, and this has {lows.size} minima and {highs.size} maxima"
        raise InputError("range-invalid", what, where=place)
    scheme = item.scheme
    with np.errstate(over="ignore", invalid="ignore"):
        minimum, maximum = usable_limits(lows, highs, scheme.bits, scheme.symmetric, scheme.narrow_range)
        wide = np.asarray(maximum, np.float32) - np.asarray(minimum, np.float32)
    # NaN and infinity reach the width, too.
    if not np.isfinite(wide).all():
        raise InputError("range-invalid", f"the range of {item.tensor} is not finite in float32", where=place)
    if (lows > highs).any():
        worst = int(np.argmax(lows - highs))
        what = f"the range of {item.tensor} has min {lows[worst]:g} greater than max {highs[worst]:g}"
        raise InputError("range-invalid", what, where=place)
    return RangeSpec(source="constant", minimum=minimum, maximum=maximum)


def _listed(names: list[str], most: int) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
