"""What users name, and which checkpoint that is."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fqrewrite.errors import InputError
from fqrewrite.model.checkpoint import Checkpoint, find_checkpoint

V1_BYTES = b"a table" + b"\x57\xfb\x80\x8b\x24\x75\x47\xdb"


def make(directory: Path, *names: str) -> None:
    directory.mkdir(exist_ok=True)
    for name in names:
        (directory / name).touch()


def state(directory: Path, named: str) -> None:
    (directory / "checkpoint").write_text(f'model_checkpoint_path: "{named}"\nall_model_checkpoint_paths: "{named}"\n')


@contextlib.contextmanager
def forbidden(path: Path) -> Iterator[None]:
    """Nobody may read the path; the superuser, who may all the same, becomes somebody else."""
    root = os.geteuid() == 0
    mode = path.stat().st_mode
    path.chmod(0)
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        path.chmod(mode)


def code_of(path: Path | str) -> tuple[str, str | None]:
    with pytest.raises(InputError) as caught:
        find_checkpoint(path)
    return caught.value.code, caught.value.where


SHARDS = ("c.data-00000-of-00002", "c.data-00001-of-00002")


def test_every_file_names_its_checkpoint(tmp_path: Path) -> None:
    make(tmp_path, "c.index", "c.meta", *SHARDS)
    files = tuple(tmp_path / name for name in ("c.index", *SHARDS))
    want = Checkpoint(prefix=f"{tmp_path}/c", meta=tmp_path / "c.meta", files=files)
    for name in ("c", "c.index", "c.meta", *SHARDS, ""):
        assert find_checkpoint(tmp_path / name) == want
    assert find_checkpoint(f"{tmp_path}/c") == want


def test_relative_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "c.index", *SHARDS)
    monkeypatch.chdir(tmp_path)
    for path, prefix in (
        ("c", "c"),
        ("c.index", "c"),
        (".", "./c"),
        (f"../{tmp_path.name}/c", f"../{tmp_path.name}/c"),
    ):
        found = find_checkpoint(path)
        assert found is not None
        assert (found.prefix, found.meta) == (prefix, None)


def test_an_empty_prefix(tmp_path: Path) -> None:
    """As in the PyPI package musicnn, with the state file of the machine that trained it."""
    make(tmp_path, ".index", ".meta", ".data-00000-of-00001")
    names: list[str | Path] = [tmp_path, f"{tmp_path}/", tmp_path / ".index", tmp_path / ".meta"]
    for _ in range(2):
        for name in names:
            found = find_checkpoint(name)
            assert found is not None
            assert found.prefix == f"{tmp_path}/"
            assert found.meta == tmp_path / ".meta"
        state(tmp_path, "/home/somebody/experiments/1234/")


def test_not_a_checkpoint(tmp_path: Path) -> None:
    make(tmp_path, "g.pb", "g.pbtxt", "lonely.meta", "notes")
    make(tmp_path / "saved", "saved_model.pb", "weights.index")
    make(tmp_path / "empty")
    for name in ("g.pb", "g.pbtxt", "lonely.meta", "lonely", "notes", "saved", "empty", "", "absent", "absent/g.pb"):
        assert find_checkpoint(tmp_path / name) is None
    for text in ("g\0.pb", "x" * 5000):
        assert find_checkpoint(tmp_path / text) is None


def test_a_meta_file_beside_a_checkpoint_of_another_name(tmp_path: Path) -> None:
    make(tmp_path, "train.meta", "c.index", *SHARDS)
    assert find_checkpoint(tmp_path / "train.meta") is None


def test_the_state_file_says_which_is_the_latest(tmp_path: Path) -> None:
    for step in (1, 2, 10):
        make(tmp_path, f"c-{step}.index", f"c-{step}.data-00000-of-00001")
    for named in ("c-2", f"{tmp_path}/c-2", "/gone/with/the/machine/c-2", "runs/7/c-2", r"C:\\runs\\7\\c-2"):
        state(tmp_path, named)
        found = find_checkpoint(tmp_path)
        assert found is not None
        assert Path(found.prefix) == tmp_path / "c-2", named


def test_a_state_file_may_name_a_checkpoint_elsewhere(tmp_path: Path) -> None:
    make(tmp_path / "a", "c.index", "c.data-00000-of-00001")
    make(tmp_path / "b", "c.index", "c.data-00000-of-00001")
    state(tmp_path / "b", f"{tmp_path}/a/c")
    found = find_checkpoint(tmp_path / "b")
    assert found is not None
    assert found.prefix == f"{tmp_path}/a/c"


def test_a_state_file_escapes_as_text_format_does(tmp_path: Path) -> None:
    make(tmp_path, 'größe "1".index', 'größe "1".data-00000-of-00001')
    for named in (r"gr\303\266\303\237e \"1\"", r"größe \"1\""):
        state(tmp_path, named)
        found = find_checkpoint(tmp_path)
        assert found is not None
        assert found.prefix == f'{tmp_path}/größe "1"'


@pytest.mark.parametrize("text", ["", " \n", "nothing of the kind", 'model_checkpoint_path: "c', "\0\1\2", r"x"])
def test_damaged_state_files(tmp_path: Path, text: str) -> None:
    make(tmp_path, "c.index", "c.data-00000-of-00001")
    (tmp_path / "checkpoint").write_text(text)
    assert code_of(tmp_path) == ("checkpoint-state-malformed", str(tmp_path / "checkpoint"))


def test_a_path_that_is_no_text_in_a_state_file(tmp_path: Path) -> None:
    make(tmp_path)
    for path in (rb"a\000b", b"\xff\xfe"):
        (tmp_path / "checkpoint").write_bytes(b'model_checkpoint_path: "' + path + b'"\n')
        assert code_of(tmp_path) == ("checkpoint-state-malformed", str(tmp_path / "checkpoint"))


def test_a_state_file_names_what_is_not_there(tmp_path: Path) -> None:
    make(tmp_path, "c-1.index", "c-1.data-00000-of-00001")
    for named in ("c-2", ""):
        state(tmp_path, named)
        with pytest.raises(InputError) as caught:
            find_checkpoint(tmp_path)
        assert caught.value.code == "checkpoint-not-found"
        assert caught.value.where == str(tmp_path / "checkpoint")
        assert caught.value.remedy is not None
        assert f"{tmp_path}/c-1" in caught.value.remedy


def test_several_checkpoints_and_no_state_file(tmp_path: Path) -> None:
    make(tmp_path, *(f"c-{step}.index" for step in range(9)))
    with pytest.raises(InputError) as caught:
        find_checkpoint(tmp_path)
    assert caught.value.code == "checkpoint-ambiguous"
    assert caught.value.remedy is not None
    assert f"{tmp_path}/c-5 and 3 more" in caught.value.remedy


def test_shards_that_are_missing(tmp_path: Path) -> None:
    make(tmp_path, "c.index")
    first = f"{tmp_path}/c.data-00000-of-00001"
    assert code_of(tmp_path / "c") == code_of(tmp_path) == ("checkpoint-shard-missing", first)
    make(tmp_path, "c.data-00000-of-00003", "c.data-00002-of-00003")
    middle = f"{tmp_path}/c.data-00001-of-00003"
    assert code_of(tmp_path / "c.index") == ("checkpoint-shard-missing", middle)
    make(tmp_path, "c.data-00000-of-00001")  # another run's, and complete
    found = find_checkpoint(tmp_path)
    assert found is not None
    assert found.files == (tmp_path / "c.index", Path(first))


def test_an_index_that_is_missing(tmp_path: Path) -> None:
    make(tmp_path, *SHARDS)
    want = ("checkpoint-index-missing", str(tmp_path / "c.index"))
    for name in ("c", "c.index", SHARDS[1], ""):
        assert code_of(tmp_path / name) == want
    state(tmp_path, "c")
    assert code_of(tmp_path) == want


def test_checkpoints_of_the_first_format(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(V1_BYTES)
    assert find_checkpoint(tmp_path / "old") == Checkpoint(
        prefix=f"{tmp_path}/old", meta=None, files=(tmp_path / "old",)
    )
    (tmp_path / "cut").write_bytes(V1_BYTES[:9])
    assert find_checkpoint(tmp_path / "cut") is None
    make(tmp_path, "cut.meta", "old.meta")
    for name in ("old", "cut"):
        for path in (tmp_path / name, tmp_path / f"{name}.meta"):
            found = find_checkpoint(path)
            assert found is not None
            assert (found.prefix, found.meta) == (f"{tmp_path}/{name}", tmp_path / f"{name}.meta")
    state(tmp_path, "/elsewhere/old")
    found = find_checkpoint(tmp_path)
    assert found is not None
    assert found.files == (tmp_path / "old",)


def test_a_folder_that_is_called_like_a_checkpoint(tmp_path: Path) -> None:
    make(tmp_path, "c.index", *SHARDS)
    make(tmp_path / "c", "events.out")
    found = find_checkpoint(tmp_path / "c")
    assert found is not None
    assert found.prefix == f"{tmp_path}/c"


def test_what_may_not_be_read(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    make(folder, "c.index", *SHARDS)
    with forbidden(folder):
        for path in (folder, folder / "c", folder / "c.index", folder / "c.meta"):
            code, _ = code_of(path)
            assert code == "checkpoint-unreadable"
