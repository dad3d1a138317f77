"""The entries of `ranges` and `set`, whose keys are names of the model's own.

msgspec cannot say at which key of a mapping a value is wrong, and knows nothing of what holds between the two ends of
a range; so both are judged here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fqrewrite.config import explain
from fqrewrite.config.schema import Binding, FixedRange, Number, PlaceholderName, TensorName
from fqrewrite.errors import ConfigError

if TYPE_CHECKING:
    from fqrewrite.config.check import Locate
    from fqrewrite.config.source import KeyPath

_KINDS = {"ranges": (TensorName, FixedRange), "set": (PlaceholderName, Binding)}


def check(data: dict[str, object], where: Locate) -> None:
    """Refuses the first entry that is wrong; a `ranges` or `set` that is no mapping at all is passed over.

    Args:
        data: the content of a config file.
        where: says where in the file a path is.

    Raises:
        ConfigError: config-value, config-duplicate-key.
    """
    for section, (name_kind, value_kind) in _KINDS.items():
        entries = data.get(section)
        seen: dict[str, str] = {}
        for name, value in entries.items() if isinstance(entries, dict) else ():
            path = (section, name)
            _check_type(name, name_kind, path, where, key=True)
            same = seen.setdefault(canonical(section, name), name)
            if same != name:
                what = f"{name} and {same} are the same tensor"
                raise ConfigError("config-duplicate-key", what, where=where(path, key=True))
            if section == "ranges" and isinstance(value, list) and len(value) == 2:
                _check_range(value, path, where)
            _check_type(value, value_kind, path, where)


def canonical(section: str, name: str) -> str:
    """The one way to write a name: a tensor with its port, a placeholder without."""
    if section == "set":
        return name.removesuffix(":0")
    return name if ":" in name else f"{name}:0"


def _check_type(value: object, kind: object, path: KeyPath, where: Locate, *, key: bool = False) -> None:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        expected = explain.expected_words(msgspec.inspect.type_info(kind))
        what = f"expected {expected}, got {explain.found_words(value)}"
        raise ConfigError("config-value", what, where=where(path, key=key)) from None


def _check_range(ends: list[object], path: KeyPath, where: Locate) -> None:
    """What a list of two must be for a range: numbers, or as many in one list as in the other, zero between them."""
    low, high = ends
    if isinstance(low, list) != isinstance(high, list):
        what = "one end is a list and the other is not; per channel, write [[min, ...], [max, ...]]"
        raise ConfigError("config-value", what, where=where(path))
    lows, highs = (end if isinstance(end, list) else [end] for end in ends)
    for index, values in enumerate((lows, highs)):
        for channel, value in enumerate(values):
            _check_type(value, Number, (*path, index, *([channel] if isinstance(low, list) else ())), where)
    if len(lows) != len(highs):
        what = f"{len(lows)} minima and {len(highs)} maxima: a channel needs one of each"
        raise ConfigError("config-value", what, where=where(path))
    for channel, (smallest, largest) in enumerate(zip(lows, highs, strict=True)):
        if not smallest <= 0 <= largest or smallest == largest:
            place = f" of channel {channel}" if isinstance(low, list) else ""
            what = f"the range [{smallest}, {largest}]{place} must hold zero and have min < max"
            if 0 < smallest < largest or smallest < largest < 0:
                what += f"; write [{min(smallest, 0)}, {max(largest, 0)}]"
            raise ConfigError("config-value", what, where=where(path))
