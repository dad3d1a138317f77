"""The descriptor file, and message classes that live beside TensorFlow's own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "build_descriptors.py"


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def test_file_is_what_the_installed_tensorflow_gives_and_a_difference_is_found(tmp_path: Path) -> None:
    assert _run(str(SCRIPT), "--check").returncode == 0

    altered = tmp_path / "descriptors.binpb"
    altered.write_bytes((ROOT / "fqrewrite/proto/descriptors.binpb").read_bytes().replace(b"NodeDef", b"NodeDeg"))
    found = _run(str(SCRIPT), "--check", "--file", str(altered))
    assert found.returncode == 1
    assert "node_def.proto differs" in found.stderr
    assert _run(str(SCRIPT), "--check", "--file", str(tmp_path / "missing")).returncode == 1


def test_classes_coexist_with_tensorflow_imported_later() -> None:
    code = """
import sys
from fqrewrite.proto import GraphDef, tensors, dtypes, attrs
assert "tensorflow" not in sys.modules and "numpy" not in sys.modules
graph = GraphDef()
node = graph.node.add(name="c", op="Const")
node.attr["dtype"].CopyFrom(attrs.type_attr(dtypes.DT_FLOAT))
node.attr["value"].CopyFrom(attrs.tensor_attr(tensors.scalar_tensor(1.5, dtypes.DT_FLOAT)))
import tensorflow as tf
theirs = tf.compat.v1.GraphDef.FromString(graph.SerializeToString())
with tf.Graph().as_default() as built:
    tf.import_graph_def(theirs, name="")
    with tf.compat.v1.Session() as session:
        assert session.run("c:0") == 1.5
assert GraphDef.FromString(built.as_graph_def().SerializeToString()).node[0].name == "c"
print("fine")
"""
    result = _run("-c", code)
    assert result.stdout.strip() == "fine", result.stderr
