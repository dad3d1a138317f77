"""Signatures that compute the same go along with the chosen one; others, and those of other shapes, stay."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.eager.context import eager_mode

from fqrewrite import api
from fqrewrite.model.container import load
from fqrewrite.model.saved_model import output_names
from fqrewrite.source.flatten import flatten_model
from fqrewrite.source.served import kept_signatures
from fqrewrite.source.signatures import join_signatures

SPECS = [tf.TensorSpec([None, 4], name="x"), tf.TensorSpec([None, 4], name="y")]


class Net(tf.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.kernel = tf.Variable(np.eye(4, 3, dtype=np.float32))

    def _encode(self, x: Any, y: Any) -> Any:
        return {"code": tf.nn.relu(tf.matmul(x, self.kernel)), "sum": tf.reduce_sum(y, 1)}


@pytest.fixture(scope="module", autouse=True)
def _eager() -> Iterator[None]:
    with eager_mode():
        yield


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("signatures") / "net"
    net = Net()

    def other(x: Any, y: Any) -> Any:
        return {"again": tf.nn.relu(tf.matmul(x, net.kernel))}

    def swapped(x: Any, y: Any) -> Any:
        return {"code": tf.nn.relu(tf.matmul(y, net.kernel)), "sum": tf.reduce_sum(y, 1)}

    signatures = {
        "encode": tf.function(net._encode, input_signature=SPECS),
        "encode_0": tf.function(other, input_signature=SPECS),
        "swapped": tf.function(swapped, input_signature=SPECS),
        "two": tf.function(net._encode, input_signature=[tf.TensorSpec([2, 4], name=name) for name in "xy"]),
    }
    tf.saved_model.save(net, str(path), signatures=signatures)
    return path


def test_which_signatures_get_the_tensors_of_the_chosen_one(directory: Path) -> None:
    model = load(directory, signatures=("encode",))
    join_signatures(model)
    definitions = model.message.signature_def
    assert set(output_names(definitions["encode_0"])) < set(output_names(definitions["encode"]))
    assert {key: info.name for key, info in definitions["encode_0"].inputs.items()} == {
        key: info.name for key, info in definitions["encode"].inputs.items()
    }
    for key in ("swapped", "two"):
        assert set(output_names(definitions[key])).isdisjoint(output_names(definitions["encode"]))
    note = kept_signatures(model)
    assert note is not None and note.text.startswith("'swapped', 'two': not chosen")


def test_nothing_changes_the_second_time(directory: Path) -> None:
    model = load(directory, signatures=("encode",))
    flatten_model(model, output_names(model.message.signature_def["encode"]))
    before = model.message.SerializeToString(deterministic=True)
    join_signatures(model)
    assert model.message.SerializeToString(deterministic=True) == before


def test_trained_signatures_with_similar_keys(directory: Path, tmp_path: Path) -> None:
    """`encode` and `encode_0` are told apart by what the functions say, not by their names."""
    keys = ["encode", "encode_0"]
    api.save(api.train(api.load(directory, signatures=keys)), tmp_path / "train")
    x, y = (tf.constant(np.random.RandomState(seed).normal(size=(2, 4)), tf.float32) for seed in range(2))
    model = tf.saved_model.load(str(tmp_path / "train"))
    for _ in range(2):
        wanted = {key: {name: value.numpy() for name, value in model.signatures[key](x=x, y=y).items()} for key in keys}
    tf.saved_model.save(model, str(tmp_path / "trained"), signatures=dict(model.signatures))
    api.save(api.evaluate(api.load(tmp_path / "trained", signatures=keys)), tmp_path / "eval")
    served = tf.saved_model.load(str(tmp_path / "eval"))
    for key in keys:
        found = served.signatures[key](x=x, y=y)
        assert sorted(found) == sorted(wanted[key])
        for name, value in wanted[key].items():
            np.testing.assert_allclose(found[name], value, atol=0.05)
