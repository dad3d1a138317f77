"""Where a checkpoint is: from what a user names to the prefix of its files, without TensorFlow.

A checkpoint of today is `PREFIX.index` and `PREFIX.data-00000-of-00001` (or more shards), often with the graph in
`PREFIX.meta`; one of TensorFlow's first format (V1) is the file `PREFIX` itself. The last component of a prefix may
be empty: then the files are `.index` and so on, in the directory that the prefix names with a final slash.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path

import msgspec
from google.protobuf import text_encoding

from fqrewrite.errors import InputError, path_text

STATE_FILE = "checkpoint"
"""The text file in which TensorFlow's Saver notes the latest checkpoint of a directory."""

_DATA = re.compile(r"\.data-(\d{5})-of-(\d{5})\Z")
_LATEST = re.compile(rb'^\s*model_checkpoint_path\s*:\s*("(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\')\s*$', re.MULTILINE)
_TABLE_MAGIC = b"\x57\xfb\x80\x8b\x24\x75\x47\xdb"  # the end of a LevelDB table: an .index, or a V1 checkpoint
_GRAPH_SUFFIXES = (".pb", ".pbtxt", ".meta")
_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL})


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One checkpoint, whose files exist (what is in them has not been looked at).

    Attributes:
        prefix: what TensorFlow's readers and Savers are given. Text and not a Path, which would lose the final
            slash of an empty last component.
        meta: the graph beside it, None when there is none.
        files: the index and all shards of the data; of a V1 checkpoint its one file.
    """

    prefix: str
    meta: Path | None
    files: tuple[Path, ...]


def find_checkpoint(path: str | os.PathLike[str]) -> Checkpoint | None:
    """Finds the checkpoint that a path names.

    Args:
        path: a prefix, one of the checkpoint's files (`.index`, `.data-*`, or a `.meta` with an index or a V1
            checkpoint beside it), or a directory: the latest by its state file, or without one the only checkpoint
            in it. The state file may name a path of another machine: the same name in this directory is taken then.

    Returns:
        None when the path names no checkpoint: a graph file, a SavedModel, a directory without any, nothing at all.

    Raises:
        InputError: codes checkpoint-ambiguous, checkpoint-not-found (the state file names one that is not there),
            checkpoint-state-malformed, checkpoint-index-missing, checkpoint-shard-missing, checkpoint-unreadable.
    """
    text = os.fspath(path)
    if "\0" in text:
        return None
    prefix = _in_directory(Path(text)) if _mode(Path(text), stat.S_ISDIR) else _of_file(text)
    return None if prefix is None else _described(prefix)


def shard_name(prefix: str, number: int, count: int) -> str:
    """The name of one shard of the data, numbered from 0."""
    return f"{prefix}.data-{number:05d}-of-{count:05d}"


def _of_file(text: str) -> str | None:
    data = _DATA.search(text)
    if data is not None and _is_file(text):
        return text[: data.start()]
    if text.endswith(".index"):
        prefix = text.removesuffix(".index")
        return prefix if _is_file(text) or _has_data(prefix) else None
    if text.endswith(".meta"):
        prefix = text.removesuffix(".meta")
        return prefix if _is_checkpoint(prefix) else None
    if _is_checkpoint(text):
        return text
    return text if not _is_file(text) and _has_data(text) else None


def _in_directory(directory: Path) -> str | None:
    names = _names(directory)
    if "saved_model.pb" in names or "saved_model.pbtxt" in names:
        return None
    if STATE_FILE in names and _is_file(f"{directory}/{STATE_FILE}"):
        return _latest(directory, names)
    found = _prefixes(names)
    if len(found) > 1:
        what = f"the directory holds {len(found)} checkpoints and no state file that names the latest"
        remedy = f"give one of them: {_listed(directory, found)}"
        raise InputError("checkpoint-ambiguous", what, where=path_text(directory), remedy=remedy)
    if found:
        return f"{directory}/{found[0]}"
    shards = [name for name in names if _DATA.search(name)]
    if shards:
        return f"{directory}/{_DATA.sub('', min(shards))}"
    return str(directory) if _is_checkpoint(str(directory)) else None  # a folder may be called like a checkpoint


def _latest(directory: Path, names: list[str]) -> str:
    """The prefix that the directory's state file names, wherever it is now."""
    state = directory / STATE_FILE
    named = _read_state(state)
    own = f"{directory}/{named.rpartition('/')[2]}"
    candidates = [named if named.startswith("/") else f"{directory}/{named}", own]
    for candidate in candidates:
        if _is_checkpoint(candidate) or _has_data(candidate):
            return candidate
    others = _prefixes(names)
    remedy = f"give one of those that are there: {_listed(directory, others)}" if others else None
    what = f"the latest checkpoint is {path_text(named) or 'a path without text'}, which does not exist"
    raise InputError("checkpoint-not-found", what, where=path_text(state), remedy=remedy)


