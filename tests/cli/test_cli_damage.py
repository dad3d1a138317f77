"""Damaged models and plans: bytes flipped, cut and moved, nodes changed. Always a clean error, or success."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import click
import pytest
from command_line import EXAMPLES

from fqrewrite.cli import cli
from fqrewrite.errors import FqrewriteError
from fqrewrite.proto import MetaGraphDef

RUNS = 300
OUTPUTS = ("o.meta", "o.pb", "o.pbtxt", "o.meta.pbtxt")


def code_of(*args: str) -> str:
    """Runs the command line in this process: the code of its error, or "done". Other exceptions are bugs."""
    try:
        cli(list(args), prog_name="fqrewrite", standalone_mode=False)
    except FqrewriteError as error:
        return error.code
    except click.ClickException as error:
        raise AssertionError(error.format_message()) from error
    return "done"


def damaged(data: bytes, random: random.Random) -> bytes:
    """The data with one kind of damage."""
    kind, size = random.random(), len(data)
    changed = bytearray(data)
    start = random.randrange(size)
    if kind < 0.5:
        for _ in range(random.choice([1, 1, 2, 5, 20])):
            changed[random.randrange(size)] ^= 1 << random.randrange(8)
    elif kind < 0.65:
        del changed[start:]
    elif kind < 0.8:
        del changed[start : start + random.randrange(1, 60)]
    elif kind < 0.9:
        changed[start:start] = random.randbytes(random.randrange(1, 20))
    else:
        source = random.randrange(size)
        changed[start : start + 100] = data[source : source + 100]
    return bytes(changed)


def test_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    chance = random.Random(20)
    data = (EXAMPLES / "model.meta").read_bytes()
    seen = set()
    for _ in range(RUNS):
        Path("in.meta").write_bytes(damaged(data, chance))
        code = code_of("train", "in.meta", "-o", chance.choice(OUTPUTS), "-q")
        assert code not in ("broken-invariant", "internal-error")
        seen.add(code)
    assert seen >= {"done", "file-foreign", "file-truncated", "dangling-input"}


def _change(graph: Any, chance: random.Random) -> None:
    """Changes one node, mostly one that rules look at."""
    looked_at = {"Conv2D", "DepthwiseConv2dNative", "MatMul", "FusedBatchNormV3", "Relu6", "ReadVariableOp"}
    looked_at |= {"VarHandleOp", "AddV2", "BiasAdd", "AssignSubVariableOp", "Mul", "Sub", "Mean"}
    nodes = [node for node in graph.node if node.op in looked_at] if chance.random() < 0.7 else list(graph.node)
    node, other = chance.choice(nodes), chance.choice(graph.node)
    slot = chance.randrange(len(node.input)) if node.input else None
    kind = chance.randrange(8)
    if kind == 0 and slot is not None:
        del node.input[slot]
    elif kind == 1 and slot is not None:
        node.input[slot] = chance.choice([other.name, f"^{other.name}", f"{other.name}:6", node.name, "", "a:b", ":0"])
    elif kind == 2:
        node.input.append(other.name)
    elif kind == 3:
        node.op = other.op
    elif kind == 4 and node.attr:
        node.attr[chance.choice(sorted(node.attr))].CopyFrom(chance.choice(_ATTRIBUTES))
    elif kind == 5 and node.attr:
        del node.attr[chance.choice(sorted(node.attr))]
    elif kind == 6:
        node.name = chance.choice(["", " ", "a:0", "^x", "/", "a//b", "x\n", f"{node.name}/weights_quant", other.name])
    else:
        graph.node.remove(node)


def _attributes() -> list[Any]:
    from fqrewrite.proto import GraphDef

    node = GraphDef().node.add()
    node.attr["i"].i = -1
    node.attr["s"].s = b"\xff\xfe"
    node.attr["type"].type = 120
    node.attr["list"].list.i.extend([1, -1])
    node.attr["shape"].shape.dim.add(size=-5)
    node.attr["f"].f = float("nan")
    tensor = node.attr["tensor"].tensor
    tensor.dtype, tensor.tensor_content = 1, b"abc"
    tensor.tensor_shape.dim.add(size=2**40)
    return list(node.attr.values())


_ATTRIBUTES = _attributes()


@pytest.mark.parametrize(("name", "mode"), [("model.meta", "train"), ("model_eval.meta", "eval")])
def test_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, mode: str) -> None:
    monkeypatch.chdir(tmp_path)
    chance = random.Random(7)
    whole = MetaGraphDef.FromString((EXAMPLES / name).read_bytes())
    seen = set()
    for _ in range(RUNS // 2):
        message = MetaGraphDef()
        message.CopyFrom(whole)
        for _ in range(chance.choice([1, 1, 2])):
            _change(message.graph_def, chance)
        kind, inner = chance.choice([("in.meta", message), ("in.pb", message.graph_def)])
        Path(kind).write_bytes(inner.SerializeToString())
        extra = ("--outputs", "loss" if mode == "train" else "logits/BiasAdd")
        code = code_of(mode, kind, "-o", chance.choice(OUTPUTS), "-q", *extra)
        assert code not in ("broken-invariant", "internal-error")
        seen.add(code)
    assert seen >= {"done", "wrong-number-of-inputs", "dangling-input"}


def test_a_training_graph_for_eval(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its plan is in it, so that nothing is recognised anew."""
    monkeypatch.chdir(tmp_path)
    chance = random.Random(11)
    assert code_of("train", str(EXAMPLES / "model.meta"), "-o", "train.meta", "-q") == "done"
    data = Path("train.meta").read_bytes()
    whole = MetaGraphDef.FromString(data)
    seen = set()
    for run in range(RUNS // 3):
        message = MetaGraphDef()
        message.CopyFrom(whole)
        _change(message.graph_def, chance)
        Path("in.meta").write_bytes(message.SerializeToString() if run % 3 else damaged(data, chance))
        code = code_of("eval", "in.meta", "-o", chance.choice(OUTPUTS), "-q")
        assert code not in ("broken-invariant", "internal-error")
        seen.add(code)
    assert seen >= {"done", "wrong-number-of-inputs", "dangling-input", "file-foreign"}


def test_plans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    chance = random.Random(3)
    model = str(EXAMPLES / "model_eval.meta")
    assert code_of("plan", model, "--json", "-o", "plan.json") == "done"
    data = Path("plan.json").read_bytes()
    seen = set()
    for _ in range(RUNS // 3):
        Path("bad.json").write_bytes(damaged(data, chance))
        seen.add(code_of("eval", model, "-o", "o.pb", "-q", "--plan", "bad.json"))
    # "done" when only white space was damaged.
    assert "plan-unreadable" in seen and seen <= {"plan-unreadable", "plan-mismatch", "done"}
