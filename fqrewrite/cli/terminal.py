"""What commands print."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
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


@contextlib.contextmanager
def progress_bar(what: str, *, shown: bool) -> Iterator[Callable[[int, int | None], None]]:
    """Shows on standard error how far something is, if that is a terminal.

    Args:
        what: is done.
        shown: whether it is wanted at all.

    Yields:
        What takes the number of samples that were done now, and of all samples where that is known.
    """
    if not shown or sys.stderr is None or not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, advance=done, total=total)
