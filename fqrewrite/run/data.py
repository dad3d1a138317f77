"""Sample data, by what the user names: arrays in a file, a folder of pictures, or a function."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fqrewrite.errors import ConfigError, InputError, path_text
from fqrewrite.run.batching import Data, batched
from fqrewrite.run.columns import stored_columns
from fqrewrite.run.function import SPELLING, function_batches
from fqrewrite.run.images import AS_THEY_ARE, ImageColumn, ImageOptions
from fqrewrite.run.inputs import GraphInput


@contextmanager
def open_data(
    text: str, inputs: tuple[GraphInput, ...], batch_size: int, images: ImageOptions = AS_THEY_ARE
) -> Iterator[Data]:
    """Opens sample data for a graph.

    Args:
        text: a path, or ``module:function``.
        inputs: of the graph.
        batch_size: where neither the graph nor the function decides it.
        images: how pictures become samples.

    Raises:
        InputError, ConfigError: see the modules of `fqrewrite.run` for each kind; `data-options` for options that
            the kind does not have.
    """
    path = Path(text)
    if images != AS_THEY_ARE and not path.is_dir():
        what = "--image-size, --mean, --std and --layout are for a folder of pictures, and this is none"
        raise ConfigError("data-options", what, where=text)
    if path.is_dir():
        required = [wanted for wanted in inputs if not wanted.optional] or list(inputs)
        if len(required) != 1:
            names = ", ".join(wanted.name for wanted in required) or "none"
            what = f"pictures are for a graph with one input, and this one has {len(required)}: {names}"
            raise InputError("data-input-missing", what, where=path_text(path))
        yield batched({None: ImageColumn(path, required[0], images)}, inputs, batch_size, path_text(path))
    elif path.suffix.lower() in (".npz", ".npy"):
        with stored_columns(path) as columns:
            yield batched(columns, inputs, batch_size, path_text(path))
    elif not path.exists() and SPELLING.fullmatch(text):
        yield Data(function_batches(text, inputs), None)
    else:
        state = "is neither" if path.exists() else "does not exist, or is none of"
        what = f"the data {state} an .npz or .npy file, a folder of pictures, or module:function"
        raise InputError("data-unreadable", what, where=path_text(path))
