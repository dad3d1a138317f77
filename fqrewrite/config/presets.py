"""The presets: config files that come with fqrewrite, one for each target."""

from __future__ import annotations

from pathlib import Path

from fqrewrite.config.records import DEFAULT_PRESET
from fqrewrite.errors import ConfigError


def folder() -> Path:
    """Where the preset files are: beside this module when installed, in `configs/presets` in a checkout."""
    here = Path(__file__).resolve().parent
    installed = here / "presets"
    return installed if installed.is_dir() else here.parents[1] / "configs" / "presets"


def names() -> tuple[str, ...]:
    """The names of all presets, sorted."""
    return tuple(sorted({DEFAULT_PRESET, *(file.stem for file in folder().glob("*.yaml"))}))


def check(name: str, *, where: str | None) -> None:
    """Refuses the name of a preset that there is not; `where` it is written is for the message.

    Raises:
        ConfigError: config-preset.
    """
    known = names()
    if name not in known:
        what = f'there is no preset "{name}"; the presets are: {", ".join(known)}'
        raise ConfigError("config-preset", what, where=where)


def path(name: str) -> Path:
    """The file of a preset; `name` is one of `names()`."""
    return folder() / f"{name}.yaml"
