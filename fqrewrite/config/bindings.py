"""Values of ``--set NAME=VALUE``: one scalar of YAML 1.2's core schema, or a flat list of them in brackets.

PyYAML reads YAML 1.1, where `no` is false and `1e-3` is text, and costs its import; a flag needs neither.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from fqrewrite.config.source import KeyPath
from fqrewrite.errors import ConfigError

_FLAG = "--set"
_CONSTANTS: dict[str, bool | None] = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
}
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"([-+]?)\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


def parse_bindings(texts: Sequence[str]) -> dict[KeyPath, tuple[str, object]]:
    """The flags as settings by key path, each with what messages call it.

    Args:
        texts: ``NAME=VALUE`` each.

    Raises:
        ConfigError: config-value for a text without name or "=", config-duplicate-key.
    """
    found: dict[KeyPath, tuple[str, object]] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not name:
            what = f'expected NAME=VALUE, such as is_training=false, got "{text}"'
            raise ConfigError("config-value", what, where=_FLAG)
        if ("set", name) in found:
            raise ConfigError("config-duplicate-key", f"{name} is set twice", where=_FLAG)
        found["set", name] = (f"{_FLAG} {name}", _value(value))
    return found


def _value(text: str) -> object:
    if text.startswith("[") and text.endswith("]"):
        inner = text[1:-1].strip()
        return [_scalar(part.strip()) for part in inner.split(",")] if inner else []
    return _scalar(text)


def _scalar(text: str) -> object:
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    # Python does not turn more digits than these into a number, and no placeholder holds them.
    if len(text) <= 300:
        if _INT.fullmatch(text):
            return int(text, 0) if text.startswith(("0o", "0x")) else int(text)
        if _FLOAT.fullmatch(text):
            return float(text)
    special = _SPECIAL.fullmatch(text)
    if special:
        return float(f"{special[1] or ''}inf" if special[2] else "nan")
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1]
    return text
