"""Training and eval graphs are two applications of one plan: they keep the same ranges, under the same names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from rewriting import Rewrite, rewrite

from fqrewrite.proto import MetaGraphDef

DATA = sorted(Path(__file__).with_name("data").glob("*.npz"))


def range_variables(made: Rewrite) -> set[str]:
    """Names of the variables of the graph that hold ranges."""
    nodes = MetaGraphDef.FromString(made.meta).graph_def.node
    kinds = ("VariableV2", "VarHandleOp")
    return {node.name for node in nodes if node.op in kinds and node.name.endswith(("/min", "/max"))}


@pytest.mark.parametrize("path", DATA, ids=[path.stem for path in DATA])
def test_training_and_eval_have_the_same_ranges(path: Path) -> None:
    case = np.load(path)
    config: dict[str, Any] = yaml.safe_load(json.loads(case["about"].tobytes())["config"])
    before = case["before.meta"].tobytes()
    train, evaluated = (rewrite(before, mode, config) for mode in ("train", "eval"))
    variables = range_variables(train)
    assert variables == {f"{item.scope}/{end}" for item in train.plan.quantizers for end in ("min", "max")}
    assert range_variables(evaluated) == variables
