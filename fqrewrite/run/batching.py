"""From arrays of samples to feeds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from fqrewrite.errors import InputError
from fqrewrite.run.columns import Column
from fqrewrite.run.conversion import check_dtype, converted
from fqrewrite.run.inputs import GraphInput

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]

_MOST_LISTED = 8


class Batch(NamedTuple):
    """One feed.

    Attributes:
        feed: by the names of inputs.
        samples: how many samples it holds; those that only fill a fixed batch size up are not counted.
    """

    feed: Mapping[str, Array]
    samples: int


class Data(NamedTuple):
    """Sample data.

    Attributes:
        batches: to be gone through once.
        samples: how many there are; None when that shows only at the end.
    """

    batches: Iterator[Batch]
    samples: int | None


class _Feed(NamedTuple):
    """An input with its data, and whether the placeholder takes one sample at a time, without a batch axis."""

    wanted: GraphInput
    column: Column
    single: bool


def batched(columns: Mapping[str | None, Column], inputs: Iterable[GraphInput], batch_size: int, where: str) -> Data:
    """Samples in batches of a size that every placeholder takes; the last one may be smaller.

    A placeholder whose first dimension is fixed gets just as many samples; where they do not come out even, samples
    of the last batch are repeated in it. One that has a dimension less than the data gets sample by sample.

    Args:
        columns: arrays by input name, with or without ``:0``; None is the key of an array for the only input.
        inputs: of the graph.
        batch_size: where the placeholders leave it open.
        where: the data, for messages.

    Raises:
        InputError: `data-input-missing`, `data-shape`, `data-dtype`, `data-empty`; in the course of it
            `data-not-finite` and `data-unreadable`.
    """
    feeds = [_feed(wanted, column) for wanted, column in _assigned(columns, tuple(inputs), where)]
    counts = {feed.column.shape[0] for feed in feeds}
    if len(counts) > 1:
        listed = ", ".join(f"{feed.wanted.name} {feed.column.shape[0]}" for feed in feeds[:_MOST_LISTED])
        raise InputError("data-shape", f"the arrays have different numbers of samples: {listed}", where=where)
    samples = counts.pop()
    if not samples:
        raise InputError("data-empty", "there is no sample in it", where=where)
    size, fixed = _batch_size(feeds, batch_size, where)
    return Data(_batches(feeds, samples, size, fixed), samples)


def _assigned(
    columns: Mapping[str | None, Column], inputs: tuple[GraphInput, ...], where: str
) -> list[tuple[GraphInput, Column]]:
    """Who takes which array."""
    if not inputs:
        what = "the graph has no input to feed: what is measured does not depend on any placeholder"
        raise InputError("data-input-missing", what, where=where)
    required = [wanted for wanted in inputs if not wanted.optional]
    if None in columns:
        if len(required or inputs) != 1:
            raise InputError("data-input-missing", f"this is one array, and {_needs(inputs)}", where=where)
        return [((required or list(inputs))[0], columns[None])]
    found, missing = [], []
    for wanted in inputs:
        column = next((columns[key] for key in wanted.keys if key in columns), None)
        if column is not None:
            found.append((wanted, column))
        elif not wanted.optional:
            missing.append(wanted.name)
    if missing or not found:
        had = ", ".join(sorted(str(key) for key in columns)[:_MOST_LISTED]) or "no arrays"
        lacking = ", ".join(map(repr, missing)) or "for an input"
        what = f"there is no array {lacking}: the file has {had}, and {_needs(inputs)}"
        raise InputError("data-input-missing", what, where=where)
    return found


def _needs(inputs: tuple[GraphInput, ...]) -> str:
    listed = ", ".join(f"{wanted.name} ({wanted.dtype}{_dims(wanted.shape)})" for wanted in inputs)
    return f"the graph needs {listed or 'no input'}"


def _dims(shape: tuple[int, ...] | None) -> str:
    if shape is None:
        return " of unknown shape"
    return f"[{', '.join('?' if size < 0 else str(size) for size in shape)}]"


def _feed(wanted: GraphInput, column: Column) -> _Feed:
    check_dtype(column.dtype, wanted, column.where)
    if wanted.shape is None:
        return _Feed(wanted, column, False)
    of_sample, single = column.shape[1:], len(wanted.shape) == len(column.shape) - 1
    taken = wanted.shape if single else wanted.shape[1:]
    if len(taken) != len(of_sample) or any(-1 != size != found for size, found in zip(taken, of_sample, strict=True)):
        what = f"the array is {_dims(column.shape)}, and the placeholder {wanted.name!r} takes {_dims(wanted.shape)}"
        raise InputError("data-shape", what, where=column.where)
    return _Feed(wanted, column, single)


def _batch_size(feeds: list[_Feed], batch_size: int, where: str) -> tuple[int, bool]:
    """The number of samples in a feed, and whether the placeholders fix it."""
    fixed = {1 if feed.single else feed.wanted.shape[0] for feed in feeds if feed.wanted.shape is not None}
    fixed.discard(-1)
    if len(fixed) > 1:
        listed = ", ".join(f"{feed.wanted.name} {_dims(feed.wanted.shape)}" for feed in feeds[:_MOST_LISTED])
        what = f"the placeholders have different batch sizes: {listed}"
        raise InputError("data-shape", what, where=where, remedy="yield feeds from a function: --data module:function")
    return (fixed.pop(), True) if fixed else (batch_size, False)


def _batches(feeds: list[_Feed], samples: int, size: int, fixed: bool) -> Iterator[Batch]:
    import numpy as np

    for first in range(0, samples, size):
        count = min(size, samples - first)
        feed = {}
        for wanted, column, single in feeds:
            array = converted(column.read(count), wanted, column.where, first)
            if single:
                array = array[0]
            elif fixed and count < size:
                array = array[np.arange(size) % count]
            feed[wanted.name] = array
        yield Batch(feed, count)


def checked_feed(feed: Mapping[str, Any], inputs: tuple[GraphInput, ...], where: str) -> Batch:
    """A feed that a function made, as it is.

    Raises:
        InputError: `data-input-missing`, `data-shape`, `data-dtype`, `data-not-finite`.
    """
    import numpy as np

    found: dict[str, Array] = {}
    samples = 1
    for wanted in inputs:
        key = next((key for key in wanted.keys if key in feed), None)
        if key is None:
            if not wanted.optional:
                what = f"a feed has no {wanted.name!r}: it has {', '.join(map(str, feed)) or 'nothing'}"
                raise InputError("data-input-missing", f"{what}, and {_needs(inputs)}", where=where)
            continue
        place = f"{where}: {key}"
        array = np.asarray(feed[key])
        check_dtype(array.dtype, wanted, place)
        shape = wanted.shape
        if shape is not None and (
            len(shape) != array.ndim or any(-1 != size != got for size, got in zip(shape, array.shape, strict=True))
        ):
            what = f"the array is {_dims(array.shape)}, and the placeholder {wanted.name!r} takes {_dims(shape)}"
            raise InputError("data-shape", what, where=place)
        if array.ndim and not found:
            samples = array.shape[0]
        found[wanted.name] = converted(array, wanted, place)
    if not samples:
        raise InputError("data-empty", "a feed holds no sample", where=where)
    return Batch(found, samples)
