"""Sample data that a function of the user's yields."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from fqrewrite.errors import FqrewriteError, InputError
from fqrewrite.run.batching import Batch, checked_feed
from fqrewrite.run.inputs import GraphInput

SPELLING = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def function_batches(text: str, inputs: tuple[GraphInput, ...]) -> Iterator[Batch]:
    """What a function yields: feeds by input name, with or without ``:0``, or arrays where there is one input only.

    Feeds are fed as they are: batch size and values that are no samples are the function's affair.

    Args:
        text: ``module:function``; the module is looked for in the working directory, too.
        inputs: of the graph.

    Raises:
        InputError: `data-unreadable` for a function that cannot be imported, or fails; `data-empty`, and as
            `batching.checked_feed`.
    """
    count = 0
    for feed in _guarded(text):
        if not isinstance(feed, Mapping):
            if len(inputs) != 1:
                names = ", ".join(wanted.name for wanted in inputs)
                what = f"expected feeds by input name ({names}), got {type(feed).__name__}"
                raise InputError("data-input-missing", what, where=text)
            feed = {inputs[0].name: feed}
        yield checked_feed(feed, inputs, text)
        count += 1
    if not count:
        raise InputError("data-empty", "the function yields nothing", where=text)


def _guarded(text: str) -> Iterator[Any]:
    """What the function yields; its failures as errors of the data."""
    module, _, name = text.partition(":")
    try:
        folder = str(Path.cwd())
        if folder not in sys.path:
            sys.path.insert(0, folder)
        made: Iterable[Any] = getattr(importlib.import_module(module), name)()
        yield from made
    except FqrewriteError:
        raise
    except Exception as error:
        what = f"the function cannot be used: {type(error).__name__}: {error}"
        raise InputError("data-unreadable", what, where=text) from None
