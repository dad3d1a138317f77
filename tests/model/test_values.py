"""Checkpoints that TensorFlow's Savers wrote, read; and those that we write, restored by Savers."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numeric import tf1

from fqrewrite.errors import ConfigError, GraphError, InputError
from fqrewrite.model.atomic import write_all
from fqrewrite.model.checkpoint import find_checkpoint
from fqrewrite.model.checkpoint_write import checkpoint_files, write_checkpoint
from fqrewrite.model.saver_keys import Key
from fqrewrite.model.tensorflow_import import tensorflow
from fqrewrite.model.values import ReadVariables, Values, open_values, read_variables
from fqrewrite.proto import dtypes

Eager = Callable[[], AbstractContextManager[None]]
W = np.arange(40, dtype=np.float32).reshape(10, 4)
SAVED: dict[str, Any] = {
    "a": np.array([[1.5, -2.0]], np.float32),
    "half": np.array([0.5], np.float16),
    "bfloat": np.array([1.0, 3.0], tf.bfloat16.as_numpy_dtype),
    "step": np.array(7, np.int64),
    "flag": np.array([True, False]),
    "empty": np.zeros((0, 3), np.float64),
    "text": np.array([b"one", b"zero\0"], object),
    "word": np.array(b"zero\0", object),
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with checkpoints of TensorFlow's own: c, renamed, and old in V1 format."""
    directory = tmp_path_factory.mktemp("saved")
    with tf.Graph().as_default(), tf1.Session() as session:
        for name, value in SAVED.items():
            tf1.get_variable(name, initializer=tf.constant(value, name=f"initial/{name}"))
        with tf1.variable_scope("p", partitioner=tf1.fixed_size_partitioner(3)):
            tf1.get_variable("w", [10, 4], initializer=lambda shape, dtype, partition_info: _part(partition_info))
        session.run(tf1.global_variables_initializer())
        variables = {variable.op.name: variable for variable in tf1.global_variables()}
        tf1.train.Saver().save(session, f"{directory}/c")
        tf1.train.Saver({"renamed/a": variables["a"]}).save(session, f"{directory}/renamed")
        tf1.train.Saver({"a": variables["a"]}, write_version=1).save(session, f"{directory}/old")
    return directory


def _part(info: Any) -> Any:
    start, rows = info.var_offset[0], {0: 4, 4: 3, 7: 3}[info.var_offset[0]]
    return tf.constant(W[start : start + rows])


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    """A copy of the checkpoint c, to be damaged."""
    for path in saved.glob("c.*"):
        shutil.copy(path, tmp_path)
    return tmp_path / "c"


@pytest.fixture
def eager() -> Eager:
    """Eager execution, which the test suite switches off."""
    from tensorflow.python.eager import context

    mode: Eager = context.eager_mode
    return mode


def opened(path: Path | str) -> Values:
    checkpoint = find_checkpoint(path)
    assert checkpoint is not None
    return open_values(checkpoint)


def equal(got: Any, want: Any) -> None:
    assert got.dtype == want.dtype
    assert got.shape == want.shape
    assert got.tolist() == want.tolist()


def test_everything_that_a_saver_saves(saved: Path) -> None:
    values = opened(saved / "c")
    assert values.names() == tuple(sorted([*SAVED, "p/w"]))
    assert list(values) == list(values.names())
    assert len(values) == len(SAVED) + 1
    assert "a" in values
    assert "b" not in values
    for name, want in SAVED.items():
        assert values.shape(name) == want.shape
        equal(values.read(name), want)
    assert values.dtype("bfloat") == dtypes.DT_BFLOAT16
    assert values.dtype("text") == dtypes.DT_STRING
    with pytest.raises(KeyError):
        values.read("b")


def test_slices_of_a_partitioned_variable(saved: Path) -> None:
    values = opened(saved / "c")
    assert values.shape("p/w") == (10, 4)
    equal(values.read("p/w"), W)
    equal(values.read_slice("p/w", ""), W)
    equal(values.read_slice("p/w", "10 4 4,3:0,4"), W[4:7])
    equal(values.read_slice("p/w", "10 4 0,2:-"), W[:2])
    part = values.read_slice("a", "1 2 -:1,1")
    equal(part, SAVED["a"][:, 1:])
    part[:] = 0
    equal(values.read_slice("a", "1 2 -:1,1"), SAVED["a"][:, 1:])
    with pytest.raises(InputError) as caught:
        values.read_slice("p/w", "10 5 0,2:-")
    assert caught.value.code == "checkpoint-shape-differs"
    with pytest.raises(GraphError):
        values.read_slice("p/w", "10 4 0,20:-")


