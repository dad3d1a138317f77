"""Precedence: command-line flags over the config file over the preset over the defaults."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import msgspec

from fqrewrite.config import entries, presets
from fqrewrite.config.bindings import parse_bindings
from fqrewrite.config.check import check, describe_flag
from fqrewrite.config.records import DEFAULT_PRESET, ActivationOverrides, Config, Rule, WeightOverrides
from fqrewrite.config.schema import ConfigFile, MatchBy, RuleEntry
from fqrewrite.config.selectors import Selector
from fqrewrite.config.source import KeyPath, dotted_key, read_source
from fqrewrite.config.targets import check_target
from fqrewrite.errors import ConfigError, path_text

Values: TypeAlias = "dict[tuple[str, ...], object]"

_MAPPING = "config"
"""What stands for the file's name, where there is none."""


class _Layer(msgspec.Struct, frozen=True):
    """What one place says.

    Attributes:
        file: the settings, as a file would give them.
        origin: where a key is set, for the report.
    """

    file: ConfigFile
    origin: Callable[[KeyPath], str]


def resolve(
    given_config: Path | str | Mapping[str, object] | None,
    *,
    default_preset: str = DEFAULT_PRESET,
    preset: str | None = None,
    quant_delay: int | None = None,
    freeze_bn_delay: int | None = None,
    scope: str | None = None,
    outputs: Sequence[str] | None = None,
    weight_bits: int | None = None,
    activation_bits: int | None = None,
    symmetric: bool | None = None,
    bindings: Sequence[str] | None = None,
) -> Config:
    """All settings of a run. Without a file, and with the default preset, no YAML is read.

    Args:
        given_config: the config file, or its content as plain values; None for none.
        default_preset: what is started from when neither the file nor the flag names a preset.
        preset, quant_delay, freeze_bn_delay, scope: the flags of these names; None when not given.
            An empty scope takes the file's scope away.
        outputs: tensor names of ``--outputs``; None or empty when not given.
        weight_bits, activation_bits: flags for ``weights.bits`` and ``activations.bits``.
        symmetric: flag for ``weights.symmetric`` and ``activations.symmetric`` at once, as contrib had it.
        bindings: ``NAME=VALUE`` of every flag ``--set``; None or empty when not given.

    Raises:
        ConfigError: all that `read_source`, `check`, `parse_bindings` and `check_target` raise, config-preset, and
            config-value for a mapping that no file could hold.
    """
    file = _config_layer(given_config)
    given: dict[KeyPath, tuple[str, object]] = {
        ("preset",): ("--preset", preset),
        ("quant_delay",): ("--quant-delay", quant_delay),
        ("freeze_bn_delay",): ("--freeze-bn-delay", freeze_bn_delay),
        ("scope",): ("--scope", scope),
        ("outputs",): ("--outputs", list(outputs) if outputs else None),
        ("weights", "bits"): ("--weight-bits", weight_bits),
        ("activations", "bits"): ("--activation-bits", activation_bits),
        ("weights", "symmetric"): ("--symmetric", symmetric),
        ("activations", "symmetric"): ("--symmetric", symmetric),
    }
    bound = parse_bindings(bindings or ())
    flags = _flags({key: flag for key, flag in given.items() if flag[1] is not None} | bound)

    start, place = _preset_name(flags, file, default_preset)
    layers = [layer for layer in (_preset_layer(start, place), file, flags) if layer is not None]

    values = _flatten(msgspec.to_builtins(Config()))
    # The defaults are those of the default preset; any other may leave keys out.
    origins = dict.fromkeys(values, f"preset {start}" if start == DEFAULT_PRESET else "default")
    for layer in layers:
        said = _flatten(msgspec.to_builtins(layer.file))
        values |= {_canonical(key): value for key, value in said.items()}
        origins |= {_canonical(key): layer.origin(key) for key in said}
    values["preset",] = start
    origins["preset",] = place or "default"

    config = msgspec.convert(_nest(values), Config)
    config = msgspec.structs.replace(
        config,
        scope=(config.scope or "").rstrip("/") or None,
        outputs=_ported(config.outputs),
        rules=_merged_rules(start, layers),
        origins={dotted_key(key): origin for key, origin in origins.items()},
    )
    check_target(config)
    return config


def _config_layer(given: Path | str | Mapping[str, object] | None) -> _Layer | None:
    if given is None:
        return None
    if not isinstance(given, Mapping):
        return _read(Path(given))
    try:
        # As a file has them: tuples are lists, keys are text.
        plain = msgspec.json.decode(msgspec.json.encode(dict(given)))
    except (TypeError, ValueError) as error:
        what = f"a config holds text, numbers, booleans, lists and mappings: {error}"
        raise ConfigError("config-value", what, where=_MAPPING) from None
    return _Layer(check(plain, _where_in_mapping), lambda _: _MAPPING)


