"""What commands print."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

import click


def say(text: str | bytes) -> None:
    """Prints what a command has to say; a reader that has gone (``| head``) is no failure."""
    try:
        click.echo(text, nl=False)
    except BrokenPipeError:
        # What is still buffered must have somewhere to go, or the interpreter complains at its end.
        with contextlib.suppress(OSError), Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())


def is_terminal() -> bool:
    """Whether somebody looks on, and not a file or another program."""
    return sys.stdout is not None and sys.stdout.isatty()
