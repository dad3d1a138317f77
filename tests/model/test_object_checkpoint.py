"""Keys of variables in checkpoints of TensorFlow 2, as TensorFlow writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from fqrewrite.errors import InputError
from fqrewrite.ir.graph import Graph
from fqrewrite.model.container import load
from fqrewrite.model.object_checkpoint import object_keys, variable_objects
from fqrewrite.model.saver_keys import Key
from fqrewrite.proto import message_class
from fqrewrite.source.open import open_source
from fqrewrite.source.restore import Restorer, variable_keys

pytestmark = pytest.mark.usefixtures("tensorflow_2")
_VALUE = ".ATTRIBUTES/VARIABLE_VALUE"


class Part(tf.Module):  # type: ignore[misc]
    """Variables below an attribute, in a list, and under a name that has to be escaped."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = tf.Variable(np.full((2, 2), 1.0, np.float32), name="any")
        self.rest = [tf.Variable(np.full((2,), 2.0, np.float32), name="any")]
        self.named = {"a/b.c": tf.Variable(np.full((2,), 3.0, np.float32), name="any")}


class Net(tf.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.part = Part()
        self.again = self.part.kernel

    @tf.function(input_signature=[tf.TensorSpec([None, 2])])  # type: ignore[untyped-decorator]
    def __call__(self, x: Any) -> Any:
        return tf.matmul(x, self.part.kernel) + self.part.rest[0] + self.part.named["a/b.c"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("saved") / "model"
    tf.saved_model.save(Net(), str(path))
    return path


def _values(prefix: Path, model: Path) -> dict[str, float]:
    """The first element of each variable's value, by the variable op's name."""
    source = open_source(prefix, model if prefix != model else None)
    assert source.checkpoint is not None
    keys = variable_keys(source.model)
    restorer = Restorer(source.checkpoint, keys, "")
    variables = [name for name in keys.variables if name.startswith("any")]
    assert len(variables) == 3
    return {name: float(value.flat[0]) for name, value in restorer.read_some(variables).items()}


def test_the_own_checkpoint(saved: Path) -> None:
    assert sorted(_values(saved, saved).values()) == [1.0, 2.0, 3.0]
    keys = {key for keys in variable_keys(load(saved)).saved.values() for key in keys}
    assert {key.name.removesuffix(f"/{_VALUE}") for key in keys} == {"again", "part/rest/0", "part/named/a.Sb..c"}


@pytest.mark.parametrize("attribute", ["model", "variables"])
@pytest.mark.parametrize("method", ["write", "save"])
def test_a_checkpoint_of_the_loaded_object(saved: Path, tmp_path: Path, attribute: str, method: str) -> None:
    loaded = tf.saved_model.load(str(saved))
    for variable in (loaded.part.kernel, loaded.part.rest[0], loaded.part.named["a/b.c"]):
        variable.assign_add(tf.fill(variable.shape, 10.0))
    step, other = tf.Variable(7), tf.saved_model.load(str(saved))
    # Another object of the same form does not come before it: that has more of the variables.
    tracked = {"aside": other.part, attribute: loaded, "step": step}
    prefix = getattr(tf.train.Checkpoint(**tracked), method)(str(tmp_path / "ckpt"))
    found = _values(Path(prefix), saved)
    assert sorted(found.values()) == [11.0, 12.0, 13.0]
    assert {name: value - 10.0 for name, value in found.items()} == _values(saved, saved)


def test_a_checkpoint_whose_root_is_the_model(saved: Path, tmp_path: Path) -> None:
    loaded = tf.saved_model.load(str(saved))
    loaded.part.rest[0].assign([20.0, 20.0])
    prefix = tf.train.Checkpoint(loaded).write(str(tmp_path / "ckpt"))
    assert sorted(_values(Path(prefix), saved).values()) == [1.0, 3.0, 20.0]


def test_a_checkpoint_of_other_objects(saved: Path, tmp_path: Path) -> None:
    prefix = tf.train.Checkpoint(weights=[tf.Variable([1.0])], step=tf.Variable(3)).write(str(tmp_path / "ckpt"))
    source = open_source(Path(prefix), saved)
    assert source.checkpoint is not None
    keys = variable_keys(source.model)
    restorer = Restorer(source.checkpoint, keys, "")
    nodes = [node for node in _nodes(source.model) if node.name in keys.variables]
    with pytest.raises(InputError) as caught:
        restorer.read_all(nodes)
    assert caught.value.code == "checkpoint-variables-missing"
    assert "none of its objects is like the SavedModel's" in str(caught.value)
    assert "tf.train.Checkpoint(model=loaded)" in str(caught.value)


def _nodes(model: Any) -> list[Any]:
    return Graph(model.graph_def).by_op("VarHandleOp")


def test_objects_that_a_function_is_bound_to_come_before_keys() -> None:
    """Keras 3 restores one object of a variable, and its functions read another."""
    meta_graph = message_class("tensorflow.MetaGraphDef")()
    meta_graph.graph_def.node.add(name="w", op="VarHandleOp")
    meta_graph.graph_def.node.add(name="call", op="StatefulPartitionedCall", input=["x", "w", "^y"])
    meta_graph.graph_def.node[1].attr["f"].func.name = "f"
    objects = meta_graph.object_graph_def
    for children in ({"copy": 1, "own": 2}, {}, {}):
        node = objects.nodes.add()
        for name, index in children.items():
            node.children.add(local_name=name, node_id=index)
    objects.concrete_functions["f"].bound_inputs.append(2)
    assert variable_objects(meta_graph, {"w": [Key(f"copy/{_VALUE}")]}) == {"w": 2}
    del meta_graph.graph_def.node[1]
    assert variable_objects(meta_graph, {"w": [Key(f"copy/{_VALUE}")]}) == {"w": 1}


def test_damaged_graphs_of_objects_find_nothing() -> None:
    objects = message_class("tensorflow.SavedObjectGraph")()
    checkpoint = message_class("tensorflow.TrackableObjectGraph")()
    assert object_keys({"w": 1}, objects, checkpoint) == {}
    objects.nodes.add().children.add(local_name="w", node_id=9)
    checkpoint.nodes.add().children.add(local_name="w", node_id=0)
    assert object_keys({"w": 9}, objects, checkpoint) == {}
