"""Writing a directory that appears whole or not at all."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from fqrewrite.errors import ConfigError, InputError
from fqrewrite.model.atomic import write_all

# What a SavedModel of ours holds, as paths written with "/".
_OURS = re.compile(r"saved_model\.pb|variables(/variables\.(index|data-\d{5}-of-\d{5}))?")


def write_directory(
    path: str | os.PathLike[str], files: Mapping[str, bytes], beside: Sequence[tuple[Path, bytes]] = ()
) -> None:
    """Writes a directory under a temporary name beside `path`, then renames it.

    An empty directory is replaced, and so is a SavedModel that holds no more than this tool writes: `saved_model.pb`
    and `variables/`. A symbolic link is followed. A run that is killed between the two renames that replace an old
    SavedModel leaves the old and the new one under temporary names beside it.

    Args:
        path: of the directory. The one that it is in must exist.
        files: contents by path in the directory, written with "/".
        beside: other files, which are written when all of the directory is and it only needs its name.

    Raises:
        ConfigError: something else is there already; it is not touched (code output-exists).
        InputError: the operating system refuses; what was there before is there still (code output-unwritable), but
            for the files beside it when it is the directory's renaming that fails.
    """
    target = Path(os.path.realpath(path))
    stem = f".fqrewrite-{os.urandom(8).hex()}"  # not the process number: in containers that is the same every time
    temporary, aside = target.with_name(f"{stem}.tmp"), target.with_name(f"{stem}.old")
    try:
        _check_replaceable(target, str(path))
        temporary.mkdir()
        for name, data in files.items():
            file = temporary / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)  # no fsync, as for files: a rename suffices against a killed run
        write_all(beside)
        _put_in_place(temporary, target, aside)
    except OSError as error:
        what = f"the output cannot be written: {error.strerror or error}"
        raise InputError("output-unwritable", what, where=str(path)) from error
    finally:  # also on KeyboardInterrupt
        shutil.rmtree(temporary, ignore_errors=True)


def _put_in_place(temporary: Path, target: Path, aside: Path) -> None:
    if not target.exists():
        temporary.rename(target)
        return
    target.rename(aside)
    try:
        temporary.rename(target)
    except BaseException:
        aside.rename(target)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _check_replaceable(target: Path, where: str) -> None:
    if not target.exists():
        return
    if not target.is_dir():
        raise ConfigError("output-exists", "a directory is to be written, and a file of that name exists", where=where)
    foreign = [entry for entry in target.rglob("*") if not _OURS.fullmatch(entry.relative_to(target).as_posix())]
    if foreign:
        what = f"the directory exists and holds other things than a SavedModel of this tool: {foreign[0].name!r}"
        raise ConfigError("output-exists", what, where=where)