def test_other_kinds_of_checkpoints(saved: Path, tmp_path: Path) -> None:
    assert opened(saved / "renamed").names() == ("renamed/a",)
    equal(opened(saved / "old").read("a"), SAVED["a"])


@pytest.mark.parametrize("name", ["", "c[1]", "c*?", "c\\d"])
def test_odd_names(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """TensorFlow takes a prefix for a pattern."""
    folder = tmp_path / "runs [2] ö"
    folder.mkdir()
    for path in saved.glob("c.*"):
        shutil.copy(path, folder / (name + path.name.removeprefix("c")))
    monkeypatch.chdir(tmp_path)
    values = opened(folder.name)
    monkeypatch.chdir("/")
    assert values.checkpoint.prefix == f"{folder.name}/{name}"
    equal(values.read("a"), SAVED["a"])
    shutil.copy(saved / "old", folder / "old[1]")
    equal(opened(folder / "old[1]").read("a"), SAVED["a"])


def test_an_object_based_checkpoint(eager: Eager, tmp_path: Path) -> None:
    with eager():
        prefix = tf.train.Checkpoint(w=tf.Variable([1.0, 2.0])).write(f"{tmp_path}/tf2")
    values = opened(prefix)
    equal(values.read("w/.ATTRIBUTES/VARIABLE_VALUE"), np.array([1.0, 2.0], np.float32))


def test_what_no_array_can_hold(tmp_path: Path) -> None:
    with tf.Graph().as_default(), tf1.Session() as session:
        held = tf.raw_ops.EmptyTensorList(element_shape=[2], max_num_elements=3, element_dtype=tf.float32)
        save = tf.raw_ops.SaveV2(prefix=f"{tmp_path}/c", tensor_names=["v"], shape_and_slices=[""], tensors=[held])
        session.run(save)
    with pytest.raises(InputError) as caught:
        opened(tmp_path / "c").read("v")
    assert caught.value.code == "checkpoint-dtype-unreadable"
    assert "'v' is a variant" in caught.value.what


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "flipped": lambda data: data[:20] + bytes([data[20] ^ 0xFF]) + data[21:],
    "cut": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "foreign": lambda data: b"<html>" * 100,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_index(copy: Path, damage: str, capfd: pytest.CaptureFixture[str]) -> None:
    index = copy.with_name("c.index")
    index.write_bytes(DAMAGE[damage](index.read_bytes()))
    with pytest.raises(InputError) as caught:
        opened(copy)
    assert caught.value.code == "checkpoint-corrupt"
    assert caught.value.where == str(copy)
    assert "\n" not in caught.value.what
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_data(copy: Path, damage: str, capfd: pytest.CaptureFixture[str]) -> None:
    data = copy.with_name("c.data-00000-of-00001")
    data.write_bytes(DAMAGE[damage](data.read_bytes()))
    values = opened(copy)
    with pytest.raises(InputError) as caught:
        for name in values:
            values.read(name)
    assert caught.value.code == "checkpoint-corrupt"
    assert caught.value.where == str(copy)
    assert "cannot be read: " in caught.value.what
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("data", [b"", b"no table", None])
def test_a_damaged_checkpoint_of_the_first_format(saved: Path, tmp_path: Path, data: bytes | None) -> None:
    raw = (saved / "old").read_bytes()
    (tmp_path / "old").write_bytes(DAMAGE["flipped"](raw) if data is None else data)
    (tmp_path / "old.meta").touch()
    with pytest.raises(InputError) as caught:
        opened(tmp_path / "old").read("a")
    assert caught.value.code == "checkpoint-corrupt"


def test_a_missing_shard(copy: Path) -> None:
    shard = copy.with_name("c.data-00000-of-00001")
    values = opened(copy)
    checkpoint = values.checkpoint
    shard.unlink()
    with pytest.raises(InputError) as caught:
        opened(copy)
    assert (caught.value.code, caught.value.where) == ("checkpoint-shard-missing", str(shard))
    with pytest.raises(InputError) as caught:  # gone since it was looked for
        open_values(checkpoint)
    assert (caught.value.code, caught.value.where) == ("checkpoint-unreadable", str(shard))


def test_an_index_that_tells_of_more_shards_than_there_are(copy: Path, tmp_path: Path) -> None:
    parts = []
    for number in range(2):
        write_checkpoint({f"v{number}": np.ones(3)}, tmp_path / f"part{number}")
        parts.append(f"{tmp_path}/part{number}")
    with tf.Graph().as_default(), tf1.Session() as session:
        session.run(tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=parts, destination_prefix=f"{tmp_path}/two"))
    equal(opened(tmp_path / "two").read("v1"), np.ones(3))
    (tmp_path / "two.data-00001-of-00002").unlink()
    with pytest.raises(InputError) as caught:
        opened(tmp_path / "two")
    assert caught.value.code == "checkpoint-shard-missing"
    (tmp_path / "two.data-00000-of-00002").rename(tmp_path / "two.data-00000-of-00001")
    with pytest.raises(InputError) as caught:
        opened(tmp_path / "two").read("v1")
    assert caught.value.code == "checkpoint-corrupt"


