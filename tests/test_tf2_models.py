"""Models of TensorFlow 2 from plan to eval graph: functions that call functions, ranges, training, checkpoints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from outlining import fit, make_trainable

from fqrewrite import api
from fqrewrite.cli import cli
from fqrewrite.config.resolve import resolve
from fqrewrite.errors import ConfigError, Refusal
from fqrewrite.model.container import load
from fqrewrite.source.open import Choice as _Choice
from fqrewrite.source.open import open_source
from fqrewrite.source.provenance import find_provenance
from fqrewrite.verbs.calibrate import Choice, calibrate

pytestmark = pytest.mark.usefixtures("tensorflow_2")
INT8 = {"preset": "tflite-int8"}
LABELS = np.arange(8) % 2


X = np.random.RandomState(0).normal(0.3, 1.0, (8, 6, 6, 3)).astype(np.float32)


class Net(tf.Module):  # type: ignore[misc]
    """Two convolutions with batch norms, the second with parameters shaped as Keras 3 does it, and a dense layer."""

    def __init__(self) -> None:
        super().__init__()
        random = np.random.RandomState(1)

        def variable(name: str, *shape: int, low: float = -0.5, trainable: bool = True) -> Any:
            values = random.uniform(low, 0.8, shape).astype(np.float32)
            return tf.Variable(values, name=name, trainable=trainable)

        self.kernels = [variable("kernel", 3, 3, 3, 4), variable("kernel", 1, 1, 4, 5)]
        self.bias = variable("bias", 5)
        self.norms = [
            [
                variable("gamma", size, low=0.2),
                variable("beta", size),
                variable("mean", size, trainable=False),
                variable("variance", size, low=0.3, trainable=False),
            ]
            for size in (4, 5)
        ]
        self.dense = variable("kernel", 5, 2)

    @tf.function  # type: ignore[untyped-decorator]
    def first(self, x: Any) -> Any:
        gamma, beta, mean, variance = self.norms[0]
        y = tf.nn.conv2d(x, self.kernels[0], 1, "SAME")
        return tf.nn.relu(tf.nn.batch_normalization(y, mean, variance, beta, gamma, 1e-3))

    @tf.function  # type: ignore[untyped-decorator]
    def second(self, x: Any) -> Any:
        gamma, beta, mean, variance = (tf.reshape(value, [1, 1, 1, 5]) for value in self.norms[1])
        y = tf.nn.conv2d(x, self.kernels[1], 1, "SAME") + tf.reshape(self.bias, [1, 1, 1, 5])
        return tf.nn.silu(tf.nn.batch_normalization(y, mean, variance, beta, gamma, 1e-3))

    @tf.function(input_signature=[tf.TensorSpec([None, 6, 6, 3], name="image")])  # type: ignore[untyped-decorator]
    def __call__(self, image: Any) -> Any:
        with tf.name_scope("net"):
            y = tf.reduce_mean(self.second(self.first(image)), [1, 2])
            return {"logits": tf.matmul(y, self.dense)}

    @tf.function(input_signature=[tf.TensorSpec([None, 6, 6, 3])])  # type: ignore[untyped-decorator]
    def features(self, x: Any) -> Any:
        return {"features": self.first(x)}


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("net") / "net"
    model = Net()
    tf.saved_model.save(model, str(path), signatures={"serving_default": model.__call__, "features": model.features})
    return path


def _ranges(model: Path, folder: Path, *signatures: str) -> Path:
    """Calibrates on `X`; returns the file."""
    data, file = folder / "data.npy", folder / "ranges.json"
    np.save(data, X)
    source = open_source(model, choice=_Choice(None, signatures))
    config = resolve(None, preset="tflite-int8")
    found = calibrate(source, config, str(data), Choice(), batch_size=8, progress=lambda done, count: None)
    file.write_text(json.dumps({"version": 1, "ranges": found.ranges}), encoding="utf-8")
    return file


def _serve(directory: Path, key: str = "serving_default") -> dict[str, Any]:
    signature = tf.saved_model.load(str(directory)).signatures[key]
    (name,) = signature.structured_input_signature[1]
    return {name: None} | {key: value.numpy() for key, value in signature(**{name: tf.constant(X)}).items()}


def test_the_plan_names_every_layer_and_its_function(net: Path) -> None:
    plan = api.plan(api.load(net), INT8).plan
    weights = {item.layer: item.function for item in plan.quantizers if item.role == "weights"}
    # TensorFlow calls them __inference_NAME_NUMBER.
    names = {layer: function.removeprefix("__inference_").rpartition("_")[0] for layer, function in weights.items()}
    second = "net/StatefulPartitionedCall_1/Conv2D"  # the first took the name
    assert names == {"net/Conv2D": "first", second: "second", "net/MatMul": "__call__"}
    assert plan.layers == len(weights) == 3
    assert {(item.layer in weights, item.form) for item in plan.folds} == {(True, "unfused")}
    assert (len(plan.folds), len([item for item in plan.folds if item.bias])) == (2, 1)
    assert plan.left_out == ()


def test_ranges_and_eval(net: Path, tmp_path: Path) -> None:
    """Folded, quantized, frozen, under the same signature; and still the same function."""
    result = api.evaluate(api.load(net), INT8, ranges=_ranges(net, tmp_path))
    api.save(result, tmp_path / "eval")
    assert result.report.changes is not None
    assert (result.report.changes.inlined, result.report.summary.folds) == (5 + 2, 2)  # the other signature's, too
    served, float_ = _serve(tmp_path / "eval"), _serve(net)
    assert list(served) == list(float_) == ["image", "logits"]
    spread = float_["logits"].max() - float_["logits"].min()
    assert 0 < np.abs(served["logits"] - float_["logits"]).max() < 0.05 * spread
    graph = load(tmp_path / "eval").graph_def
    assert not [node.name for node in graph.node if node.op in ("VarHandleOp", "ReadVariableOp")]


def test_another_signature(net: Path, tmp_path: Path) -> None:
    source = api.load(net, signatures=["features"])
    result = api.evaluate(source, INT8, ranges=_ranges(net, tmp_path, "features"))
    api.save(result, tmp_path / "eval")
    assert result.plan.layers == 1
    served, float_ = _serve(tmp_path / "eval", "features"), _serve(net, "features")
    assert list(served) == list(float_)
    np.testing.assert_allclose(served["features"], float_["features"], atol=0.05 * float_["features"].max())


class Wrapper(tf.Module):  # type: ignore[misc]
    """A trained model under another attribute, behind a function of its own."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.kernel = tf.Variable(np.zeros((2, 2), np.float32), name="kernel")
        self.inner = inner

    @tf.function(input_signature=[tf.TensorSpec([None, 6, 6, 3], name="kernel")])  # type: ignore[untyped-decorator]
    def serve(self, kernel: Any) -> Any:
        return {"scores": self.inner.signatures["serving_default"](image=kernel)["logits"]}


