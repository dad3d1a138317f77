"""Directories appear whole or not at all, and nobody's files are lost."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fqrewrite.errors import ConfigError, InputError
from fqrewrite.model.directory import files_in, write_directory

FILES = {"saved_model.pb": b"new", "variables/variables.index": b"i", "variables/variables.data-00000-of-00001": b"d"}


def _contents(directory: Path) -> dict[str, bytes]:
    return {
        entry.relative_to(directory).as_posix(): entry.read_bytes() for entry in directory.rglob("*") if entry.is_file()
    }


def _nothing_left(folder: Path) -> bool:
    return not [entry for entry in folder.iterdir() if entry.name.startswith(".fqrewrite")]


def test_new_empty_and_earlier_directories_are_written(tmp_path: Path) -> None:
    target = tmp_path / "model"
    for files in ({"saved_model.pb": b"old"}, FILES, {"saved_model.pb": b"without variables"}):
        write_directory(target, files)
        assert _contents(target) == files
    (tmp_path / "empty").mkdir()
    write_directory(str(tmp_path / "empty") + "/", FILES)
    assert _contents(tmp_path / "empty") == FILES
    assert {entry.name for entry in tmp_path.iterdir()} == {"model", "empty"}


def test_the_mode_follows_the_umask(tmp_path: Path) -> None:
    previous = os.umask(0o027)
    try:
        write_directory(tmp_path / "model", FILES)
    finally:
        os.umask(previous)
    assert (tmp_path / "model").stat().st_mode & 0o777 == 0o750
    assert (tmp_path / "model" / "saved_model.pb").stat().st_mode & 0o777 == 0o640


def test_a_symbolic_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_directory(tmp_path / "link", FILES)
    assert (tmp_path / "link").is_symlink()
    assert _contents(tmp_path / "real") == FILES


@pytest.mark.parametrize("foreign", ["notes.txt", "assets2/vocabulary", "variables/notes", "checkpoint"])
def test_other_directories_are_not_touched(tmp_path: Path, foreign: str) -> None:
    target = tmp_path / "model"
    write_directory(target, FILES)
    (target / foreign).parent.mkdir(exist_ok=True)
    (target / foreign).write_bytes(b"mine")
    before = _contents(target)
    with pytest.raises(ConfigError) as caught:
        write_directory(target, {"saved_model.pb": b"other"})
    assert caught.value.code == "output-exists"
    assert caught.value.where == str(target)
    assert _contents(target) == before
    assert _nothing_left(tmp_path)


def test_a_file_of_that_name_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"mine")
    with pytest.raises(ConfigError) as caught:
        write_directory(tmp_path / "model", FILES)
    assert caught.value.code == "output-exists"
    assert (tmp_path / "model").read_bytes() == b"mine"


@pytest.mark.parametrize("failing", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("method", ["write_bytes", "rename"])
@pytest.mark.parametrize("earlier", [None, {}, {"saved_model.pb": b"old"}])
def test_a_failure_leaves_what_was_there(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    failing: BaseException,
    method: str,
    earlier: dict[str, bytes] | None,
) -> None:
    """Whether the second file cannot be written, or the finished directory cannot be renamed."""
    target = tmp_path / "model"
    if earlier is not None:
        write_directory(target, earlier)
    real = getattr(Path, method)

    def failing_once(self: Path, argument: object) -> object:
        if self.name == "variables.index" or self.suffix == ".tmp":
            raise failing
        return real(self, argument)

    monkeypatch.setattr(Path, method, failing_once)
    with pytest.raises((InputError, KeyboardInterrupt)) as caught:
        write_directory(target, FILES)
    if isinstance(caught.value, InputError):
        assert caught.value.code == "output-unwritable"
        assert "No space left" in caught.value.what
    assert target.exists() is (earlier is not None)
    assert not target.exists() or _contents(target) == earlier
    assert _nothing_left(tmp_path)


def test_unwritable_places(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for place in (tmp_path / "missing" / "model", tmp_path / "file" / "model"):
        with pytest.raises(InputError) as caught:
            write_directory(place, FILES)
        assert caught.value.code == "output-unwritable"
        assert caught.value.where == str(place)


def test_a_saved_model_with_all_its_parts_is_replaced(tmp_path: Path) -> None:
    target = tmp_path / "model"
    parts = ("fingerprint.pb", "keras_metadata.pb", "assets/words", "assets/deep/er", "assets.extra/readme")
    write_directory(target, {**FILES, **dict.fromkeys(parts, b"old")})
    write_directory(target, {"saved_model.pb": b"new"})
    assert _contents(target) == {"saved_model.pb": b"new"}


def test_what_is_written_again_is_no_strangers(tmp_path: Path) -> None:
    target = tmp_path / "model"
    for content in (b"one", b"two"):
        write_directory(target, {"saved_model.pb": content, "of/the/maker": content})
        assert _contents(target) == {"saved_model.pb": content, "of/the/maker": content}
    with pytest.raises(ConfigError):
        write_directory(target, FILES)
    assert _contents(target) == {"saved_model.pb": b"two", "of/the/maker": b"two"}


def test_files_are_copied(tmp_path: Path) -> None:
    (tmp_path / "source" / "assets").mkdir(parents=True)
    (tmp_path / "source" / "assets" / "words").write_bytes(b"w")
    (tmp_path / "source" / "deep" / "empty").mkdir(parents=True)
    (tmp_path / "source" / "link").symlink_to(tmp_path / "source" / "assets" / "words")
    (tmp_path / "source" / "round").symlink_to(tmp_path / "source")
    found = files_in(tmp_path / "source")
    assert list(found) == ["assets/words", "deep/empty/", "link"]
    write_directory(tmp_path / "model", {**found, "saved_model.pb": b"s"})
    assert _contents(tmp_path / "model") == {"assets/words": b"w", "link": b"w", "saved_model.pb": b"s"}
    assert not (tmp_path / "model" / "link").is_symlink()
    assert (tmp_path / "model" / "deep" / "empty").is_dir()
    write_directory(tmp_path / "model", found)  # over what is there
    with pytest.raises(InputError) as caught:
        write_directory(tmp_path / "other", {"gone": tmp_path / "gone"})
    assert caught.value.code == "output-unwritable"
    assert not (tmp_path / "other").exists() and _nothing_left(tmp_path)


def test_a_directory_that_cannot_be_listed(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        files_in(tmp_path / "none")
    assert caught.value.code == "file-unreadable"
