"""Inputs that are no models, outputs that cannot be, and names that are hard to write."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import NET, ROOT, Run, Write

FOREIGN = {
    "png": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "PNG"),
    "zip": (b"PK\x03\x04\x14\0\0\0", "zip"),
    "h5": (b"\x89HDF\r\n\x1a\n\0", "HDF5"),
    "tflite": (b"\x1c\0\0\0TFL3\0\0\0\0", "TFLite"),
    "json": (b'{"class_name": "Sequential"}', "Keras"),
    "text": (b"hello, world\n", "text"),
    "noise": (bytes(range(128, 256)) * 9, "not a TensorFlow graph"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_other_files(run: Run, folder: Path, kind: str) -> None:
    content, said = FOREIGN[kind]
    (folder / "in.pb").write_bytes(content)
    done = run("train", "in.pb", "-o", "out.pb")
    assert done.status == 3
    assert "error: in.pb: " in done.err and "[file-foreign]" in done.err and said in done.err


def test_nothing_there(run: Run, folder: Path, model: Path) -> None:
    (folder / "empty.pb").write_bytes(b"")
    (folder / "export").mkdir()
    (folder / "export" / "saved_model.pb").write_bytes(b"\x08\x01")
    codes = {
        "missing.pb": "file-not-found",
        "empty.pb": "file-empty",
        ".": "is-a-directory",
        "": "is-a-directory",
        "export": "graph-empty",
        "a" * 300: "file-unreadable",
        "model.meta/in.pb": "file-unreadable",
    }
    for name, code in codes.items():
        done = run("plan", name)
        assert (done.status, done.err.splitlines()[0].rpartition(" ")[2]) == (3, f"[{code}]"), name
    assert "give model.meta" in run("plan", "model").err.replace("Give", "give")


def test_text_names_the_line(run: Run, write: Write, folder: Path) -> None:
    path = write("in.pbtxt", NET)
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([*lines[:20], "  nmae: 3", *lines[20:]]), encoding="utf-8")
    done = run("plan", "in.pbtxt")
    assert done.status == 3
    assert "in.pbtxt:21: " in done.err and '"nmae"' in done.err and "[pbtxt-syntax]" in done.err


@pytest.mark.parametrize("share", [0.01, 0.3, 0.7, 0.999])
@pytest.mark.parametrize("source", ["in.pb", "model.meta"])
def test_truncated_files(run: Run, write: Write, model: Path, folder: Path, source: str, share: float) -> None:
    write("in.pb", NET)
    data = (folder / source).read_bytes()
    cut = folder / f"cut-{source}"
    cut.write_bytes(data[: int(len(data) * share)])
    done = run("plan", cut.name)
    # A cut between two nodes leaves a smaller graph; only its inputs can show it.
    assert done.status == 3
    assert any(f"[{code}]" in done.err for code in ("file-truncated", "dangling-input"))


def test_outputs_that_cannot_be(run: Run, write: Write, folder: Path) -> None:
    write("in.pb", NET)
    (folder / "folder.pb").mkdir()
    codes = {
        "missing/out.pb": (3, "output-unwritable"),
        "folder.pb": (3, "output-unwritable"),
        "in.pb/out.pb": (3, "output-unwritable"),
        f"{'a' * 300}.pb": (3, "output-unwritable"),
        "out.txt": (2, "output-suffix"),
        "out": (2, "output-suffix"),
        "": (2, "output-is-input"),  # the working directory, which holds it
        "in.pb": (2, "output-is-input"),
        "./in.pb": (2, "output-is-input"),
    }
    for name, (status, code) in codes.items():
        done = run("train", "in.pb", "-o", name)
        assert (done.status, done.err.splitlines()[0].rpartition(" ")[2]) == (status, f"[{code}]"), name
    assert sorted(path.name for path in folder.iterdir()) == ["folder.pb", "in.pb"]


def test_inputs_are_never_outputs(run: Run, write: Write, folder: Path) -> None:
    before = write("in.pb", NET)
    (folder / "c.yaml").write_text("version: 1\n", encoding="utf-8")
    run("plan", "in.pb", "-o", "plan.json")
    (folder / "soft.pb").symlink_to(before)
    (folder / "hard.pb").hardlink_to(before)
    contents = {path: path.read_bytes() for path in folder.iterdir()}
    for outputs in (
        ("-o", "soft.pb"),
        ("-o", "hard.pb"),
        ("-o", "out.pb", "--report", "in.pb"),
        ("-o", "out.pb", "--report", "c.yaml", "-c", "c.yaml"),
        ("-o", "out.pb", "--report", "plan.json", "--plan", "plan.json"),
    ):
        done = run("train", "in.pb", *outputs)
        assert (done.status, "[output-is-input]" in done.err) == (2, True), outputs
    assert "[output-is-input]" in run("plan", "in.pb", "-o", "soft.pb").err
    assert "[outputs-not-distinct]" in run("train", "in.pb", "-o", "out.pb", "--report", "out.pb").err
    assert {path: path.read_bytes() for path in folder.iterdir()} == contents


def test_an_output_is_replaced_and_its_link_stays(run: Run, write: Write, folder: Path) -> None:
    write("in.pb", NET)
    (folder / "real.pb").write_bytes(b"old")
    (folder / "out.pb").symlink_to("real.pb")
    assert run("train", "in.pb", "-o", "out.pb", "-q").status == 0
    assert (folder / "out.pb").is_symlink()
    assert len((folder / "real.pb").read_bytes()) > 1000


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_run_leaves_no_partial_file(run: Run, write: Write, folder: Path, number: int) -> None:
    """The signal comes when all bytes are written and nothing is renamed; then the same run is done again."""
    write("in.pb", NET)
    (folder / "out.pb").write_bytes(b"old")
    code = f"""
