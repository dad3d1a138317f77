"""What `fqrewrite config init` and `fqrewrite config schema` print."""

from __future__ import annotations

import json

import msgspec

from fqrewrite.config import presets
from fqrewrite.config.records import DEFAULT_PRESET, Config
from fqrewrite.config.schema import ConfigFile, MatchBy

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def template(preset: str = DEFAULT_PRESET) -> str:
    """A commented config file to start from: the file of a preset, which changes nothing where that preset is taken.

    Args:
        preset: one of `presets.names()`.

    Raises:
        ConfigError: config-preset.
    """
    presets.check(preset, where="--preset")
    return presets.path(preset).read_text(encoding="utf-8")


def schema_json() -> str:
    """The JSON schema (draft 2020-12) of config files, for editors and other tools."""
    schema = msgspec.json.schema(ConfigFile)
    properties = schema["$defs"][ConfigFile.__name__]["properties"]
    properties["preset"]["enum"] = list(presets.names())
    # msgspec drops this from a record that is a member of a union.
    schema["$defs"][MatchBy.__name__]["minProperties"] = 1
    # The defaults are not in the file's schema, where a key left out is not the same as its default.
    # A file's rules are added to those of its preset.
    defaults = msgspec.to_builtins(Config(rules=()))
    for key in properties.keys() & defaults.keys():
        properties[key]["default"] = defaults[key]
    return json.dumps({"$schema": DIALECT, **schema}, indent=2) + "\n"