def test_a_file_that_may_not_be_read(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = opened(copy)

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputError) as caught:
        open_values(values.checkpoint)
    assert (caught.value.code, caught.value.where) == ("checkpoint-unreadable", f"{copy}.index")
    assert "Permission denied" in caught.value.what


class Reads(Values):
    """Remembers what data was read."""

    def read(self, key: str) -> Any:
        self.keys = [*getattr(self, "keys", []), key]
        return super().read(key)


def test_only_the_wanted_variables_are_read(saved: Path) -> None:
    values = opened(saved / "c")
    values.__class__ = Reads
    wanted = {
        "gone": (dtypes.DT_FLOAT, (3,)),
        "w/part_1": (dtypes.DT_FLOAT, (3, 4)),
        "unknown": (dtypes.DT_FLOAT, None),
        "w/part_0": (dtypes.DT_FLOAT_REF, (-1, 4)),
        "x/a": (dtypes.DT_FLOAT, (1, 2)),
    }
    keys = {
        "w/part_0": Key("p/w", "10 4 0,4:0,4"),
        "w/part_1": Key("p/w", "10 4 4,3:0,4"),
        "x/a": Key("a"),
        "unknown": None,
        "gone": Key("gone"),
        "step": Key("step"),
    }
    found = read_variables(values, wanted, keys)
    assert isinstance(found, ReadVariables)
    assert found.missing == ("gone", "unknown")
    assert list(found.arrays) == ["w/part_1", "w/part_0", "x/a"]
    equal(found.arrays["w/part_1"], W[4:7])
    equal(found.arrays["w/part_0"], W[:4])
    equal(found.arrays["x/a"], SAVED["a"])
    assert values.keys == ["p/w", "a"]  # type: ignore[attr-defined]


def refused(values: Values, wanted: dict[str, Any], keys: dict[str, Key]) -> InputError:
    with pytest.raises(InputError) as caught:
        read_variables(values, wanted, keys)
    return caught.value