@pytest.fixture(scope="module")
def trained(net: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the training SavedModel of `net` and what became of it in training, as TensorFlow writes it."""
    folder: Path = tmp_path_factory.mktemp("trained")
    make_trainable(net, folder / "train", config=INT8)
    model = tf.saved_model.load(str(folder / "train"))
    losses = fit(_callable(model), X, LABELS, steps=20)
    assert losses[-1] < losses[0]
    np.save(folder / "logits.npy", model.signatures["serving_default"](image=tf.constant(X))["logits"].numpy())
    tf.train.Checkpoint(step=tf.Variable(20), model=model).write(str(folder / "ckpt"))
    tf.saved_model.save(model, str(folder / "again"), signatures=dict(model.signatures))
    wrapper = Wrapper(model)
    tf.saved_model.save(wrapper, str(folder / "wrapped"), signatures={"main": wrapper.serve})
    return folder


def _callable(model: Any) -> Any:
    """The signature with what `fit` asks of a model."""
    signature = model.signatures["serving_default"]

    class Trained:
        trainable_variables = model.trainable_variables

        def __call__(self, images: Any) -> Any:
            return signature(image=images)

    return Trained()


@pytest.mark.parametrize(
    ("model", "graph", "key", "names"),
    [
        ("again", None, "serving_default", ["image", "logits"]),
        ("ckpt", "train", "serving_default", ["image", "logits"]),
        ("wrapped", None, "main", ["kernel", "scores"]),
    ],
)
def test_the_eval_graph_of_what_was_trained(
    trained: Path, tmp_path: Path, model: str, graph: str | None, key: str, names: list[str]
) -> None:
    source = api.load(trained / model, graph=trained / graph if graph else None)
    result = api.evaluate(source)
    api.save(result, tmp_path / "eval")
    served = _serve(tmp_path / "eval", key)
    assert list(served) == names
    # In training, the ranges moved a little more while this was computed.
    np.testing.assert_allclose(served[names[1]], np.load(trained / "logits.npy"), atol=0.02)
    origins = {item.range.origin for item in result.report.inserted}
    assert origins == {"checkpoint", "kernel"}


def test_all_ways_give_the_same_numbers(trained: Path) -> None:
    made = [api.evaluate(api.load(trained / name, graph=graph)) for name, graph in _ways(trained)]
    ranges = [{item.node: item.range for item in result.report.inserted} for result in made]
    assert ranges[0] == ranges[1] == ranges[2]


def _ways(trained: Path) -> list[tuple[str, Path | None]]:
    return [("again", None), ("ckpt", trained / "train"), ("wrapped", None)]


@pytest.mark.parametrize("name", ["train", "again", "wrapped"])
def test_provenance_is_found_in_functions(trained: Path, name: str) -> None:
    found = find_provenance(load(trained / name).graph_def, name)
    assert found is not None
    provenance, scope = found
    assert (provenance.mode, scope, list(provenance.calls)) == ("train", "", ["serving_default"])


def test_a_rewritten_model_is_not_rewritten_again(trained: Path) -> None:
    with pytest.raises(Refusal) as caught:
        api.plan(api.load(trained / "wrapped"), INT8)
    assert caught.value.code == "already-rewritten"


def test_what_was_trained_is_opened_by_the_signatures_it_was_trained_for(tmp_path: Path) -> None:
    model = Net()
    signatures = {"logits": model.__call__, "features": model.features}
    tf.saved_model.save(model, str(tmp_path / "float"), signatures=signatures)
    with pytest.raises(ConfigError) as caught:
        api.load(tmp_path / "float")
    assert caught.value.code == "signature-ambiguous"
    api.save(api.train(api.load(tmp_path / "float", signatures="features"), INT8), tmp_path / "train")
    opened = api.load(tmp_path / "train").model.saved_model
    assert opened is not None and opened.signatures == ("features",)


def test_a_warm_start_is_not_needed(net: Path, trained: Path, tmp_path: Path) -> None:
    with pytest.raises(Refusal) as caught:
        cli(["warm-start", str(net), str(trained / "train"), "-o", str(tmp_path / "warm")], standalone_mode=False)
    assert caught.value.code == "warm-start-not-needed"
    assert not list(tmp_path.iterdir())
