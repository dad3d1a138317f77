"""Configs for tests that are about tf.contrib.quantize's recipe, or about neither preset in particular."""

from __future__ import annotations

from typing import Any

import msgspec

from fqrewrite.config.records import Config, WeightSettings
from fqrewrite.config.resolve import resolve

CONTRIB = msgspec.structs.replace(resolve(None, preset="contrib"), origins={})
"""The preset contrib, as of no file."""


def contrib(**settings: Any) -> Config:
    """The preset contrib with other settings."""
    return msgspec.structs.replace(CONTRIB, **settings)


def contrib_weights(**settings: Any) -> WeightSettings:
    """The weights of preset contrib with other settings."""
    return msgspec.structs.replace(CONTRIB.weights, **settings)
