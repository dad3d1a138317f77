"""The ranges that the config fixes (its key `ranges`): constants in the training graph and in the eval graph."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from fqrewrite.config.records import Config, Limit
from fqrewrite.errors import ConfigError
from fqrewrite.plans.items import Note, QuantizerItem, RangeSpec


def fix_ranges(
    quantizers: Sequence[QuantizerItem], config: Config
) -> tuple[tuple[QuantizerItem, ...], tuple[Note, ...]]:
    """Gives every quantizer whose tensor the config names the range that stands there.

    Args:
        quantizers: of a plan.
        config: the resolved configuration.

    Returns:
        The quantizers, and a note `range-unused` for every entry that no quantizer is on.

    Raises:
        ConfigError: config-value, for a range by channels where the quantizer has not just as many.
    """
    if not config.ranges:
        return tuple(quantizers), ()
    fixed = tuple(_fixed(item, config) if item.tensor in config.ranges else item for item in quantizers)
    known = list(dict.fromkeys(item.tensor for item in quantizers))
    notes = (_unused(tensor, _origin(config, tensor), known) for tensor in config.ranges if tensor not in known)
    return fixed, tuple(notes)


def channels(item: QuantizerItem) -> int | None:
    """How many ranges a quantizer has, one for each channel; None for one range in all."""
    if item.scheme.granularity == "per_tensor":
        return None
    return item.weight_shape[2] * item.weight_shape[3] if item.depthwise else item.weight_shape[-1]


def nearest_name(tensor: str, known: Sequence[str]) -> str:
    """`` (did you mean relu1:0?)``, or nothing when no name is like this one."""
    import difflib

    close = difflib.get_close_matches(tensor, known, n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _fixed(item: QuantizerItem, config: Config) -> QuantizerItem:
    import numpy as np

    from fqrewrite.plans.constants import usable_limits

    origin = _origin(config, item.tensor)
    low, high = (
        np.asarray(_per_channel(end, channels(item), item, origin), np.float32) for end in config.ranges[item.tensor]
    )
    scheme = item.scheme
    minimum, maximum = usable_limits(low, high, scheme.bits, scheme.symmetric, scheme.narrow_range)
    return msgspec.structs.replace(
        item,
        range=RangeSpec(source="constant", minimum=minimum, maximum=maximum),
        because=item.because or origin,
    )


def _per_channel(end: Limit, number: int | None, item: QuantizerItem, origin: str) -> tuple[float, ...]:
    if isinstance(end, int | float):
        return (end,) * (number or 1)
    if number == len(end):
        return end
    if number is None:
        what = f"{item.tensor} is quantized with one range for the whole tensor: write [min, max]"
    else:
        what = f"{item.tensor} has {number} channels, and the range is for {len(end)}"
    raise ConfigError("config-value", what, where=f"{origin}: ranges.{item.tensor}")


def _origin(config: Config, tensor: str) -> str:
    return config.origins.get(f"ranges.{tensor}", "config")


def _unused(tensor: str, origin: str, known: Sequence[str]) -> Note:
    text = f"{origin}: ranges has {tensor}, which no quantizer is on{nearest_name(tensor, known)}"
    return Note(code="range-unused", text=text)