def _read_state(state: Path) -> str:
    """The latest checkpoint's prefix in a state file: a CheckpointState in protobuf's text format."""
    try:
        raw = state.read_bytes()
    except OSError as error:
        raise _unreadable(state, error) from error
    match = _LATEST.search(raw)
    if match is None:
        what = "the file is empty" if not raw.strip() else 'the file has no line `model_checkpoint_path: "..."`'
        raise _malformed(state, what)
    try:
        named: bytes = text_encoding.CUnescape(match[1][1:-1].decode("utf-8"))
    except ValueError as error:  # also UnicodeDecodeError
        raise _malformed(state, "the path in it is damaged") from error
    if b"\0" in named:
        raise _malformed(state, "the path in it is damaged")
    return os.fsdecode(named).replace("\\", "/")  # written on Windows


def _described(prefix: str) -> Checkpoint:
    meta = Path(f"{prefix}.meta")
    files = (Path(prefix),) if _is_v1(prefix) and not _has_index(prefix) else _complete(prefix)
    return Checkpoint(prefix=prefix, meta=meta if _is_file(meta) else None, files=files)


def _complete(prefix: str) -> tuple[Path, ...]:
    """The index and the shards of a checkpoint, when all are there."""
    index = Path(f"{prefix}.index")
    if not _has_index(prefix):
        what = "the checkpoint has data but no index: this file does not exist"
        raise InputError("checkpoint-index-missing", what, where=path_text(index))
    shards: dict[int, set[int]] = {0: set()}  # by the number of shards that their names tell
    for number, count in _shards(prefix):
        shards.setdefault(count, set()).add(number)
    for count, numbers in shards.items():
        if count and numbers >= set(range(count)):
            return (index, *(Path(shard_name(prefix, number, count)) for number in range(count)))
    count = max(shards, key=lambda count: len(shards[count])) or 1
    missing = next(number for number in range(count) if number not in shards.get(count, ()))
    what = "the checkpoint is incomplete: this file does not exist"
    raise InputError("checkpoint-shard-missing", what, where=path_text(shard_name(prefix, missing, count)))


def _shards(prefix: str) -> list[tuple[int, int]]:
    """(number, how many) of each shard of the data."""
    index = Path(f"{prefix}.index")
    if not _mode(index.parent, stat.S_ISDIR):
        return []
    name = index.name.removesuffix(".index")
    found = (_DATA.fullmatch(other[len(name) :]) for other in _names(index.parent) if other.startswith(name))
    return [(int(match[1]), int(match[2])) for match in found if match is not None]


def _has_data(prefix: str) -> bool:
    return bool(_shards(prefix))


def _has_index(prefix: str) -> bool:
    return _is_file(f"{prefix}.index")


def _is_checkpoint(prefix: str) -> bool:
    return _has_index(prefix) or _is_v1(prefix)


def _is_v1(prefix: str) -> bool:
    """Whether a prefix is a file in V1 format; one that is damaged is known by the graph beside it."""
    path = Path(prefix)
    if not prefix or prefix.endswith("/") or not _is_file(path):
        return False
    if not prefix.endswith(_GRAPH_SUFFIXES) and _is_file(f"{prefix}.meta"):
        return True
    try:
        with path.open("rb") as file:
            file.seek(-len(_TABLE_MAGIC), os.SEEK_END)
            return file.read() == _TABLE_MAGIC
    except OSError:  # too short, or not readable: whoever reads it as a graph says so
        return False


def _prefixes(names: list[str]) -> list[str]:
    return sorted(name.removesuffix(".index") for name in names if name.endswith(".index"))


def _listed(directory: Path, prefixes: list[str]) -> str:
    shown = [path_text(f"{directory}/{prefix}") for prefix in prefixes[:6]]
    return ", ".join(shown) + (f" and {len(prefixes) - 6} more" if len(prefixes) > 6 else "")


def _names(directory: Path) -> list[str]:
    try:
        return os.listdir(directory)  # noqa: PTH208 (names, not paths)
    except OSError as error:
        raise _unreadable(directory, error) from error


def _is_file(path: str | Path) -> bool:
    return _mode(Path(path), stat.S_ISREG)


def _mode(path: Path, test: Callable[[int], bool]) -> bool:
    """Whether a path exists and its mode passes a test of the module `stat`."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        if error.errno in _ABSENT:
            return False
        raise _unreadable(path, error) from error
    return test(mode)


def _unreadable(path: Path, error: OSError) -> InputError:
    what = f"this cannot be read: {error.strerror or error}"
    return InputError("checkpoint-unreadable", what, where=path_text(path))


def _malformed(state: Path, what: str) -> InputError:
    remedy = "give the checkpoint's prefix instead of the directory"
    return InputError("checkpoint-state-malformed", what, where=path_text(state), remedy=remedy)
