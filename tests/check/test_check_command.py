"""`fqrewrite check` as its users run it."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import Run, refused, run_in, write_in

from fqrewrite.ir.graph import Graph
from fqrewrite.ir.text import parse
from fqrewrite.model.saved_model import saved_model_bytes
from fqrewrite.model.signature import signature_of

GOOD = """
x = Placeholder {shape: [?, 8, 8, 2]}
lo = Const {value: -1.0}
hi = Const {value: 0.9921875}
fq_x = FakeQuantWithMinMaxVars(x, lo, hi)
w = Const {value: [[[[0.5, -0.25], [0.125, 0.5]]]]}
wlo = Const {value: -0.5}
whi = Const {value: 0.5}
fq_w = FakeQuantWithMinMaxVars(w, wlo, whi) {narrow_range: true}
conv = Conv2D(fq_x, fq_w)
relu = Relu(conv)
fq_y = FakeQuantWithMinMaxVars(relu, lo, hi)
"""
FLOAT = GOOD.replace("(relu, lo, hi)", "(elu, lo, hi)") + "elu = Elu(relu)\n"
CRASH = GOOD.replace("{value: 0.9921875}", "{value: inf}")
LATE = GOOD.replace("{value: -0.5}", "{value: -0.25}")  # converts, and does not load


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return partial(run_in, tmp_path)


def _json(text: str) -> Any:
    return json.loads(text)


def test_a_graph_that_passes(run: Run, tmp_path: Path) -> None:
    write_in(tmp_path, "good.pb", GOOD)
    done = run("check", "good.pb")
    assert done.status == 0
    assert done.out.startswith("good.pb: check for tflite-int8: passed\n")
    assert "an integer model" in done.out


def test_findings_fail(run: Run, tmp_path: Path) -> None:
    write_in(tmp_path, "bad.pb", FLOAT)
    done = run("check", "bad.pb")
    assert done.status == 1
    assert "float: elu (Elu): " in done.out and "[operation-float]" in done.out
    assert "float: relu:0 (Relu): " in done.out and "[range-missing]" in done.out
    assert "what to do: " in done.out
    assert done.err == ""


def test_quiet_leaves_the_status(run: Run, tmp_path: Path) -> None:
    write_in(tmp_path, "bad.pb", FLOAT)
    done = run("check", "bad.pb", "-q")
    assert (done.status, done.out, done.err) == (1, "", "")


def test_json(run: Run, tmp_path: Path) -> None:
    write_in(tmp_path, "bad.pb", FLOAT)
    report = _json(run("check", "bad.pb", "--json").out)
    assert report["passed"] is False
    assert report["static"]["prediction"] == "float"
    assert [entry["name"] for entry in report["static"]["float_operations"]] == ["conv", "elu"]
    assert report["conversion"] is None


def test_junit(run: Run, tmp_path: Path) -> None:
    write_in(tmp_path, "bad.pb", FLOAT)
    assert run("check", "bad.pb", "--format", "junit", "-o", "report.xml").out == ""
    suite = ElementTree.parse(tmp_path / "report.xml").getroot()[0]
    assert (suite.get("tests"), suite.get("failures")) == ("2", "2")
    assert {case.get("classname") for case in suite} == {"operation-float", "range-missing"}


def test_another_target(run: Run, tmp_path: Path) -> None:
    write_in(tmp_path, "late.pb", LATE)
    assert run("check", "late.pb").status == 1
    assert run("check", "late.pb", "--target", "tflite-uint8").status == 0


def test_outputs_can_be_named(run: Run, tmp_path: Path) -> None:
    write_in(tmp_path, "two.pb", GOOD + "elu = Elu(fq_y)\n")
    assert run("check", "two.pb").status == 1
    assert run("check", "two.pb", "--outputs", "fq_y:0").status == 0
    refused(run("check", "two.pb", "--outputs", "fq_z:0"), 2, "output-not-found")


def test_a_conversion_is_compared_and_written(run: Run, tmp_path: Path) -> None:
    write_in(tmp_path, "good.pb", GOOD)
    done = run("check", "good.pb", "--convert", "--json", "--tflite", "good.tflite", "-o", "report.json")
    assert done.status == 0, done
    conversion = _json((tmp_path / "report.json").read_text())["conversion"]
    assert (conversion["stage"], conversion["error"], conversion["islands"]) == ("done", None, [])
    assert conversion["operations"] == {"CONV_2D": 1, "DEQUANTIZE": 1, "QUANTIZE": 1}
    assert (conversion["samples"], conversion["outputs"][0]["tensor"]) == (8, "fq_y:0")
    assert conversion["outputs"][0]["max_error"] <= 1
    assert conversion["outputs"][0]["scale"] == pytest.approx(1.9921875 / 255)
    assert "no delegates" in conversion["kernels"]
    assert (tmp_path / "good.tflite").read_bytes()[4:8] == b"TFL3"
    assert (tmp_path / "good.tflite").stat().st_size == conversion["size"]


def test_the_given_data_is_used(run: Run, tmp_path: Path) -> None:
    write_in(tmp_path, "good.pb", GOOD)
    np.savez(tmp_path / "data.npz", x=np.full((3, 8, 8, 2), 0.25, np.float32))
    done = run("check", "good.pb", "--convert", "--data", "data.npz")
    assert done.status == 0, done
    assert "on 3 inputs (data.npz)" in done.out
    np.savez(tmp_path / "other.npz", y=np.zeros((3, 8, 8, 2), np.float32))
    refused(run("check", "good.pb", "--convert", "--data", "other.npz"), 2, "data-input-missing", "'x'")
    np.savez(tmp_path / "wide.npz", x=np.zeros((3, 9, 8, 2), np.float32))
    refused(run("check", "good.pb", "--convert", "--data", "wide.npz"), 2, "data-shape")
    (tmp_path / "text.npz").write_text("no archive")
    refused(run("check", "good.pb", "--convert", "--data", "text.npz"), 2, "data-unreadable")


def test_a_crash_of_the_converter_is_survived(run: Run, tmp_path: Path) -> None:
    write_in(tmp_path, "crash.pb", CRASH)
    done = run("check", "crash.pb", "--convert", "--json", "--tflite", "no.tflite")
    assert done.status == 1
    conversion = _json(done.out)["conversion"]
    assert (conversion["stage"], conversion["signal"]) == ("converting", "SIGSEGV")
    assert not (tmp_path / "no.tflite").exists()


def test_a_model_that_does_not_load(run: Run, tmp_path: Path) -> None:
    write_in(tmp_path, "late.pb", LATE)
    done = run("check", "late.pb", "--convert", "--tflite", "late.tflite")
    assert done.status == 1
    assert "[model-does-not-load]" in done.out and "[weights-asymmetric]" in done.out
    assert (tmp_path / "late.tflite").exists()


def test_a_conversion_that_takes_too_long(run: Run, tmp_path: Path) -> None:
    write_in(tmp_path, "good.pb", GOOD)
    done = run("check", "good.pb", "--convert", "--timeout", "0.05")
    assert done.status == 1
    assert "took longer than 0.05 seconds" in done.out and "[conversion-failed]" in done.out


def test_a_saved_model(run: Run, tmp_path: Path) -> None:
    graph = Graph(parse(FLOAT))
    inputs, outputs = signature_of(graph, [graph.value("fq_y")])
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_bytes(saved_model_bytes(graph.graph_def, inputs, outputs))
    done = run("check", "saved", "--json")
    assert done.status == 1
    assert _json(done.out)["outputs"] == ["fq_y:0"]


def test_what_cannot_be_checked(run: Run, tmp_path: Path) -> None:
    refused(run("check", "none.pb"), 3, "file-not-found")
    write_in(tmp_path, "good.pb", GOOD)
    refused(run("check", "good.pb", "--tflite", "m.tflite"), 2, "convert-needed", "--tflite")
    refused(run("check", "good.pb", "--convert", "--tflite", "good.pb"), 2, "output-is-input")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "saved_model.pb").write_bytes(b"")
    refused(run("check", "empty"), 3, "file-empty")
    (tmp_path / "empty" / "saved_model.pb").write_bytes(b"\xff\xff")
    refused(run("check", "empty"), 3, "file-foreign")
