"""`train`, `eval` and `plan`: what is written where, and that it is the same every time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from command_line import FLOAT, FROZEN, NET, Run, Write
from google.protobuf import text_format
from numeric import FAKE_QUANTS

from fqrewrite.proto import GraphDef, MetaGraphDef
from fqrewrite.report.records import report_schema_json


def _report(path: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return report


def _graph(path: Path, *, text: bool = False) -> Any:
    """The GraphDef in a file, read as the kind that its suffix says."""
    message = MetaGraphDef() if ".meta" in path.name else GraphDef()
    if text:
        text_format.Parse(path.read_text(encoding="utf-8"), message)
    else:
        message.ParseFromString(path.read_bytes())
    return message.graph_def if ".meta" in path.name else message


@pytest.mark.parametrize("source", ["in.pb", "in.pbtxt", "in.meta", "in.meta.pbtxt"])
def test_the_suffix_says_what_is_written(run: Run, write: Write, folder: Path, source: str) -> None:
    before = write(source, NET)
    original = before.read_bytes()
    graphs = []
    for suffix in (".pb", ".pbtxt", ".meta", ".meta.pbtxt"):
        done = run("train", source, "-o", "out" + suffix, "-q")
        assert done == (0, "", "")
        # A text MetaGraphDef stays text when it is written to .meta.
        text = suffix.endswith(".pbtxt") or (source, suffix) == ("in.meta.pbtxt", ".meta")
        graphs.append(_graph(folder / ("out" + suffix), text=text))
        assert (folder / f"out{suffix}.report.json").exists()
    assert sum(node.op in FAKE_QUANTS for node in graphs[0].node) == 6
    assert all(graph == graphs[0] for graph in graphs)
    assert before.read_bytes() == original


def test_a_graph_def_becomes_a_meta_graph_with_its_variables(run: Run, write: Write, folder: Path) -> None:
    text = NET + "conv/w/zeros = Const {value: 0.0}\nconv/w/Assign = Assign(conv/w, conv/w/zeros)\n"
    write("in.pb", text)
    done = run("train", "in.pb", "-o", "out.meta")
    meta_graph = MetaGraphDef.FromString((folder / "out.meta").read_bytes())
    assert len(meta_graph.collection_def["trainable_variables"].bytes_list.value) == 1
    assert "variable-not-described" in done.out  # the others have no initializer
    assert "no-collections" in run("train", "in.pb", "-o", "out.pb").out


def test_the_report_says_what_was_done(run: Run, model: Path, folder: Path) -> None:
    import hashlib

    run("train", "model.meta", "-o", "out.meta", "-q")
    report = _report(folder / "out.meta.report.json")
    jsonschema.validate(report, json.loads(report_schema_json()))
    assert report["input"] == {
        "path": "model.meta",
        "kind": "meta_graph",
        "sha256": hashlib.sha256(model.read_bytes()).hexdigest(),
    }
    assert (report["output"], report["mode"]) == ("out.meta", "train")
    graph = _graph(folder / "out.meta")
    inserted = {node.name for node in graph.node if node.op in FAKE_QUANTS}
    assert {item["node"] for item in report["inserted"]} == inserted
    assert (report["summary"]["layers"], report["summary"]["layers_quantized"]) == (12, 12)
    assert report["summary"]["nodes_inserted"] == len(graph.node) - len(_graph(model).node)
    assert len(report["folds"]) == 11


def test_the_report_goes_where_it_is_told(run: Run, write: Write, folder: Path) -> None:
    write("in.pb", NET)
    (folder / "reports").mkdir()
    run("eval", "in.pb", "-o", "out.pb", "--report", "reports/r.json", "-q")
    assert sorted(path.name for path in folder.iterdir()) == ["in.pb", "out.pb", "reports"]
    assert _report(folder / "reports" / "r.json")["mode"] == "eval"


def test_the_formats_of_the_report(run: Run, write: Write, folder: Path) -> None:
    write("in.pb", NET)
    printed = {
        name: run("eval", "in.pb", "-o", "out.pb", "--report-format", name).out for name in ("text", "md", "json")
    }
    assert printed["json"] == (folder / "out.pb.report.json").read_text(encoding="utf-8")
    assert printed["md"].startswith("### fqrewrite eval: `in.pb` to `out.pb`\n")
    assert printed["text"].splitlines()[1] == "  layers quantized  2 of 2"
    assert "head/weights_quant/FakeQuantWithMinMaxVars" not in printed["text"]
    verbose = run("eval", "in.pb", "-o", "out.pb", "-v").out
    assert "head/weights_quant/FakeQuantWithMinMaxVars" in verbose
    assert run("eval", "in.pb", "-o", "out.pb", "-v", "-q").out == ""


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_the_same_run_gives_the_same_bytes(run: Run, model_eval: Path, folder: Path, mode: str) -> None:
    written = []
    for seed in ("0", "1", "random"):
        done = run(mode, "model_eval.meta", "-o", "out.meta", "--quant-delay", "3", PYTHONHASHSEED=seed)
        files = [(folder / name).read_bytes() for name in ("out.meta", "out.meta.report.json")]
        written.append((done.out, *files))
    assert written[0] == written[1] == written[2]


@pytest.mark.parametrize("source", ["model.meta", "in.pb"])
def test_a_plan_applied_later_is_the_same_run(run: Run, write: Write, model: Path, folder: Path, source: str) -> None:
    write("in.pb", NET)
    settings = ("--quant-delay", "5", "--weight-bits", "4")
    files = ("out.meta", "out.meta.report.json")
    assert run("train", source, "-o", "out.meta", "-q", *settings).status == 0
    at_once = [(folder / name).read_bytes() for name in files]
    assert run("plan", source, "--json", "-o", "plan.json", *settings) == (0, "", "")
    plan = (folder / "plan.json").read_text(encoding="utf-8")
    assert run("plan", source, "--json", *settings).out == plan
    assert run("train", source, "-o", "out.meta", "-q", "--plan", "plan.json").status == 0
    assert [(folder / name).read_bytes() for name in files] == at_once


def test_planning_shows_everything_and_changes_nothing(run: Run, model: Path, folder: Path) -> None:
    original = model.read_bytes()
    done = run("plan", "model.meta")
    assert (done.status, done.err) == (0, "")
    assert "nothing is changed" in done.out.splitlines()[0]
    assert "conv0/weights_quant/FakeQuantWithMinMaxVars" in done.out
    assert json.loads(run("plan", "model.meta", "--report-format", "json").out)["mode"] is None
    assert model.read_bytes() == original
    assert [path.name for path in folder.iterdir()] == ["model.meta"]


def test_flags_win_over_the_config(run: Run, write: Write, folder: Path) -> None:
    write("in.pb", NET)
    text = "preset: contrib\nquant_delay: 7\nscope: conv\nweights: {bits: 4, symmetric: true}\noutputs: [nowhere]\n"
    (folder / "c.yaml").write_text(text, encoding="utf-8")
    flags = ("--quant-delay", "3", "--scope", "head", "--weight-bits", "5", "--outputs", "head/BiasAdd")
    done = run("train", "in.pb", "-o", "o.pb", "-c", "c.yaml", "-q", *flags, "--activation-bits", "6", "--asymmetric")
    assert done == (0, "", "")
    report = _report(folder / "o.pb.report.json")
    config = report["config"]
    assert (config["quant_delay"], config["scope"], config["outputs"]) == (3, "head", ["head/BiasAdd:0"])
    assert (config["weights"]["bits"], config["activations"]["bits"]) == (5, 6)
    assert (config["weights"]["symmetric"], config["activations"]["symmetric"]) == (False, False)
    assert config["origins"]["quant_delay"] == "--quant-delay"
    assert {item["layer"] for item in report["inserted"]} == {"head/MatMul"}
    assert run("train", "in.pb", "-o", "o.pb", "-c", "c.yaml", "--outputs", "head/BiasAdd:0", "-q").status == 0
    config = _report(folder / "o.pb.report.json")["config"]
    assert (config["quant_delay"], config["origins"]["quant_delay"]) == (7, "c.yaml:2")


def test_freezing_is_a_flag_too(run: Run, model: Path, folder: Path) -> None:
    run("train", "model.meta", "-o", "o.meta", "-q", "--freeze-bn-delay", "9", "--symmetric", "--preset", "contrib")
    report = _report(folder / "o.meta.report.json")
    assert {fold["freeze_delay"] for fold in report["folds"]} == {9}
    assert {item["symmetric"] for item in report["inserted"]} == {True}


def test_frozen_graphs_are_for_eval(run: Run, write: Write, folder: Path) -> None:
    write("in.pb", FROZEN)
    done = run("train", "in.pb", "-o", "o.pb")
    assert done.status == 1
    assert "[nothing-trainable]" in done.err and "--thaw" in done.err
    done = run("eval", "in.pb", "-o", "o.pb")
    assert done.status == 1
    assert "[range-unknown]" in done.err and "dense/Relu:0" in done.err and "there is no checkpoint" in done.err
    assert not (folder / "o.pb").exists()
    known = {"x:0": [-1, 1], "dense/Relu:0": [0, 4]}
    (folder / "ranges.json").write_text(json.dumps({"version": 1, "ranges": known}), encoding="utf-8")
    assert run("eval", "in.pb", "-o", "o.pb", "-q", "--ranges", "ranges.json").status == 0
    ranges = {item["tensor"]: item["range"] for item in _report(folder / "o.pb.report.json")["inserted"]}
    found = {tensor: (known["origin"], known["minimum"], known["maximum"]) for tensor, known in ranges.items()}
    assert found == {
        "x:0": ("ranges file", [-1.0], [1.0]),
        "w:0": ("weights", [-3.0], [3.0]),
        "dense/Relu:0": ("ranges file", [0.0], [4.0]),
    }
    assert run("eval", "in.pb", "-o", "kept.pb", "-q", "--no-freeze").status == 0
    kept = {item["tensor"]: item for item in _report(folder / "kept.pb.report.json")["inserted"]}
    assert (kept["w:0"]["range"]["source"], kept["w:0"]["range"]["minimum"]) == ("constant", [-3.0])
    assert kept["dense/Relu:0"]["variables"] == ["dense/Relu/quant/min", "dense/Relu/quant/max"]


@pytest.mark.parametrize("suffix", [".pb", ".pbtxt", ".meta", ".meta.pbtxt"])
def test_nothing_to_quantize_is_an_error_unless_allowed(run: Run, write: Write, folder: Path, suffix: str) -> None:
    before = write("in" + suffix, FLOAT)
    done = run("train", before.name, "-o", "out" + suffix)
    assert done.status == 1
    assert "[nothing-quantized]" in done.err and "--allow-empty" in done.err
    assert [path.name for path in folder.iterdir()] == [before.name]
    assert run("train", before.name, "-o", "out" + suffix, "--allow-empty").status == 0
    assert (folder / ("out" + suffix)).read_bytes() == before.read_bytes()


def test_the_reasons_are_listed_when_nothing_is_quantized(run: Run, write: Write, folder: Path) -> None:
    write("in.pb", NET)
    text = "rules:\n  - {match: '**', quantize: false, because: kept float}\n"
    (folder / "c.yaml").write_text(text, encoding="utf-8")
    done = run("train", "in.pb", "-o", "out.pb", "-c", "c.yaml")
    assert done.status == 1
    assert "left out: excluded-by-config 2" in done.err
    for layer in ("conv/Conv2D", "head/MatMul"):
        line = next(line for line in done.out.splitlines() if f"  {layer}  " in line)
        assert "excluded-by-config" in line and "kept float (c.yaml:2)" in line
    quiet = run("train", "in.pb", "-o", "out.pb", "-c", "c.yaml", "-q")
    assert (quiet.status, quiet.out, quiet.err) == (1, "", done.err)
    assert "### fqrewrite" in run("train", "in.pb", "-o", "o.pb", "-c", "c.yaml", "--report-format", "md").out
    planned = run("plan", "in.pb", "-c", "c.yaml", "-o", "plan.json")
    assert (planned.status, planned.err) == (1, done.err)
    assert run("plan", "in.pb", "-c", "c.yaml", "--allow-empty").status == 0
    assert sorted(path.name for path in folder.iterdir()) == ["c.yaml", "in.pb"]