def _where_in_mapping(path: KeyPath, *, key: bool = False) -> str:
    return f"{_MAPPING}: {dotted_key(path)}" if path else _MAPPING


def _read(path: Path, *, name: str | None = None) -> _Layer:
    """A config file as a layer; `name` stands for the file's own in origins.

    Origins go into the rewritten graph, and must not depend on the folder that the file is in.
    """
    source = read_source(path)
    return _Layer(check(source.data, source.where), lambda key: f"{name or path_text(path.name)}:{source.line(key)}")


def _flags(given: dict[KeyPath, tuple[str, object]]) -> _Layer:
    names = {key: flag for key, (flag, _) in given.items()}
    data = _nest({tuple(map(str, key)): value for key, (_, value) in given.items()})
    return _Layer(check(data, describe_flag(names)), lambda key: names[key])


def _preset_name(flags: _Layer, file: _Layer | None, default: str) -> tuple[str, str | None]:
    """The preset to start from, and who asked for it (None when nobody did)."""
    for layer in (flags, file):
        if layer is not None and isinstance(layer.file.preset, str):
            return layer.file.preset, layer.origin(("preset",))
    return default, None


def _preset_layer(name: str, place: str | None) -> _Layer | None:
    """The preset's file as a layer; None for the default one, whose values are the defaults."""
    if name == DEFAULT_PRESET:
        return None
    presets.check(name, where=place)
    return _read(presets.path(name), name=f"preset {name}")


def _merged_rules(preset: str, layers: list[_Layer]) -> tuple[Rule, ...]:
    """The rules of the preset and then those of the file."""
    rules = list(Config().rules) if preset == DEFAULT_PRESET else []
    for layer in layers:
        said = _rules(layer)
        # A file that began as a copy of its preset's has these already.
        copied = [msgspec.structs.replace(rule, origin="") for rule in said[: len(rules)]]
        if copied == [msgspec.structs.replace(rule, origin="") for rule in rules]:
            said = said[len(rules) :]
        rules += said
    return tuple(rules)


def _rules(layer: _Layer) -> list[Rule]:
    if layer.file.rules is msgspec.UNSET:
        return []
    return [_rule(entry, layer.origin(("rules", index))) for index, entry in enumerate(layer.file.rules)]


def _rule(entry: RuleEntry, origin: str) -> Rule:
    # Keys that a file leaves out are not in its builtins, and None in the overrides.
    said = msgspec.to_builtins(entry)
    return Rule(
        selector=_selector(entry.match),
        weights=msgspec.convert(said.get("weights"), WeightOverrides | None),
        activations=msgspec.convert(said.get("activations"), ActivationOverrides | None),
        quantize=said.get("quantize"),
        because=said.get("because"),
        origin=origin,
    )


def _selector(match: str | MatchBy) -> Selector:
    if isinstance(match, str):
        return Selector(name=match)
    ops = () if match.op is msgspec.UNSET else (match.op,) if isinstance(match.op, str) else tuple(match.op)
    return Selector(name=None if match.name is msgspec.UNSET else match.name, ops=ops)


def _ported(outputs: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """Tensor names with their port, each once: `logits` is `logits:0`, as it is for TensorFlow."""
    if outputs is None:
        return None
    return tuple(dict.fromkeys(name if ":" in name else f"{name}:0" for name in outputs))


def _canonical(key: tuple[str, ...]) -> tuple[str, ...]:
    """A key path in which the model's own names are written in the one way that all layers share."""
    if len(key) == 2 and key[0] in ("ranges", "set"):
        return key[0], entries.canonical(key[0], key[1])
    return key


_NOT_MERGED = ("version", "rules", "origins")


def _flatten(values: dict[str, object]) -> Values:
    """Settings by key path, down to single values, so that a layer replaces `weights.bits` alone."""
    flat: Values = {}
    for key, value in values.items():
        if isinstance(value, dict) and key not in _NOT_MERGED:
            flat |= {(key, inner): leaf for inner, leaf in value.items()}
        elif key not in _NOT_MERGED:
            flat[key,] = value
    return flat


def _nest(flat: Values) -> dict[str, object]:
    """The inverse of `_flatten`."""
    nested: dict[str, object] = {path[0]: value for path, value in flat.items() if len(path) == 1}
    groups: dict[str, dict[str, object]] = {}
    for path, value in flat.items():
        if len(path) == 2:
            groups.setdefault(path[0], {})[path[1]] = value
    return nested | groups
