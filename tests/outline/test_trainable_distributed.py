"""A trainable SavedModel under MirroredStrategy, with two logical CPU devices in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from outlining import make_trainable

_SCRIPT = Path(__file__).with_name("distributed_training.py")


@pytest.mark.heavy
@pytest.mark.usefixtures("tensorflow_2")
def test_each_replica_learns_its_ranges_and_readers_get_the_mean(tmp_path: Path) -> None:
    module = tf.Module()
    module.w = tf.Variable(tf.random.stateless_normal([3, 3, 1, 4], [1, 2]) * 0.5, name="w")
    module.d = tf.Variable(tf.random.stateless_normal([4, 3], [1, 2]), name="d")

    def call(image: Any) -> Any:
        hidden = tf.nn.relu6(tf.nn.conv2d(image, module.w, 1, "SAME"))
        return {"logits": tf.matmul(tf.reduce_mean(hidden, [1, 2]), module.d)}

    module.__call__ = tf.function(call, input_signature=[tf.TensorSpec([None, 8, 8, 1], name="image")])
    tf.saved_model.save(module, str(tmp_path / "float"), signatures=module.__call__)
    make_trainable(tmp_path / "float", tmp_path / "trainable")
    done = subprocess.run(
        [sys.executable, str(_SCRIPT), str(tmp_path / "trainable")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["maximum_of_each"] == pytest.approx(found["expected_of_each"], rel=1e-3)
    assert found["maximum"] == pytest.approx(sum(found["expected_of_each"]) / 2, rel=1e-3)
    assert (found["steps_of_each"], found["steps"]) == ([1.0, 1.0], 1.0)
    assert found["losses"][1] < 0.8 * found["losses"][0]
    assert found["saved"]
    assert found["steps_at_the_end"] == 50
