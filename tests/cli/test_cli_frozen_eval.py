"""`eval` of a frozen inference graph: it stays whole, but for what folds replace."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from command_line import Run

from fqrewrite.ir.text import parse
from fqrewrite.proto import GraphDef

FUSED = "bn = FusedBatchNormV3(c, gamma, beta, mean, variance) {is_training: false}\n"
UNFUSED = (
    "e = Const {value: 0.001}\nve = AddV2(variance, e)\nrs = Rsqrt(ve)\ninv = Mul(rs, gamma)\nscaled = Mul(c, inv)\n"
    "shift = Mul(mean, inv)\noff = Sub(beta, shift)\nbn = AddV2(scaled, off)\n"
)
GRAPH = (
    "x = Placeholder {shape: [1, 4, 4, 1]}\nw = Const {value: [[[[1.0, 2.0]]]]}\n"
    + "".join(f"{name} = Const {{value: [1.0, 2.0]}}\n" for name in ("gamma", "beta", "mean", "variance"))
    + "c = Conv2D(x, w)\n%sy = Relu(bn)\nside = Neg(x)\n"
)
RANGES = {"x:0": [-1, 1], "y:0": [0, 6], "c:0": [-9, 9], "side:0": [-1, 1]}


def _evaluated(folder: Path, run: Run, text: str, *more: str) -> dict[str, Any]:
    (folder / "in.pb").write_bytes(parse(text).SerializeToString())
    (folder / "ranges.json").write_text(json.dumps({"version": 1, "ranges": RANGES}), encoding="utf-8")
    done = run("eval", "in.pb", "--ranges", "ranges.json", "-o", "out.pb", *more)
    assert done.status == 0, done.err
    return {node.name: node for node in GraphDef.FromString((folder / "out.pb").read_bytes()).node}


@pytest.mark.parametrize("norm", [FUSED, UNFUSED])
def test_what_a_fold_retired_is_gone_but_for_the_batch_norms_name(norm: str, run: Run, folder: Path) -> None:
    nodes = _evaluated(folder, run, GRAPH % norm, "--outputs", "y:0")
    assert "c" not in nodes
    assert not {"scaled", "inv", "shift", "off", "rs", "ve"} & nodes.keys()
    assert nodes["bn"].op == "Identity"
    assert nodes["side"].op == "Neg"  # nothing read it before
    read = {text.lstrip("^").partition(":")[0] for node in nodes.values() for text in node.input}
    assert {name for name in nodes if name not in read} == {"bn", "side", "y", "fqrewrite/provenance"}


def test_an_output_stays(run: Run, folder: Path) -> None:
    nodes = _evaluated(folder, run, GRAPH % FUSED, "--outputs", "y:0,c:0")
    assert nodes["c"].op == "Conv2D"
