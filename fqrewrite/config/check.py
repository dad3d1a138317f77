"""Checks plain values against the schema of config files; errors name the place in the user's own terms.

Files and flags both come through here, so that both meet the same limits and the same messages.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol

import msgspec

from fqrewrite.config import entries, explain, selectors
from fqrewrite.config.schema import VERSION, ConfigFile, MatchBy, RuleEntry
from fqrewrite.config.source import KeyPath
from fqrewrite.errors import ConfigError

if TYPE_CHECKING:
    from msgspec.inspect import Type


class Locate(Protocol):
    """Says where a place in the data is, for messages."""

    def __call__(self, path: KeyPath, *, key: bool = False) -> str: ...


def check(data: object, where: Locate) -> ConfigFile:
    """Checks the content of a config file, or of what takes its place.

    Args:
        data: None, or mappings, lists and scalars.
        where: says where in the file a path is.

    Raises:
        ConfigError: config-version, config-unknown-key, config-selector, config-duplicate-key, config-value.
    """
    if data is None:
        return ConfigFile()
    if not isinstance(data, dict):
        what = f"expected a mapping of keys such as version and preset, got {explain.found_words(data)}"
        raise ConfigError("config-value", what, where=where(()))
    # First, because the keys of another version are not ours to judge.
    version = data.get("version", VERSION)
    if version != VERSION or isinstance(version, bool):
        what = f"this fqrewrite reads config files of version {VERSION}, got {explain.found_words(version)}"
        raise ConfigError("config-version", what, where=where(("version",)))
    try:
        file = msgspec.convert(data, ConfigFile)
    except msgspec.ValidationError as error:
        _check_keys(data, ConfigFile, (), where)
        entries.check(data, where)
        raise _explained(error, data, where) from None
    entries.check(data, where)
    for index, rule in enumerate(file.rules or ()):
        _check_rule(rule, ("rules", index), where)
    return file


def _check_keys(data: object, kind: type[msgspec.Struct], path: KeyPath, where: Locate) -> None:
    """Refuses the first key that the schema does not have. Values of a wrong kind are passed over."""
    if not isinstance(data, dict):
        return
    known = explain.fields(kind)
    for key, value in data.items():
        if key not in known:
            what = f"unknown key {key}{_nearest(key, known)}"
            raise ConfigError("config-unknown-key", what, where=where((*path, key), key=True))
        for record in explain.structs(known[key]):
            _check_keys(value, record, (*path, key), where)
        entry = explain.items(known[key])
        for record in explain.structs(entry) if entry is not None else ():
            for index, item in enumerate(value if isinstance(value, list) else ()):
                _check_keys(item, record, (*path, key, index), where)


def _nearest(key: str, known: dict[str, Type]) -> str:
    """The known key that was probably meant: a similar one, or the same one level further down."""
    import difflib

    deeper = [
        f"{parent}.{key}"
        for parent, expected in known.items()
        for record in explain.structs(expected)
        if key in explain.fields(record)
    ]
    close = deeper or difflib.get_close_matches(key.lower().replace("-", "_"), known, n=1)
    if close:
        return f"; did you mean {' or '.join(close)}?"
    return f"; known here: {', '.join(known)}"


# msgspec writes the place at the end of its message, and its own keys need no quoting.
_PLACE = re.compile(r" - at `\$([^`]*)`$")
_STEP = re.compile(r"\.(\w+)|\[(\d+)\]")


def _explained(error: msgspec.ValidationError, data: object, where: Locate) -> ConfigError:
    """The error of msgspec in plain words, at its line."""
    place = _PLACE.search(str(error))
    path: KeyPath = tuple(name or int(index) for name, index in _STEP.findall(place[1] if place else ""))
    value = data
    for step in path:
        value = value[step]  # type: ignore[index]  # msgspec has just walked the same way
    missing = re.match(r"Object missing required field `(\w+)`", str(error))
    if missing:
        return ConfigError("config-value", f"the key {missing[1]} is missing", where=where(path))
    expected = explain.expected_words(explain.at(ConfigFile, path))
    return ConfigError("config-value", f"expected {expected}, got {explain.found_words(value)}", where=where(path))


def _check_rule(rule: RuleEntry, path: KeyPath, where: Locate) -> None:
    """What holds between the keys of a rule (as `schema._RULE` has it for JSON schemas), and its selector."""
    overrides = (("weights", rule.weights), ("activations", rule.activations))
    said = [(key, settings) for key, settings in overrides if settings is not msgspec.UNSET]
    if not said and rule.quantize is msgspec.UNSET:
        what = "the rule changes nothing: give it weights, activations or quantize"
        raise ConfigError("config-value", what, where=where(path))
    for key, settings in said:
        if not msgspec.to_builtins(settings):
            raise ConfigError("config-value", "the mapping is empty", where=where((*path, key)))
        if rule.quantize is False:
            what = "has no effect beside quantize: false, which leaves the layer float"
            raise ConfigError("config-value", what, where=where((*path, key)))
    if isinstance(rule.match, MatchBy):
        if rule.match == MatchBy():
            what = "the mapping is empty: give it op, name, or both"
            raise ConfigError("config-value", what, where=where((*path, "match")))
        if rule.match.name is not msgspec.UNSET:
            selectors.check(rule.match.name, where=where((*path, "match", "name")))
    else:
        selectors.check(rule.match, where=where((*path, "match")))


def describe_flag(flags: dict[KeyPath, str]) -> Locate:
    """A `Locate` for values from the command line: the flag that sets the key, whole or in part."""

    def where(path: KeyPath, *, key: bool = False) -> str:
        return next(flag for start, flag in flags.items() if path[: len(start)] == start)

    return where
