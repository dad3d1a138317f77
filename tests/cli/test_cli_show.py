"""`show`: how a graph was made, told by the graph itself, whatever it went through since."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from command_line import NET, Run, Write

from fqrewrite import __version__
from fqrewrite.match.refusals import MARKER_NAME
from fqrewrite.proto import GraphDef, MetaGraphDef


def nodes_of(path: Path) -> dict[str, Any]:
    """The nodes of a graph by name, but for what tells of its making: the file that was read differs."""
    graph = GraphDef.FromString(path.read_bytes())
    return {node.name: node for node in graph.node if node.name != MARKER_NAME}


def test_what_is_told(trained: Any, run: Run) -> None:
    done = run("show", trained.train)
    lines = done.out.splitlines()
    assert (done.status, done.err) == (0, "")
    assert lines[0] == f"made by        fqrewrite {__version__}"
    assert lines[1:6] == [
        "mode           train",
        lines[2],
        "preset         tflite-int8",
        "outputs        loss:0",
        "plan           11 folds, 28 quantizers",
    ]
    assert lines[2].startswith("source         sha256 ")
    assert "fold           conv0/Conv2D  <-  conv0/BatchNorm/FusedBatchNormV3" in lines
    assert "fake quant     conv0/Relu6/quant  on  conv0/Relu6:0" in lines
    assert len(lines) == 6 + 11 + 28


def test_it_is_the_same_wherever_the_graph_has_been(trained: Any, run: Run, folder: Path) -> None:
    wanted = run("show", trained.train).out
    meta = MetaGraphDef.FromString(trained.train.read_bytes())
    (folder / "round.pb").write_bytes(meta.graph_def.SerializeToString())
    (folder / "round.pbtxt").write_text(str(meta.graph_def), encoding="utf-8")
    # In a checkpoint's graph there are an optimizer and a saver, too.
    for path in ("round.pb", "round.pbtxt", trained.latest, f"{trained.latest}.meta", trained.checkpoints):
        assert run("show", path).out == wanted, path


def test_a_graph_def_that_went_round_is_evaluated(trained: Any, run: Run, folder: Path) -> None:
    meta = MetaGraphDef.FromString(trained.latest.with_suffix(".meta").read_bytes())
    (folder / "round.pb").write_bytes(meta.graph_def.SerializeToString())
    done = run("eval", trained.latest, "--model", "round.pb", "-o", "out.pb", "-q")
    assert done == (0, "", "")
    got, wanted = (nodes_of(path) for path in (folder / "out.pb", trained.frozen))
    assert got == wanted


def test_an_eval_graph_tells_its_ranges(trained: Any, run: Run) -> None:
    assert "mode           eval\n" in run("show", trained.frozen).out
    told = json.loads(run("show", "--json", trained.frozen).out)
    assert (told["mode"], told["scope"], told["tool_version"]) == ("eval", "", __version__)
    assert {item["range"]["source"] for item in told["plan"]["quantizers"]} == {"constant"}
    assert "originals" not in told
    assert told["changes"]["frozen"] == 57


def test_what_was_done_before_is_told(run: Run, write: Write) -> None:
    text = NET + "train = PlaceholderWithDefault(flag) {dtype: bool, shape: []}\nflag = Const {value: true}\n"
    write("in.pb", text)
    options = ("--set", "train=false", "--strip-training", "--outputs", "head/BiasAdd")
    assert run("train", "in.pb", "-o", "out.meta", "-q", *options).status == 0
    told = run("show", "out.meta").out
    assert "bound          train = false\n" in told
    assert "stripped       " in told
