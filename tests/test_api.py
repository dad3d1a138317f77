"""The Python API: what the command line does, without files and processes in between."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import EXAMPLES
from graphs import one_layer, two_layers
from numeric import tf1

import fqrewrite
from fqrewrite.cli import cli

CONTRIB = {"preset": "contrib"}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "model.meta"
    path.write_bytes(two_layers(resource=False).meta)
    return path


def _command(*arguments: object) -> None:
    cli.main([*map(str, arguments), "-q"], standalone_mode=False)


@pytest.mark.parametrize("output", ["train.meta", "train.pb", "train.pbtxt", "train.meta.pbtxt"])
def test_train_writes_what_the_command_writes(source: Path, tmp_path: Path, output: str) -> None:
    _command("train", source, "-o", tmp_path / output, "--preset", "contrib", "--quant-delay", 3)
    expected = (tmp_path / output).read_bytes()
    report = json.loads((tmp_path / f"{output}.report.json").read_bytes())
    (tmp_path / output).unlink()
    result = fqrewrite.train(fqrewrite.load(source), preset="contrib", quant_delay=3)
    assert result.report.output is None
    written = fqrewrite.save(result, tmp_path / output)
    assert (tmp_path / output).read_bytes() == expected
    assert json.loads(written.to_json()) == json.loads((tmp_path / f"{output}.report.json").read_bytes())
    if output.endswith(".meta"):
        assert json.loads(written.to_json()) == report


@pytest.mark.parametrize("output", ["eval.pb", "eval.meta", "eval"])
def test_evaluate_writes_what_the_command_writes(tmp_path: Path, output: str) -> None:
    ranges = tmp_path / "ranges.json"
    model = fqrewrite.load(EXAMPLES / "model")
    planned = fqrewrite.plan(model, CONTRIB, outputs=["logits/BiasAdd:0"])
    known = {item.tensor: [-1.0, 6.0] for item in planned.plan.quantizers if item.role != "weights"}
    ranges.write_text(json.dumps({"version": 1, "ranges": known}), encoding="utf-8")
    settings = ("--preset", "contrib", "--outputs", "logits/BiasAdd:0", "--ranges", ranges)
    for folder in ("command", "api"):
        (tmp_path / folder).mkdir()
    _command("eval", EXAMPLES / "model", "-o", tmp_path / "command" / output, *settings)
    result = fqrewrite.evaluate(model, preset="contrib", ranges=ranges, outputs=["logits/BiasAdd:0"])
    fqrewrite.save(result, tmp_path / "api" / output)
    assert _files(tmp_path / "api" / output) == _files(tmp_path / "command" / output)
    assert result.report.summary.layers_quantized == 12


def _files(path: Path) -> dict[str, bytes]:
    found = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    return {str(file.relative_to(path.parent)): file.read_bytes() for file in found}


def test_what_is_loaded_stays_as_it_is(source: Path, tmp_path: Path) -> None:
    model = fqrewrite.load(source)
    before = model.model.message.SerializeToString(deterministic=True)
    planned = fqrewrite.plan(model, CONTRIB)
    first = fqrewrite.train(model, CONTRIB)
    fqrewrite.evaluate(model, CONTRIB)
    assert model.model.message.SerializeToString(deterministic=True) == before
    assert first.to_bytes() == fqrewrite.train(model, plan=planned).to_bytes()
    saved = first.to_bytes()
    fqrewrite.save(first, tmp_path / "train.meta")
    assert first.to_bytes() == saved == (tmp_path / "train.meta").read_bytes()


def test_a_plan_is_applied_in_every_form(source: Path, tmp_path: Path) -> None:
    model = fqrewrite.load(source)
    planned = fqrewrite.plan(model, CONTRIB)
    file = tmp_path / "plan.json"
    file.write_bytes(planned.to_json())
    plans: list[Any] = [planned, planned.plan, file, str(file)]
    assert len({fqrewrite.train(model, plan=given).to_bytes() for given in plans}) == 1
    assert planned.report.summary.layers == 3
    assert planned.report.mode is None


def test_plans_that_do_not_fit(source: Path, tmp_path: Path) -> None:
    model = fqrewrite.load(source)
    planned = fqrewrite.plan(model, CONTRIB)
    other = tmp_path / "other.meta"
    other.write_bytes(one_layer().meta)
    wrong: list[tuple[Any, dict[str, Any], str]] = [
        (model, {"plan": planned, "preset": "contrib"}, "plan-conflict"),
        (model, {"plan": planned, "config": CONTRIB}, "plan-conflict"),
        (fqrewrite.load(other), {"plan": planned}, "plan-mismatch"),
        (model, {"plan": tmp_path / "none.json"}, "plan-unreadable"),
    ]
    for given, arguments, code in wrong:
        for verb in (fqrewrite.train, fqrewrite.evaluate):
            with pytest.raises(fqrewrite.ConfigError) as caught:
                verb(given, **arguments)
            assert caught.value.code == code


def test_config_as_file_mapping_and_keywords(source: Path, tmp_path: Path) -> None:
    model, file = fqrewrite.load(source), tmp_path / "config.yaml"
    file.write_text("preset: contrib\nweights: {bits: 4}\n", encoding="utf-8")
    ways: list[dict[str, Any]] = [
        {"config": file},
        {"config": str(file)},
        {"config": {"preset": "contrib", "weights": {"bits": 4}}},
        {"preset": "contrib", "weight_bits": 4},
        {"config": {"preset": "contrib", "weights": {"bits": 5}}, "weight_bits": 4},
    ]
    for way in ways:
        plan = fqrewrite.plan(model, **way).plan
        assert {item.scheme.bits for item in plan.quantizers if item.role == "weights"} == {4}


@pytest.mark.parametrize(
    ("config", "code", "where"),
    [
        ({"wieghts": {}}, "config-unknown-key", "config: wieghts"),
        ({"weights": {"bits": 1}}, "config-value", "config: weights.bits"),
        ({"preset": "nothing"}, "config-preset", "config"),
        ({"preset": "contrib", "ranges": {"conv/Relu:0": (6, 0)}}, "config-value", "config: ranges.conv/Relu:0"),
        ({1: 2}, "config-unknown-key", "config: 1"),
        ({"quant_delay": object()}, "config-value", "config"),
        ([], "config-value", None),
    ],
)
def test_wrong_configs(source: Path, config: Any, code: str, where: str | None) -> None:
    with pytest.raises((fqrewrite.ConfigError, TypeError)) as caught:
        fqrewrite.plan(fqrewrite.load(source), config)
    if where is not None:
        assert isinstance(caught.value, fqrewrite.ConfigError)
        assert (caught.value.code, caught.value.where) == (code, where)


def test_nothing_to_quantize(tmp_path: Path) -> None:
    graph = tf1.Graph()
    with graph.as_default():
        tf1.nn.relu(tf1.placeholder(tf1.float32, (2, 2)), name="output")
    file = tmp_path / "model.pb"
    file.write_bytes(graph.as_graph_def().SerializeToString())
    model = fqrewrite.load(file)
    assert fqrewrite.plan(model, CONTRIB).plan.is_empty
    for verb in (fqrewrite.train, fqrewrite.evaluate):
        with pytest.raises(fqrewrite.Refusal) as caught:
            verb(model, CONTRIB)
        assert caught.value.code == "nothing-quantized"
    result = fqrewrite.train(model, CONTRIB, allow_empty=True)
    assert tf1.GraphDef.FromString(result.to_bytes("graph_def")) == graph.as_graph_def()


def test_nothing_is_written_where_the_input_is(source: Path) -> None:
    result = fqrewrite.train(fqrewrite.load(source), CONTRIB)
    before = source.read_bytes()
    for path, report in ((source, None), (source.with_name("new.meta"), source)):
        with pytest.raises(fqrewrite.ConfigError) as caught:
            fqrewrite.save(result, path, report=report)
        assert caught.value.code == "output-is-input"
    assert source.read_bytes() == before


def test_reports_in_every_format(source: Path) -> None:
    report = fqrewrite.train(fqrewrite.load(source), CONTRIB).report
    assert isinstance(report, fqrewrite.Report)
    assert json.loads(report.to_json())["summary"]["layers_quantized"] == 3
    assert "3 of 3" in report.to_text()
    assert len(report.to_text(verbose=True)) > len(report.to_text())
    assert report.to_markdown().startswith("#")


def test_variables_that_stay_have_a_checkpoint_beside(tmp_path: Path) -> None:
    model = fqrewrite.load(EXAMPLES / "model")
    outputs = ["logits/BiasAdd:0"]
    sites = fqrewrite.plan(model, CONTRIB, outputs=outputs).plan.quantizers
    known = {item.tensor: [-1.0, 6.0] for item in sites if item.role != "weights"}
    file = tmp_path / "ranges.json"
    file.write_text(json.dumps({"version": 1, "ranges": known}), encoding="utf-8")
    result = fqrewrite.evaluate(model, CONTRIB, ranges=file, outputs=outputs, freeze=False)
    fqrewrite.save(result, tmp_path / "eval.meta")
    assert np.size(tf1.train.load_checkpoint(str(tmp_path / "eval")).get_tensor("logits/biases")) == 10
    with pytest.raises(fqrewrite.ConfigError) as caught:
        fqrewrite.save(result, tmp_path / "eval.pb")
    assert caught.value.code == "output-without-variables"
