"""Inputs to compare models on: from a file, or random numbers within the range of the input's quantizer."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fqrewrite.check.request import InputSpec, Request
from fqrewrite.errors import ConfigError

_UNKNOWN_SIZE = 32
"""What a dimension that is not known becomes, behind the first."""


def read_samples(request: Request, data: Path) -> list[dict[str, Any]]:
    """Feeds by key of the signature, one batch each.

    Raises:
        ConfigError: `data-unreadable`; `data-input-missing`, `data-shape`; `data-empty`.
    """
    if not request.data:
        return list(_random(request))
    import numpy as np

    try:
        with np.load(data, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, AttributeError, zipfile.BadZipFile) as error:
        raise ConfigError("data-unreadable", f"the data cannot be read as .npz: {error}") from error
    batches = list(_batches(request, arrays))
    if not batches:
        raise ConfigError("data-empty", "the data holds no sample")
    return batches


def _random(request: Request) -> Iterator[dict[str, Any]]:
    import numpy as np

    generator = np.random.default_rng(request.seed)
    for _ in range(request.samples):
        yield {item.key: _draw(item, generator) for item in request.inputs}


def _draw(item: InputSpec, generator: Any) -> Any:
    import numpy as np

    sizes = item.shape or (1,)
    shape = tuple(size if size >= 0 else (_UNKNOWN_SIZE if position else 1) for position, size in enumerate(sizes))
    dtype = np.dtype(item.dtype)
    if item.shape == ():
        shape = ()
    if dtype.kind == "f":
        return np.asarray(generator.uniform(item.low, item.high, shape)).astype(dtype)
    if dtype.kind == "b":
        return np.asarray(generator.integers(0, 2, shape)).astype(dtype)
    return np.asarray(generator.integers(int(item.low), int(item.high) + 1, shape)).astype(dtype)


def _batches(request: Request, arrays: dict[str, Any]) -> Iterator[dict[str, Any]]:
    sizes = set()
    for item in request.inputs:
        name = item.tensor.partition(":")[0]
        if name not in arrays:
            what = f"the data has no array {name!r}; it has {', '.join(sorted(arrays)) or 'none'}"
            raise ConfigError("data-input-missing", what)
        array, shape = arrays[name], item.shape
        if shape is not None and (
            array.ndim != len(shape)
            or any(wanted not in (-1, found) for wanted, found in zip(shape[1:], array.shape[1:], strict=False))
        ):
            what = f"{name} has the shape {list(array.shape)}, and the graph takes {list(shape)}"
            raise ConfigError("data-shape", what)
        sizes.add(len(array) // _batch(item))
    for index in range(min(min(sizes, default=0), request.samples)):
        yield {
            item.key: arrays[item.tensor.partition(":")[0]][index * _batch(item) : (index + 1) * _batch(item)].astype(
                item.dtype
            )
            for item in request.inputs
        }


def _batch(item: InputSpec) -> int:
    return max(1, item.shape[0]) if item.shape else 1
