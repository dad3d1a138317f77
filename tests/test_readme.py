"""README says what the code does: generated tables are current, every command, option and config key is in it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
import pytest

from fqrewrite.cli import cli
from fqrewrite.config.records import Config

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _commands(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        yield f"{path} {name}".strip(), command
        if isinstance(command, click.Group):
            yield from _commands(command, f"{path} {name}")


@pytest.mark.parametrize(("name", "command"), [pytest.param(*item, id=item[0]) for item in _commands(cli, "")])
def test_every_command_and_option_is_documented(name: str, command: click.Command) -> None:
    assert re.search(rf"\b{name.split()[-1]}\b", README)
    assert command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name
            assert any(option in README for option in parameter.opts), parameter.opts


@pytest.mark.parametrize("key", sorted(set(Config.__struct_encode_fields__) - {"origins"}))
def test_every_config_key_is_documented(key: str) -> None:
    assert re.search(rf"^{key}:", README, re.MULTILINE)
    value = msgspec.to_builtins(Config())[key]
    for inner in value if isinstance(value, dict) else ():
        assert re.search(rf"^{key}:.*\b{inner}:", README, re.MULTILINE), inner


def test_the_generated_tables_are_current(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    monkeypatch.delitem(sys.modules, "update_readme", raising=False)
    import update_readme

    assert update_readme.updated(README) == README


def test_the_first_screen_holds_two_commands() -> None:
    first_screen = "\n".join(README.splitlines()[:40])
    assert len(re.findall(r"```sh\n(.+)\n```", first_screen)) == 2
