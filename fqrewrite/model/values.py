"""The values in a checkpoint, read by TensorFlow itself."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from fqrewrite.errors import InputError, path_text
from fqrewrite.model.checkpoint import Checkpoint
from fqrewrite.model.saver_keys import Key
from fqrewrite.model.slices import parse_slice
from fqrewrite.model.tensorflow_import import first_line, tensorflow
from fqrewrite.proto.dtypes import base_dtype, dtype_name

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]

_MOST_LISTED = 12
_Shape = tuple[int, ...]


class Values:
    """An open checkpoint. Names, shapes and dtypes come from its index; data is read when it is asked for.

    `key in values` and `len(values)` are quick. The keys of a TF2 checkpoint look like
    `layer/kernel/.ATTRIBUTES/VARIABLE_VALUE`. A variable saved in slices is one key with its full shape.
    """

    def __init__(self, checkpoint: Checkpoint, reader: Any, links: Any = None) -> None:
        self.checkpoint = checkpoint
        self._reader = reader
        self._links = links  # what the reader reads through: kept as long as this
        self._shapes: dict[str, list[int]] = reader.get_variable_to_shape_map()
        self._dtypes: dict[str, Any] = reader.get_variable_to_dtype_map()
        self._sliced: tuple[str, Array] | None = None  # the last: the parts of one variable follow each other

    def __contains__(self, key: object) -> bool:
        return key in self._shapes

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self._shapes)

    def names(self) -> tuple[str, ...]:
        """All keys, sorted."""
        return tuple(sorted(self._shapes))

    def shape(self, key: str) -> _Shape:
        """The shape of a key's value. KeyError when there is no such key."""
        return tuple(self._shapes[key])

    def dtype(self, key: str) -> int:
        """The DataType number of a key's value. KeyError when there is no such key."""
        return int(self._dtypes[key].as_datatype_enum)

    def read(self, key: str) -> Array:
        """Reads one value.

        Returns:
            An array of the key's shape and dtype: bfloat16 as ml_dtypes has it, strings as objects (bytes), and the
            quantized integers qint8, quint8 ... as plain integers of their size, which numpy cannot tell apart.

        Raises:
            KeyError: there is no such key.
            InputError: its data is damaged or missing (code checkpoint-corrupt), or no array can hold it, such as a
                variant (code checkpoint-dtype-unreadable).
        """
        import numpy

        if dtype_name(self.dtype(key)) in ("variant", "resource"):
            what = f"the value of {key!r} is a {dtype_name(self.dtype(key))}, which is no array of numbers"
            raise InputError("checkpoint-dtype-unreadable", what, where=path_text(self.checkpoint.prefix))
        try:
            value = self._reader.get_tensor(key)
        # Besides OpError, TensorFlow's binding raises IndexError and RuntimeError for damaged data.
        except Exception as error:
            raise _corrupt(self.checkpoint, f"the value of {key!r} cannot be read", error) from error
        # A scalar comes as such; a string must not become numpy's own, which would lose final zeros.
        array: Array = numpy.asarray(value, dtype=object if isinstance(value, bytes) else None)
        return array

    def read_slice(self, key: str, spec: str) -> Array:
        """Reads a part of one value; `spec` in TensorFlow's notation ("10 4 0,5:-"), "" for all of it.

        Raises:
            GraphError: code slice-malformed.
            KeyError, InputError: as `read`; the value's shape is not the slice's full shape (code
                checkpoint-shape-differs).
        """
        if not spec:
            return self.read(key)
        part = parse_slice(spec)
        if part.full_shape != self.shape(key):
            what = f"{key!r} has the shape {list(self.shape(key))}, not {list(part.full_shape)}"
            raise InputError("checkpoint-shape-differs", what, where=path_text(self.checkpoint.prefix))
        if self._sliced is None or self._sliced[0] != key:
            self._sliced = (key, self.read(key))
        array: Array = self._sliced[1][part.index()].copy()
        return array


class ReadVariables(msgspec.Struct, frozen=True, kw_only=True):
    """What `read_variables` read.

    Attributes:
        arrays: the values by variable, in the order in which they were wanted.
        missing: the variables that the checkpoint does not have, in that order.
    """

    arrays: dict[str, Any]
    missing: tuple[str, ...]


