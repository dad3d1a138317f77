"""Outputs appear whole or not at all, and never over an input."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from fqrewrite.errors import ConfigError, InputError
from fqrewrite.model import atomic


def test_writes_replaces_and_follows_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "out.pb"
    previous = os.umask(0o027)
    try:
        atomic.write_atomic(path, b"one")
        atomic.write_atomic(path, b"two")
    finally:
        os.umask(previous)
    assert path.read_bytes() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.pb"]


def test_a_symbolic_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "out.pb"
    link.symlink_to(tmp_path / "real" / "out.pb")
    atomic.write_atomic(link, b"data")
    assert link.is_symlink()
    assert (tmp_path / "real" / "out.pb").read_bytes() == b"data"


@pytest.mark.parametrize("failing", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_write_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: BaseException
) -> None:
    """All temporaries are written before the first rename: one failure, and no file changes."""
    first, second = tmp_path / "a.pb", tmp_path / "b.json"
    first.write_bytes(b"old")
    calls, fdopen = [], os.fdopen

    def opened(descriptor: int, mode: str) -> object:
        calls.append(descriptor)
        if len(calls) == 2:
            os.close(descriptor)
            raise failing
        return fdopen(descriptor, mode)

    monkeypatch.setattr(os, "fdopen", opened)
    with pytest.raises((InputError, KeyboardInterrupt)) as caught:
        atomic.write_all([(first, b"new"), (second, b"new")])
    if isinstance(caught.value, InputError):
        assert caught.value.code == "output-unwritable"
        assert "No space left" in caught.value.what
        assert caught.value.where == str(second)
    assert first.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.pb"]


def test_a_killed_run_leaves_no_partial_file(tmp_path: Path) -> None:
    path = tmp_path / "out.pb"
    path.write_bytes(b"old")
    code = f"""
import os, signal
from pathlib import Path
from fqrewrite.model import atomic
os.replace = lambda *paths: os.kill(os.getpid(), signal.SIGKILL)
atomic.write_atomic(Path({str(path)!r}), b"new" * 100000)
"""
    root = Path(__file__).resolve().parents[2]
    result = subprocess.run([sys.executable, "-c", code], cwd=root, check=False)
    assert result.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"


def test_what_a_killed_run_left_behind_is_in_nobodys_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In containers every run has the same process number."""
    monkeypatch.setattr(os, "getpid", lambda: 1)
    replace = Path.replace
    monkeypatch.setattr(Path, "replace", lambda *_: os._exit(9))
    if os.fork() == 0:
        atomic.write_atomic(tmp_path / "out.pb", b"one")
    os.wait()
    assert len(list(tmp_path.iterdir())) == 1
    monkeypatch.setattr(Path, "replace", replace)
    atomic.write_atomic(tmp_path / "out.pb", b"two")
    assert (tmp_path / "out.pb").read_bytes() == b"two"


def test_a_name_as_long_as_the_system_allows(tmp_path: Path) -> None:
    path = tmp_path / ("ö" * 127)
    atomic.write_atomic(path, b"data")
    assert path.read_bytes() == b"data"


def test_unwritable_places(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "directory.pb").mkdir()
    places = (tmp_path / "missing" / "out.pb", tmp_path / "file" / "out.pb", tmp_path / "directory.pb")
    for place in (*places, Path(os.devnull)):
        with pytest.raises(InputError) as caught:
            atomic.write_atomic(place, b"data")
        assert caught.value.code == "output-unwritable"
        assert caught.value.where == str(place)
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)


def test_outputs_that_are_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "in.pb"
    source.write_bytes(b"data")
    (tmp_path / "link.pb").symlink_to(source)
    (tmp_path / "hard.pb").hardlink_to(source)
    (tmp_path / "folder").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    same = ["in.pb", "./in.pb", str(source), "link.pb", "hard.pb", "folder/in.pb"]
    for output in same:
        with pytest.raises(ConfigError) as caught:
            atomic.check_distinct([source], [tmp_path / "other.pb", Path(output)])
        assert caught.value.code == "output-is-input"
        assert caught.value.where == str(Path(output))


def test_outputs_that_are_each_other(tmp_path: Path) -> None:
    source, output = tmp_path / "in.pb", tmp_path / "out.pb"
    atomic.check_distinct([source], [output, tmp_path / "out.json"])
    with pytest.raises(ConfigError) as caught:
        atomic.check_distinct([source], [output, tmp_path / "x" / ".." / "out.pb"])
    assert caught.value.code == "outputs-not-distinct"
