"""SavedModels through `train` and `eval` with a plan that quantizes nothing: what comes out is what went in."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import run_in
from saved_models import PICTURES, classifier, contents

pytestmark = pytest.mark.heavy

NOTHING = {
    "version": 1,
    "preset": "contrib",
    "rules": [{"match": "regex:.*", "quantize": False, "because": "a round trip"}],
}

# A process of its own: other tests switch TensorFlow to graphs. Keras 3 is `tensorflow.keras`.
MAKE = """
import sys
import tensorflow as tf

kind, path = sys.argv[1:]

class Affine(tf.Module):
    def __init__(self):
        super().__init__()
        self.kernel = tf.Variable(tf.random.stateless_normal((3, 3, 3, 4), [1, 2]))

    @tf.function(input_signature=[tf.TensorSpec([None, 8, 8, 3], name="image")])
    def __call__(self, image):
        return {"mean": tf.reduce_mean(tf.nn.relu(tf.nn.conv2d(image, self.kernel, 1, "SAME")), [1, 2])}

    @tf.function(input_signature=[tf.TensorSpec([None, 8, 8, 3], name="image")])
    def brightness(self, image):
        return {"brightness": tf.reduce_mean(image, [1, 2, 3])}

if kind == "module":
    module = Affine()
    signatures = {"serving_default": module.__call__, "brightness": module.brightness}
    tf.saved_model.save(module, path, signatures=signatures)
else:
    import importlib
    keras = importlib.import_module(kind)
    layers = keras.layers
    image = keras.Input((8, 8, 3), name="image")
    x = layers.BatchNormalization()(layers.Conv2D(4, 3)(image))
    x = layers.GlobalAveragePooling2D()(layers.DepthwiseConv2D(3)(layers.ReLU(6.0)(x)))
    model = keras.Model(image, layers.Dense(2)(x))
    model.compile("adam", "mse")
    model.fit(tf.ones((2, 8, 8, 3)), tf.ones((2, 2)), verbose=0)
    if kind == "keras":
        model.export(path, verbose=False)
    else:
        model.save(path)
"""

DESCRIBE = """
import json, sys
import numpy as np
import tensorflow as tf

pictures = tf.constant(np.load(sys.argv[1]))
model = tf.saved_model.load(sys.argv[2], tags=["serve"])
found = {"specs": {}, "results": {}}
for key, function in sorted(model.signatures.items()):
    inputs = function.structured_input_signature[1]
    found["specs"][key] = [sorted(map(str, inputs.values())), sorted(function.structured_outputs)]
    results = function(**{name: pictures for name in inputs})
    numbers = {name: value.numpy() for name, value in results.items()}
    found["results"][key] = {
        name: value.astype(str).tolist() if value.dtype == object else value.astype(float).tolist()
        for name, value in numbers.items()
    }
print(json.dumps(found))
"""


def _make(kind: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        _python(MAKE, kind, path)

    return make


def _of_version_1(path: Path) -> None:
    classifier(path, resource=True)


MODELS = {
    "TensorFlow 1": _of_version_1,
    "tf_keras": _make("tf_keras"),
    "Keras 3": _make("keras"),
    "tf.Module": _make("module"),
}


def _python(program: str, *args: object) -> str:
    command = [sys.executable, "-c", program, *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def _describe(folder: Path, directory: Path) -> Any:
    np.save(folder / "pictures.npy", PICTURES)
    return json.loads(_python(DESCRIBE, folder / "pictures.npy", directory).splitlines()[-1])


@pytest.mark.parametrize("name", MODELS)
def test_an_empty_plan_changes_nothing(name: str, tmp_path: Path) -> None:
    MODELS[name](tmp_path / "model")
    (tmp_path / "nothing.json").write_text(json.dumps(NOTHING), encoding="utf-8")
    options = ("--tag-set", "serve", "-c", "nothing.json", "--allow-empty", "-q")
    for verb in ("train", "eval"):
        done = run_in(tmp_path, verb, "model", *options, "-o", verb)
        assert done.status == 0, done.err
    assert contents(tmp_path / "train") == contents(tmp_path / "model")
    before, after = _describe(tmp_path, tmp_path / "model"), _describe(tmp_path, tmp_path / "eval")
    assert before["specs"] == after["specs"]
    for key, results in before["results"].items():
        for output, value in results.items():
            found = after["results"][key][output]
            if isinstance(value[0], str):
                assert found == value
            else:
                np.testing.assert_allclose(found, value, rtol=1e-5, atol=1e-6)