def open_values(checkpoint: Checkpoint) -> Values:
    """Opens a checkpoint and reads its index.

    Raises:
        ConfigError: code tensorflow-missing.
        InputError: a file may not be read (code checkpoint-unreadable), the index is damaged or no index (code
            checkpoint-corrupt).
    """
    for file in checkpoint.files:  # TensorFlow's own messages do not tell a permission from damage
        try:
            file.open("rb").close()
        except OSError as error:
            what = f"this cannot be read: {error.strerror or error}"
            raise InputError("checkpoint-unreadable", what, where=path_text(file)) from error
    tf = tensorflow()
    try:
        prefix, links = _literal(checkpoint)
        return Values(checkpoint, tf.compat.v1.train.NewCheckpointReader(prefix), links)
    except Exception as error:  # as in `Values.read`
        raise _corrupt(checkpoint, "the checkpoint cannot be opened", error) from error


def read_variables(
    values: Values, wanted: Mapping[str, tuple[int, _Shape | None]], keys: Mapping[str, Key | None]
) -> ReadVariables:
    """Reads the values of some variables, and no others.

    Args:
        values: the checkpoint.
        wanted: DataType number and static shape (-1 for an unknown dimension, None for an unknown rank) by variable.
        keys: where each is (see `saver_keys.find_key`); no key, or one that the checkpoint has not, means missing.

    Raises:
        InputError: values of another dtype or shape, all in one error, before any is read (codes
            checkpoint-shape-differs, checkpoint-dtype-differs); and as `Values.read`.
        GraphError: code slice-malformed.
    """
    found = {name: key for name in wanted if (key := keys.get(name)) is not None and key.name in values}
    shapes, dtypes = [], []
    for name, key in found.items():
        dtype, shape = wanted[name]
        saved = name if key.name == name else f"{name} (saved as {key.name})"
        if base_dtype(dtype) != values.dtype(key.name):
            dtypes.append(f"{saved}: {dtype_name(values.dtype(key.name))} instead of {dtype_name(base_dtype(dtype))}")
        expected, actual = shape, values.shape(key.name)
        if key.slice_spec:
            part = parse_slice(key.slice_spec)
            if part.full_shape != actual:
                expected = part.full_shape
            else:
                actual = part.sizes
        if not _fits(actual, expected):
            shapes.append(f"{saved}: {_text(actual)} instead of {_text(expected or ())}")
    if shapes or dtypes:
        raise _differs(values.checkpoint, shapes, dtypes)
    arrays = {name: values.read_slice(key.name, key.slice_spec) for name, key in found.items()}
    return ReadVariables(arrays=arrays, missing=tuple(name for name in wanted if name not in found))


def _literal(checkpoint: Checkpoint) -> tuple[str, Any]:
    """A prefix that TensorFlow takes literally, and the directory with the links that it may go through, or None.

    TensorFlow looks for the prefix as for a pattern, and a name such as `run[1]` does not match itself.
    """
    if not set("[\\") & set(checkpoint.prefix):
        return checkpoint.prefix, None
    links = tempfile.TemporaryDirectory(prefix="fqrewrite-")
    base = len(checkpoint.files[0].name.removesuffix(".index"))
    for file in checkpoint.files:
        Path(links.name, f"ckpt{file.name[base:]}").symlink_to(file.absolute())
    return f"{links.name}/ckpt", links


def _fits(actual: _Shape, expected: _Shape | None) -> bool:
    if expected is None:
        return True
    return len(actual) == len(expected) and all(b in (-1, a) for a, b in zip(actual, expected, strict=True))


def _text(shape: _Shape) -> str:
    return f"[{', '.join('?' if size < 0 else str(size) for size in shape)}]"


def _differs(checkpoint: Checkpoint, shapes: list[str], dtypes: list[str]) -> InputError:
    """The error for everything that does not fit, the shapes first."""
    both = shapes + dtypes
    listed = "; ".join(both[:_MOST_LISTED])
    more = f"; and {len(both) - _MOST_LISTED} more" if len(both) > _MOST_LISTED else ""
    code, kind = ("checkpoint-shape-differs", "shape") if shapes else ("checkpoint-dtype-differs", "dtype")
    kind = "shape or dtype" if shapes and dtypes else kind
    what = f"the checkpoint's values have another {kind} than the graph's variables: {listed}{more}"
    return InputError(code, what, where=path_text(checkpoint.prefix))


def _corrupt(checkpoint: Checkpoint, what: str, error: Exception) -> InputError:
    return InputError("checkpoint-corrupt", f"{what}: {first_line(error)}", where=path_text(checkpoint.prefix))
