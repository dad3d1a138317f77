"""`fqrewrite check` on SavedModels of TensorFlow 2: functions are looked into, variables are what they hold."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.eager.context import eager_mode

from fqrewrite import api
from fqrewrite.check.fused import fused_operation
from fqrewrite.check.records import CheckReport
from fqrewrite.check.targets import TARGETS
from fqrewrite.ir.functions import functions_of
from fqrewrite.ir.graph import Graph
from fqrewrite.ir.text import parse
from fqrewrite.proto.attrs import bytes_attr
from fqrewrite.verbs.check import Conditions, check_model, open_checked

INT8 = {"preset": "tflite-int8"}


@pytest.fixture(scope="module", autouse=True)
def _eager() -> Iterator[None]:
    with eager_mode():
        yield


class Net(tf.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.kernel = tf.Variable(np.linspace(-1, 1, 3 * 3 * 3 * 4, dtype=np.float32).reshape(3, 3, 3, 4))

    @tf.function(input_signature=[tf.TensorSpec([None, 6, 6, 3], name="image")])  # type: ignore[untyped-decorator]
    def __call__(self, image: Any) -> Any:
        return {"y": tf.nn.relu(tf.nn.conv2d(image, self.kernel, 1, "SAME"))}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A float SavedModel, what `train` made of it, and `eval` of that after two steps."""
    found: Path = tmp_path_factory.mktemp("check")
    net = Net()
    tf.saved_model.save(net, str(found / "float"), signatures={"serving_default": net.__call__})
    api.save(api.train(api.load(found / "float"), INT8), found / "train")
    model = tf.saved_model.load(str(found / "train"))
    for _ in range(2):
        model(tf.constant(np.random.RandomState(0).normal(size=(2, 6, 6, 3)), tf.float32))
    tf.saved_model.save(model, str(found / "trained"), signatures=dict(model.signatures))
    api.save(api.evaluate(api.load(found / "trained")), found / "eval")
    return found


def _check(directory: Path, conditions: Conditions | None = None) -> CheckReport:
    return check_model(open_checked(directory), TARGETS["tflite-int8"], directory, conditions)[0]


def test_a_float_model_has_no_quantizers(folder: Path) -> None:
    report = _check(folder / "float")
    assert [finding.code for finding in report.findings] == ["quantizers-missing"]
    assert [operation.op for operation in report.static.float_operations] == ["Conv2D"]
    assert (report.static.prediction, report.passed) == ("float", False)


@pytest.mark.parametrize("name", ["train", "trained"])
def test_a_training_graph_is_not_to_be_converted(folder: Path, name: str) -> None:
    report = _check(folder / name, Conditions())
    assert [finding.code for finding in report.findings] == ["training-graph"]
    assert "fqrewrite eval" in report.findings[0].remedy
    assert (report.static.prediction, report.conversion) == ("fails", None)


def test_an_eval_graph_passes(folder: Path) -> None:
    report = _check(folder / "eval")
    assert (report.findings, report.static.prediction, report.static.quantizers) == ((), "integer", 3)


@pytest.mark.parametrize(
    ("function", "attribute", "expected"),
    [
        ("lstm_1", b"lstm_f00d", "tfl.unidirectional_sequence_lstm"),
        ("gru_1", b"gru_f00d", None),
        ("unknown", b"lstm_f00d", None),
    ],
)
def test_an_lstm_of_keras_2_becomes_one_operation(function: str, attribute: bytes, expected: str | None) -> None:
    graph_def = parse("x = Placeholder {shape: [1, 4]}\ncall = PartitionedCall(x)")
    graph_def.node[1].attr["f"].func.name = function
    made = graph_def.library.function.add()
    made.signature.name = function.replace("unknown", "another")
    made.attr["api_implements"].CopyFrom(bytes_attr(attribute))
    assert fused_operation(Graph(graph_def).node("call"), functions_of(graph_def)) == expected
