"""Standard output that is closed, full, narrow or in another encoding; start-up; and no TensorFlow."""

from __future__ import annotations

import os
import re
import statistics
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import NET, ROOT, Run, Write

COMMAND = [sys.executable, "-m", "fqrewrite"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.fixture
def source(write: Write) -> Path:
    return write("in.pb", NET)


def shell(folder: Path, script: str, *args: str) -> subprocess.CompletedProcess[bytes]:
    command = ["bash", "-c", script, "bash", *COMMAND, *args]
    return subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, check=False, timeout=60)


@pytest.mark.parametrize(
    "args",
    [
        ("train", "in.pb", "-o", "out.pb", "-v"),
        ("plan", "in.pb", "--json"),
        ("explain", "--markdown"),
        ("config", "schema"),
    ],
)
def test_a_reader_that_leaves_early(folder: Path, source: Path, args: tuple[str, ...]) -> None:
    done = shell(folder, '"$@" | true; exit "${PIPESTATUS[0]}"', *args)
    assert (done.returncode, done.stderr) == (0, b"")
    if args[0] == "train":
        assert len((folder / "out.pb").read_bytes()) > 1000


def test_a_refusal_keeps_its_status_without_a_reader(folder: Path, source: Path) -> None:
    (folder / "c.yaml").write_text("rules:\n  - {match: '**', quantize: false}\n", encoding="utf-8")
    done = shell(folder, '"$@" | true; exit "${PIPESTATUS[0]}"', "plan", "in.pb", "-c", "c.yaml")
    assert done.returncode == 1
    assert b"[nothing-quantized]" in done.stderr


@pytest.mark.parametrize("closed", [">&-", ">&- 2>&-", "<&-"])
def test_closed_streams(folder: Path, source: Path, closed: str) -> None:
    done = shell(folder, f'"$@" {closed}', "train", "in.pb", "-o", "out.pb")
    assert (done.returncode, done.stderr) == (0, b"")
    assert len((folder / "out.pb").read_bytes()) > 1000
    done = shell(folder, f'"$@" {closed}', "train", "missing.pb", "-o", "out.pb")
    assert done.returncode == 3


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("args", [("train", "in.pb", "-o", "out.pb"), ("rules",), ("--help",)])
def test_a_full_disk_behind_standard_output(folder: Path, source: Path, args: tuple[str, ...]) -> None:
    done = shell(folder, '"$@" > /dev/full', *args)
    assert done.returncode == 3
    assert b"error: standard output cannot be written: No space left on device" in done.stderr
    assert b"internal" not in done.stderr and b"Exception" not in done.stderr


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1"},
        {"LC_ALL": "C"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ],
)
def test_other_encodings(run: Run, folder: Path, source: Path, environment: dict[str, str]) -> None:
    (folder / "in.pb").rename(folder / "日本.pb")
    command = [*COMMAND, "eval", "日本.pb", "-o", "日本.meta"]
    done = subprocess.run(
        command, cwd=folder, env={**ENVIRONMENT, **environment}, capture_output=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, b"")
    written = (folder / "日本.meta.report.json").read_bytes()
    assert run("eval", "日本.pb", "-o", "日本.meta", "-q").status == 0
    assert (folder / "日本.meta.report.json").read_bytes() == written  # JSON is UTF-8 everywhere


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
@pytest.mark.parametrize("width", [40, 80, 200])
def test_tables_on_a_terminal(folder: Path, model_eval: Path, width: int) -> None:
    import fcntl
    import pty
    import termios

    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    environment = {**ENVIRONMENT, "TERM": "xterm-256color"}
    environment.pop("COLUMNS", None)
    command = [*COMMAND, "plan", "model_eval.meta", "--scope", "block1"]
    process = subprocess.Popen(command, cwd=folder, env=environment, stdin=slave, stdout=slave)
    os.close(slave)
    raw = b""
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        raw += part
    os.close(master)
    assert process.wait(60) == 0
    text = re.sub(r"\x1b\[[0-9;]*m", "", raw.decode()).replace("\r", "")
    assert max(map(len, text.splitlines())) <= width
    assert b"\x1b[1m" in raw
    # Once for all ten layers, once for all tensors between them, once in the summary.
    assert text.count("outside-scope") == 3
    if width >= 80:
        assert re.search(r"│ block1/depthwise/depthwise │ 8 bits,[ a-z,]*│ activation: 8 ", text)


def test_help_is_quick() -> None:
    def seconds() -> float:
        start = time.perf_counter()
        subprocess.run([*COMMAND, "--help"], env=ENVIRONMENT, capture_output=True, check=True)
        return time.perf_counter() - start

    assert statistics.median(seconds() for _ in range(5)) < 0.6  # 0.3 on a machine with nothing else to do


@pytest.mark.parametrize(
    "args",
    [
        ("train", "in.pb", "-o", "out.meta"),
        ("eval", "in.pb", "-o", "out.pbtxt", "-c", "c.yaml", "-v"),
        ("plan", "in.pb", "--report-format", "md"),
        ("plan", "in.pb", "--preset", "contrib"),
        ("rules",),
        ("explain",),
        ("config", "check", "c.yaml"),
        ("config", "schema"),
    ],
)
def test_no_command_imports_tensorflow(folder: Path, source: Path, args: tuple[str, ...]) -> None:
    (folder / "c.yaml").write_text("version: 1\n", encoding="utf-8")
    command = [sys.executable, "-X", "importtime", "-m", "fqrewrite", *args]
    done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, check=True, timeout=60)
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.decode().splitlines()}
    assert "fqrewrite" in imported
    assert not imported & {"tensorflow", "keras", "numpy"}
    # Reading YAML takes longer than rewriting a small graph, so that the default preset must not need it.
    assert ("yaml" in imported) <= bool({"-c", "check", "--preset"} & set(args))
