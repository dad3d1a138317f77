"""Writing a directory that appears whole or not at all."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path, PurePosixPath

from fqrewrite.errors import ConfigError, InputError, path_text
from fqrewrite.model.atomic import write_all

# What a SavedModel holds, as paths written with "/".
_OURS = re.compile(
    r"saved_model\.pb|fingerprint\.pb|keras_metadata\.pb|variables(/variables\.(index|data-\d{5}-of-\d{5}))?"
    r"|assets(\.extra)?(/.*)?"
)


def files_in(directory: Path) -> dict[str, Path]:
    """All files in a directory and those below it, by their path in it, written with "/".

    A symbolic link counts as what it points at. An empty directory is there, too, with a "/" at the end.

    Raises:
        InputError: a directory cannot be read (code file-unreadable).
    """
    found: dict[str, Path] = {}
    seen = set[str]()

    def refuse(error: OSError) -> None:
        what = f"the directory cannot be read: {error.strerror or error}"
        raise InputError("file-unreadable", what, where=path_text(error.filename or directory)) from error

    for folder, folders, names in os.walk(directory, onerror=refuse, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # a link to a directory that it lies in
            folders.clear()
            continue
        seen.add(real)
        inside = Path(folder).relative_to(directory)
        for name in names:
            found[(inside / name).as_posix()] = Path(folder, name)
        if not names and not folders and folder != os.fspath(directory):
            found[f"{inside.as_posix()}/"] = Path(folder)
    return dict(sorted(found.items()))


def write_directory(
    path: str | os.PathLike[str], files: Mapping[str, bytes | Path], beside: Sequence[tuple[Path, bytes]] = ()
) -> None:
    """Writes a directory under a temporary name beside `path`, then renames it.

    An empty directory is replaced, and so is a SavedModel that holds no more than SavedModels do (`saved_model.pb`,
    `variables/`, `assets/` and the like) and what is written again. A symbolic link is followed. A run that is killed
    between the two renames that replace an old SavedModel leaves the old and the new one under temporary names beside
    it.

    Args:
        path: of the directory. The one that it is in must exist.
        files: contents, or files to copy, by path in the directory, written with "/"; empty directories, which end
            with one.
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
        _check_replaceable(target, str(path), files)
        temporary.mkdir()
        for name, data in files.items():
            file = temporary / name
            if name.endswith("/"):
                file.mkdir(parents=True)
                continue
            file.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(data, Path):
                shutil.copyfile(data, file)
            else:
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


def _check_replaceable(target: Path, where: str, files: Collection[str]) -> None:
    if not target.exists():
        return
    if not target.is_dir():
        raise ConfigError("output-exists", "a directory is to be written, and a file of that name exists", where=where)
    paths = [PurePosixPath(name) for name in files]
    written = {part.as_posix() for path in paths for part in (path, *path.parents)}
    names = ((entry, entry.relative_to(target).as_posix()) for entry in target.rglob("*"))
    foreign = [entry for entry, name in names if not (_OURS.fullmatch(name) or name in written)]
    if foreign:
        what = f"the directory exists and holds other things than a SavedModel: {foreign[0].name!r}"
        raise ConfigError("output-exists", what, where=where)
