"""The table of output arguments, and the ports that it gives."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fqrewrite.errors import GraphError
from fqrewrite.proto import NodeDef
from fqrewrite.proto.attrs import int_attr, types_attr
from fqrewrite.proto.output_args import flat_port, output_arguments

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "build_output_args.py"


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def _node(op: str, **attributes: object) -> object:
    node = NodeDef(name="n", op=op)
    for key, value in attributes.items():
        node.attr[key].CopyFrom(value)
    return node


def test_table_is_what_the_installed_tensorflow_gives_and_a_difference_is_found(tmp_path: Path) -> None:
    assert _run(str(SCRIPT), "--check").returncode == 0

    altered = tmp_path / "output_args.json"
    table = json.loads((ROOT / "fqrewrite/proto/output_args.json").read_text(encoding="utf-8"))
    altered.write_text(json.dumps(table | {"TopKV2": "indices values"}), encoding="utf-8")
    found = _run(str(SCRIPT), "--check", "--file", str(altered))
    assert (found.returncode, found.stderr.count("differs")) == (1, 1)
    assert "TopKV2 differs" in found.stderr
    assert _run(str(SCRIPT), "--check", "--file", str(tmp_path / "missing")).returncode == 1


@pytest.mark.parametrize(
    ("node", "argument", "index", "port"),
    [
        (_node("Relu"), "activations", 0, 0),
        (_node("FusedBatchNormV3"), "y", 0, 0),
        (_node("FusedBatchNormV3"), "batch_variance", 0, 2),
        (_node("Split", num_split=int_attr(3)), "output", 2, 2),
        (_node("PartitionedCall", Tout=types_attr([1, 3])), "output", 1, 1),
        (_node("SparseSplit", num_split=int_attr(2)), "output_values", 1, 3),  # a list behind a list
        (_node("RaggedGather", OUTPUT_RAGGED_RANK=int_attr(2)), "output_dense_values", 0, 2),  # one behind a list
        (_node("ParseExampleV2", num_sparse=int_attr(1), Tdense=types_attr([1])), "dense_values", 0, 2),
    ],
)
def test_ports(node: object, argument: str, index: int, port: int) -> None:
    assert flat_port(node, argument, index) == port


def test_lengths() -> None:
    assert output_arguments(_node("TopKV2")) == [("values", None), ("indices", None)]
    node = _node("SparseSplit", num_split=int_attr(2))
    assert output_arguments(node) == [("output_indices", 2), ("output_values", 2), ("output_shape", 2)]


@pytest.mark.parametrize(
    ("node", "argument", "index", "said"),
    [
        (_node("TopKV2"), "sorted", 0, "TopKV2 has no output sorted:0"),
        (_node("TopKV2"), "values", 1, "TopKV2 has no output values:1"),
        (_node("Split", num_split=int_attr(3)), "output", 3, "Split has no output output:3"),
        (_node("NoOp"), "output", 0, "the outputs of NoOp are not known, so they cannot be told apart"),
        (_node("MyOwn"), "output", 0, "the outputs of MyOwn are not known, so they cannot be told apart"),
    ],
)
def test_unknown_outputs_are_refused(node: object, argument: str, index: int, said: str) -> None:
    with pytest.raises(GraphError) as caught:
        flat_port(node, argument, index)
    assert (caught.value.code, caught.value.where, caught.value.what) == ("unknown-output-argument", "n", said)