import os, pathlib
from fqrewrite.__main__ import main
pathlib.Path.replace = lambda *paths: os.kill(os.getpid(), {int(number)})
main()
"""
    command = [sys.executable, "-c", code, "train", "in.pb", "-o", "out.pb", "-q"]
    subprocess.run(command, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False, capture_output=True)
    assert (folder / "out.pb").read_bytes() == b"old"
    assert not (folder / "out.pb.report.json").exists()
    assert run("train", "in.pb", "-o", "out.pb", "-q").status == 0
    assert len((folder / "out.pb").read_bytes()) > 1000


@pytest.mark.parametrize("name", ["with space", "mödel-日本", "-dash", "new\nline", "a'b\"c", "[red]x"])
def test_names_that_are_hard_to_write(run: Run, write: Write, folder: Path, name: str) -> None:
    write(f"{name}.pb", NET)
    done = run("eval", "-o", f"./{name}.meta", "--", f"{name}.pb")
    assert done.status == 0
    assert (folder / f"{name}.meta").exists() and (folder / f"{name}.meta.report.json").exists()
    assert len(done.out.splitlines()[0].split(" -> ")) == 2  # on one line, whatever the name


def test_a_name_that_is_no_utf_8(run: Run, write: Write, folder: Path) -> None:
    write("in.pb", NET)
    odd = os.fsdecode(b"odd\xff")
    (folder / "in.pb").rename(folder / f"{odd}.pb")
    (folder / f"{odd}.yaml").write_text("rules:\n  - {match: y, quantize: false}\n", encoding="utf-8")
    done = run("eval", f"{odd}.pb", "-o", f"{odd}.meta", "-c", f"{odd}.yaml")
    assert done.status == 0
    assert r"odd\xff.pb -> odd\xff.meta" in done.out and r"odd\xff.yaml:2: " in done.out
    assert r"odd\\xff.pb" in (folder / f"{odd}.meta.report.json").read_text(encoding="utf-8")
    assert r"missing\udcff.pb" in run("plan", os.fsdecode(b"missing\xff.pb")).err


def test_a_very_long_path(run: Run, write: Write, folder: Path) -> None:
    deep = folder.joinpath(*["d" * 200] * 5)
    deep.mkdir(parents=True)
    write("in.pb", NET)
    longest = "ö" * 115 + ".pb"  # with .report.json behind it, 244 of at most 255 bytes
    done = run("eval", "in.pb", "-o", deep / longest, "-q")
    assert done == (0, "", "")
    assert sorted(path.name for path in deep.iterdir()) == [longest, longest + ".report.json"]


def test_names_in_the_graph_reach_no_terminal_raw(run: Run, folder: Path) -> None:
    from fqrewrite.ir.text import parse

    graph = parse(NET)
    for node in graph.node:
        if node.name == "head/MatMul":
            node.name = "head/Mat\x1b[2JMül"
        for index, name in enumerate(node.input):
            if name == "head/MatMul":
                node.input[index] = "head/Mat\x1b[2JMül"
    (folder / "in.pb").write_bytes(graph.SerializeToString())
    (folder / "c.yaml").write_text("rules:\n  - {match: head, quantize: false}\n", encoding="utf-8")
    for form in ("text", "md", "json"):
        done = run("eval", "in.pb", "-o", "out.pb", "-c", "c.yaml", "--report-format", form)
        assert done.status == 0
        assert "\x1b" not in done.out and "Mül" in done.out