def test_values_that_do_not_fit(saved: Path) -> None:
    values = opened(saved / "c")
    own = {name: Key(name) for name in values}
    shape = refused(values, {"a": (dtypes.DT_FLOAT, (2, -1)), "step": (dtypes.DT_INT64, ())}, own)
    assert (shape.code, shape.where) == ("checkpoint-shape-differs", f"{saved}/c")
    assert shape.what.endswith("another shape than the graph's variables: a: [1, 2] instead of [2, ?]")
    dtype = refused(values, {"x": (dtypes.DT_INT32_REF, ())}, {"x": Key("step")})
    assert dtype.code == "checkpoint-dtype-differs"
    assert dtype.what.endswith("x (saved as step): int64 instead of int32")
    both = refused(values, {"half": (dtypes.DT_FLOAT, (1,)), "a": (dtypes.DT_FLOAT, (2,))}, own)
    assert both.code == "checkpoint-shape-differs"
    assert both.what.endswith("shape or dtype than the graph's variables: "
                              "a: [1, 2] instead of [2]; half: float16 instead of float32")  # fmt: skip
    whole = refused(values, {"p": (dtypes.DT_FLOAT, (5, 4))}, {"p": Key("p/w", "12 4 0,5:-")})
    assert whole.what.endswith("p (saved as p/w): [10, 4] instead of [12, 4]")
    part = refused(values, {"p": (dtypes.DT_FLOAT, (5, 4))}, {"p": Key("p/w", "10 4 0,4:-")})
    assert part.what.endswith("p (saved as p/w): [4, 4] instead of [5, 4]")
    many = refused(
        values, {f"v{i}": (dtypes.DT_INT64, (9,)) for i in range(20)}, {f"v{i}": Key("step") for i in range(20)}
    )
    assert many.what.endswith("v11 (saved as step): [] instead of [9]; and 8 more")


@pytest.mark.parametrize("resource", [False, True])
def test_a_saver_restores_what_we_write(tmp_path: Path, resource: bool) -> None:
    write_checkpoint(SAVED, tmp_path / "c")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.data-00000-of-00001", "c.index"]
    with tf.Graph().as_default(), tf1.Session() as session:
        tensors = {
            name: tf1.get_variable(name, value.shape, tf.as_dtype(value.dtype), use_resource=resource)
            for name, value in SAVED.items()
            if value.dtype != object
        }
        tf1.train.Saver().restore(session, f"{tmp_path}/c")
        for name, got in session.run(tensors).items():
            equal(np.asarray(got), SAVED[name])
    values = opened(tmp_path)
    for name, want in SAVED.items():
        equal(values.read(name), want)


def test_the_same_values_give_the_same_bytes(eager: Eager, tmp_path: Path) -> None:
    files = checkpoint_files(SAVED, tmp_path / "c")
    assert [path.name for path, _ in files] == ["c.data-00000-of-00001", "c.index"]
    backwards = dict(reversed(SAVED.items()))
    with eager():
        assert tf.executing_eagerly()
        assert checkpoint_files(backwards, tmp_path / "c") == files
    assert list(tmp_path.iterdir()) == []


def test_an_empty_prefix_is_written_as_text(tmp_path: Path) -> None:
    write_checkpoint({"a": np.ones(2)}, f"{tmp_path}/")
    equal(opened(tmp_path).read("a"), np.ones(2))


def test_nothing_is_left_when_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError) as caught:
        write_checkpoint({"a": np.ones(2)}, tmp_path / "absent" / "c")
    assert caught.value.code == "output-unwritable"
    (tmp_path / "c.index").mkdir()
    with pytest.raises(InputError) as caught:
        write_all([(tmp_path / "c.meta", b"graph"), *checkpoint_files({"a": np.ones(2)}, tmp_path / "c")])
    assert (caught.value.code, caught.value.where) == ("output-unwritable", f"{tmp_path}/c.index")
    assert [path.name for path in tmp_path.iterdir()] == ["c.index"]
    monkeypatch.setattr("tempfile.tempdir", f"{tmp_path}/absent")
    with pytest.raises(InputError) as caught:
        checkpoint_files({"a": np.ones(2)}, tmp_path / "d")
    assert (caught.value.code, caught.value.where) == ("output-unwritable", f"{tmp_path}/d")


def test_tensorflow_that_is_not_there(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = find_checkpoint(copy)
    assert checkpoint is not None
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(ConfigError) as caught:
        open_values(checkpoint)
    assert caught.value.code == "tensorflow-missing"


def test_importing_tensorflow_prints_nothing_and_keeps_standard_error(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The real import takes seconds: something else that writes from below Python stands in for it."""

    class Finder:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "tensorflow":
                os.write(2, b"Could not find cuda drivers")

    monkeypatch.delitem(sys.modules, "tensorflow")
    monkeypatch.setattr(sys, "meta_path", [Finder()])
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS")
    with pytest.raises(ConfigError):
        tensorflow()
    assert os.environ["TF_ENABLE_ONEDNN_OPTS"] == "0"
    os.write(2, b"later")
    assert capfd.readouterr() == ("", "later")
