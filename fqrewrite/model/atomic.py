"""Writing files so that a killed run leaves no partial one under the final name."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from fqrewrite.errors import ConfigError, InputError

_O_BINARY = getattr(os, "O_BINARY", 0)  # Windows


def write_atomic(path: Path, data: bytes) -> None:
    """Writes a file under a temporary name in the same directory, then renames it over `path`.

    A symbolic link is followed: what it points at is replaced. The mode follows the umask.

    Raises:
        InputError: it cannot be written; nothing is left behind (code output-unwritable).
    """
    write_all([(path, data)])


def write_all(files: Sequence[tuple[Path, bytes]]) -> None:
    """Writes several files as `write_atomic` does; the first rename happens after the last byte is written.

    Raises:
        InputError: one of them cannot be written (code output-unwritable). No file under a final name was
        touched,
            unless it was a rename itself that failed.
    """
    temporaries: list[tuple[Path, Path]] = []
    try:
        for path, data in files:
            target = Path(os.path.realpath(path))
            # Not the process number: in containers that is the same every time, and a killed run's file may be there.
            temporary = target.with_name(f".fqrewrite-{os.urandom(8).hex()}.tmp")
            with _as_output_error(path):
                if target.exists() and not stat.S_ISREG(target.stat().st_mode):
                    raise OSError(None, "it exists and is not a regular file")
                # 0o666 less the umask, as open() does; tempfile would give 0600.
                descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _O_BINARY, 0o666)
                temporaries.append((temporary, target))
                with os.fdopen(descriptor, "wb") as file:
                    file.write(data)  # no fsync: a rename suffices against a killed run, and it costs 20 ms
        for (temporary, target), (path, _) in zip(tuple(temporaries), files, strict=True):
            with _as_output_error(path):
                temporary.replace(target)
            temporaries.remove((temporary, target))
    finally:  # also on KeyboardInterrupt; what was renamed is off the list
        for temporary, _ in temporaries:
            with contextlib.suppress(OSError):
                temporary.unlink()


@contextlib.contextmanager
def _as_output_error(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        what = f"the output cannot be written: {error.strerror or error}"
        raise InputError("output-unwritable", what, where=str(path)) from error


def check_folder(path: Path) -> None:
    """Checks before a long run that there is a folder for its output.

    Raises:
        InputError: code output-unwritable.
    """
    with _as_output_error(path):
        if not path.parent.is_dir():
            raise OSError(None, f"there is no folder {path.parent}")


def check_distinct(inputs: Iterable[Path], outputs: Sequence[Path], *, directories: Iterable[Path | None] = ()) -> None:
    """Checks that no output would overwrite an input, nor another output.

    Two paths are one file when they resolve to the same path or, both existing, are the same file (a hard
    link). An output that something else lies in is a directory, which is replaced as a whole.

    Args:
        inputs: files that are read.
        outputs: files and directories that are written.
        directories: inputs in which nothing may be written either; those that are None do not count.

    Raises:
        ConfigError: codes output-is-input, outputs-not-distinct.
    """
    for source in inputs:
        for output in outputs:
            if _same(source, output):
                raise ConfigError("output-is-input", f"the output is the input {source}", where=str(output))
            if _within(source, output):
                what = f"the output is a directory that holds the input {source}"
                raise ConfigError("output-is-input", what, where=str(output))
    for directory in filter(None, directories):
        for output in outputs:
            if _same(directory, output) or _within(directory, output) or _within(output, directory):
                what = f"the output is the input {directory}, lies in it or holds it"
                raise ConfigError("output-is-input", what, where=str(output))
    for index, output in enumerate(outputs):
        if any(_same(output, other) for other in outputs[:index]):
            raise ConfigError("outputs-not-distinct", "two outputs are the same file", where=str(output))
        if any(_within(output, other) for other in outputs):
            raise ConfigError("outputs-not-distinct", "it lies in a directory that is an output", where=str(output))


def _within(path: Path, directory: Path) -> bool:
    return Path(os.path.realpath(directory)) in Path(os.path.realpath(path)).parents


def _same(one: Path, other: Path) -> bool:
    if os.path.realpath(one) == os.path.realpath(other):
        return True
    try:
        return one.samefile(other)
    except OSError:
        return False
