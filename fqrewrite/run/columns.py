"""Arrays in `.npz` and `.npy` files, read from front to back without ever holding a whole one."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

from fqrewrite.errors import InputError, path_text

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]

_SUFFIX = ".npy"


class Column(Protocol):
    """One array, sample by sample along its first axis.

    Attributes:
        where: what messages call it.
    """

    where: str

    @property
    def dtype(self) -> Any:
        """Of numpy."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the whole; the first axis counts samples."""

    def read(self, count: int) -> Array:
        """The next samples; as many as are left where there are fewer."""


class StoredColumn:
    """An array in numpy's format, as `Column`.

    Args:
        stream: of the file, at its beginning.
        where: what messages call it.

    Raises:
        InputError: `data-unreadable`, `data-shape` for a scalar.
    """

    def __init__(self, stream: IO[bytes], where: str) -> None:
        import numpy as np

        self.where = where
        self._stream = stream
        self._position = 0
        self._whole: Array | None = None
        with _readable(where):
            version = np.lib.format.read_magic(stream)
            if version == (1, 0):
                self.shape, fortran, self.dtype = np.lib.format.read_array_header_1_0(stream)
            elif version == (2, 0):
                self.shape, fortran, self.dtype = np.lib.format.read_array_header_2_0(stream)
            else:
                raise ValueError("it is of a version for fields, not numbers")
            if self.dtype.hasobject or self.dtype.names:
                raise ValueError("it holds Python objects or fields, not numbers")
        if not self.shape:
            raise InputError("data-shape", "this is one number, and the first axis must count samples", where=where)
        if fortran and len(self.shape) > 1:
            # The samples lie across the whole file.
            with _readable(where):
                elements = np.frombuffer(stream.read(), self.dtype)
                self._whole = elements.reshape(self.shape[::-1]).T

    def read(self, count: int) -> Array:
        """As `Column`.

        Raises:
            InputError: `data-unreadable`.
        """
        import numpy as np

        begin, self._position = self._position, min(self._position + count, self.shape[0])
        if self._whole is not None:
            return self._whole[begin : self._position]
        shape = (self._position - begin, *self.shape[1:])
        size = int(np.prod(shape, dtype=np.int64)) * self.dtype.itemsize
        with _readable(self.where):
            data = self._stream.read(size)
            if len(data) != size:
                raise ValueError("the file is cut off")
            if self._position == self.shape[0]:
                self._stream.read(1)  # an archive compares checksums when its end is read
        return np.frombuffer(data, self.dtype).reshape(shape)


@contextmanager
def stored_columns(path: Path) -> Iterator[dict[str | None, Column]]:
    """Opens the arrays of an `.npz` file by their keys, or that of an `.npy` file by None.

    Raises:
        InputError: `data-unreadable`.
    """
    where = path_text(path)
    if path.suffix.lower() == _SUFFIX:
        with _readable(where):
            file = path.open("rb")
        with file:
            yield {None: StoredColumn(file, where)}
        return
    with _readable(where):
        archive = zipfile.ZipFile(path)
    with archive:
        columns: dict[str | None, Column] = {}
        for name in archive.namelist():
            if name.endswith(_SUFFIX):
                key = name.removesuffix(_SUFFIX)
                columns[key] = _Member(archive, name, f"{where}: {key}")
        yield columns


class _Member:
    """An array of an `.npz` file that is opened when something is asked of it: others may hold anything."""

    def __init__(self, archive: zipfile.ZipFile, name: str, where: str) -> None:
        self.where = where
        self._archive = archive
        self._name = name
        self._opened: StoredColumn | None = None

    @property
    def _column(self) -> StoredColumn:
        if self._opened is None:
            with _readable(self.where):
                stream = self._archive.open(self._name)
            self._opened = StoredColumn(stream, self.where)
        return self._opened

    @property
    def dtype(self) -> Any:
        return self._column.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return self._column.shape

    def read(self, count: int) -> Array:
        return self._column.read(count)


@contextmanager
def _readable(where: str) -> Iterator[None]:
    import zlib

    try:
        yield
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputError("data-unreadable", f"the data cannot be read: {reason}", where=where) from None
