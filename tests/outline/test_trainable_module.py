"""Trainable SavedModels of a tf.Module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy
import pytest
import tensorflow as tf
from outlining import examples, fit, make_trainable, ranges, read_meta_graph

from fqrewrite.outline.records import signature_call
from fqrewrite.source.provenance import marked_functions

pytestmark = pytest.mark.usefixtures("tensorflow_2")


class Net(tf.Module):  # type: ignore[misc]
    """Conv and dense, with a dictionary that holds a variable once more."""

    def __init__(self) -> None:
        super().__init__()
        start = tf.random.stateless_normal
        self.w = tf.Variable(start([3, 3, 1, 4], [1, 2]) * 0.5, name="conv/w")
        self.b = tf.Variable(tf.zeros(4), name="conv/b")
        self.d = tf.Variable(start([4, 3], [3, 4]) * 0.5, name="d")
        self.head = {"d": self.d}

    @tf.function(input_signature=[tf.TensorSpec([None, 8, 8, 1], name="image")])  # type: ignore[untyped-decorator]
    def __call__(self, image: Any) -> Any:
        hidden = tf.nn.relu6(tf.nn.bias_add(tf.nn.conv2d(image, self.w, 1, "SAME"), self.b))
        return {"logits": tf.matmul(tf.reduce_mean(hidden, [1, 2]), self.d)}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("module") / "float"
    net = Net()
    tf.saved_model.save(net, str(directory), signatures=net.__call__.get_concrete_function())
    return directory


@pytest.fixture(scope="module")
def trainable(source: Path) -> Path:
    target = source.with_name("trainable")
    make_trainable(source, target)
    return target


def test_same_signature_and_nearly_the_same_numbers(source: Path, trainable: Path) -> None:
    images, _ = examples()
    old = tf.saved_model.load(str(source)).signatures["serving_default"]
    loaded = tf.saved_model.load(str(trainable))
    new = loaded.signatures["serving_default"]
    assert old.structured_input_signature == new.structured_input_signature
    assert old.structured_outputs == new.structured_outputs
    expected, found = (signature(image=images)["logits"].numpy() for signature in (old, new))
    assert 0 < abs(expected - found).max() < 0.05 * abs(expected).max()
    called = loaded(images)
    assert list(called) == ["logits"]
    numpy.testing.assert_allclose(called["logits"], found, rtol=0.05, atol=0.05)  # the ranges have moved


def test_variables_are_found(trainable: Path) -> None:
    loaded = tf.saved_model.load(str(trainable))
    assert [variable.name for variable in loaded.trainable_variables] == ["conv/w:0", "conv/b:0", "d:0"]
    assert len(loaded.variables) == 3 + len(loaded.non_trainable_variables)
    assert len(loaded.non_trainable_variables) == len(ranges(loaded)) == 28


def test_each_call_updates_the_ranges(trainable: Path) -> None:
    loaded = tf.saved_model.load(str(trainable))
    images, _ = examples()
    before = ranges(loaded)
    loaded(images)
    after = ranges(loaded)
    unchanged = {name for name in before if numpy.array_equal(before[name], after[name])}
    assert {name.rpartition("/")[2] for name in unchanged} == {"biased"}  # the lower ends of what is never negative
    numpy.testing.assert_allclose(after["serving_default_image/quant/max"], images.max(), rtol=1e-3)
    # The quantizer behind the output, which nothing reads, learns as well.
    assert after["MatMul/quant/max"] > after["MatMul/quant/min"]


def test_training_again_and_again(trainable: Path, tmp_path: Path) -> None:
    """Trained, saved, loaded, trained."""
    images, labels = examples()
    loaded = tf.saved_model.load(str(trainable))
    losses = fit(loaded, images, labels)
    assert losses[-1] < 0.7 * losses[0]
    tf.saved_model.save(loaded, str(tmp_path / "again"))
    again = tf.saved_model.load(str(tmp_path / "again"))
    one, other = (model.signatures["serving_default"](image=images)["logits"] for model in (loaded, again))
    numpy.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    more = fit(again, images, labels)
    assert more[-1] < losses[-1]
    # The graph still says how it was made.
    assert len(marked_functions(read_meta_graph(tmp_path / "again").graph_def, "")) == 1


def test_checkpoints_of_the_loaded_model(trainable: Path, tmp_path: Path) -> None:
    images, labels = examples()
    loaded = tf.saved_model.load(str(trainable))
    fit(loaded, images, labels, steps=2)
    path = tf.train.Checkpoint(model=loaded).save(str(tmp_path / "ckpt"))
    fresh = tf.saved_model.load(str(trainable))
    tf.train.Checkpoint(model=fresh).restore(path).assert_consumed()
    for one, other in zip(loaded.variables, fresh.variables, strict=True):
        numpy.testing.assert_array_equal(one, other)


def test_tensorflow_1_restores_and_saves_the_new_variables(trainable: Path, tmp_path: Path) -> None:
    images, _ = examples()
    expected = tf.saved_model.load(str(trainable)).signatures["serving_default"](image=images)["logits"]
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta_graph = tf.compat.v1.saved_model.load(session, ["serve"], str(trainable))
        signature = meta_graph.signature_def["serving_default"]
        found = session.run(signature.outputs["logits"].name, {signature.inputs["image"].name: images})
        numpy.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
        saver = meta_graph.saver_def
        path = session.run(saver.save_tensor_name, {saver.filename_tensor_name: str(tmp_path / "ckpt")})
    keys = dict(tf.train.list_variables(path.decode()))
    assert len(keys) == 3 + 28 + 1
    saved = tf.train.load_variable(path.decode(), "fqrewrite/Relu6.Squant.Smax/.ATTRIBUTES/VARIABLE_VALUE")
    assert saved > 0
    # What TensorFlow 1 saved, TensorFlow 2 restores: the objects are in it.
    loaded = tf.saved_model.load(str(trainable))
    tf.train.Checkpoint(loaded).restore(path.decode()).expect_partial()
    assert ranges(loaded)["Relu6/quant/max"] == saved


def test_same_input_same_bytes(source: Path, trainable: Path, tmp_path: Path) -> None:
    make_trainable(source, tmp_path / "twice")
    names = {path.relative_to(trainable) for path in trainable.rglob("*") if path.is_file()}
    assert {str(name) for name in names} >= {"saved_model.pb", "variables/variables.index"}
    for name in names:
        assert (tmp_path / "twice" / name).read_bytes() == (trainable / name).read_bytes(), name


def test_nothing_of_the_float_model_is_left(source: Path, trainable: Path) -> None:
    assert (source / "fingerprint.pb").exists()
    assert not (trainable / "fingerprint.pb").exists()
    old, new = (
        {function.signature.name for function in read_meta_graph(directory).graph_def.library.function}
        for directory in (source, trainable)
    )
    assert {name.rpartition("_")[0] for name in old & new} == {
        "__inference__traced_save",
        "__inference__traced_restore",
    }


def test_marker_names_what_is_captured(trainable: Path) -> None:
    """Arguments of the core lead back to the nodes of the flat graph."""
    meta_graph = read_meta_graph(trainable)
    ((name, provenance),) = marked_functions(meta_graph.graph_def, "").items()
    core = next(entry for entry in meta_graph.graph_def.library.function if entry.signature.name == name)
    named = [provenance.captures[argument.name] for argument in core.signature.input_arg]
    call = signature_call(meta_graph, "serving_default")
    assert named == [*call.inputs, *call.captures]


def _with_own_gradient(directory: Path, *, saved: bool) -> None:
    """A layer whose output has a gradient ten times too large; what the gradient captures is no input of it."""

    net = tf.Module()
    net.w = tf.Variable(tf.random.stateless_normal([64, 3], [1, 2]), name="w")

    def call(image: Any) -> Any:
        captured = tf.nn.relu(tf.reduce_sum(image) * 0.0 + 10.0)

        @tf.custom_gradient  # type: ignore[untyped-decorator]
        def scaled(x: Any) -> Any:
            return x + (captured - 10.0), lambda gradient: gradient * captured

        return {"logits": scaled(tf.matmul(tf.reshape(image, [-1, 64]), net.w))}

    net.call = tf.function(call, input_signature=[tf.TensorSpec([None, 8, 8, 1], name="image")])
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=saved)
    tf.saved_model.save(net, str(directory), options=options)


@pytest.mark.parametrize(("saved", "factor"), [(True, 10.0), (False, 1.0)])
def test_gradients_that_the_model_defines(tmp_path: Path, saved: bool, factor: float) -> None:
    _with_own_gradient(tmp_path / "float", saved=saved)
    outlined = make_trainable(tmp_path / "float", tmp_path / "trainable")
    assert ("custom-gradient-lost" in {note.code for note in outlined.notes}) is not saved
    images, _ = examples()
    for directory in ("trainable", "again"):
        loaded = tf.saved_model.load(str(tmp_path / directory))
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(loaded(images))
        gradient = tape.gradient(total, loaded.trainable_variables[0])
        plain = images.reshape(16, 64).sum(axis=0)
        assert numpy.median(gradient.numpy() / plain[:, None]) == pytest.approx(factor, rel=0.1)
        tf.saved_model.save(loaded, str(tmp_path / "again"))


def test_thawed_constants_train(tmp_path: Path) -> None:
    """Constants in a function's body become variables of the model."""
    kernel = numpy.linspace(-1, 1, 64 * 3, dtype=numpy.float32).reshape(64, 3)
    net = tf.Module()
    net.call = tf.function(
        lambda image: tf.matmul(tf.reshape(image, [-1, 64]), kernel),
        input_signature=[tf.TensorSpec([None, 8, 8, 1], name="image")],
    )
    tf.saved_model.save(net, str(tmp_path / "float"))
    outlined = make_trainable(tmp_path / "float", tmp_path / "trainable", thaw=True)
    assert [variable.trainable for variable in outlined.variables].count(True) == 1
    loaded = tf.saved_model.load(str(tmp_path / "trainable"))
    (weights,) = loaded.trainable_variables
    numpy.testing.assert_array_equal(weights, kernel)
    images, labels = examples()
    losses = fit(loaded, images, labels, steps=10)
    assert losses[-1] < losses[0]


class Words(tf.Module):  # type: ignore[misc]
    """What else a model may hold: a table, a captured constant, an asset, a counter, control flow, more functions."""

    def __init__(self, vocabulary: Path) -> None:
        super().__init__()
        self.w = tf.Variable(tf.random.stateless_normal([8, 4], [1, 2]), name="w")
        self.u = tf.Variable(tf.random.stateless_normal([4, 3], [1, 2]), name="u")
        pairs = tf.lookup.KeyValueTensorInitializer(["a", "b"], [1, 2])
        self.table = tf.lookup.StaticHashTable(pairs, 0)
        self.lines = tf.saved_model.Asset(str(vocabulary))
        self.shift = tf.constant([1.0, 2.0, 3.0, 4.0])
        self.calls = tf.Variable(0, trainable=False, name="calls")

    @tf.function(input_signature=[tf.TensorSpec([None, 8], name="x"), tf.TensorSpec([None], tf.string, name="a_word")])  # type: ignore[untyped-decorator]
    def encode(self, x: Any, word: Any) -> Any:
        self.calls.assign_add(1)
        hidden = tf.nn.relu(tf.matmul(x, self.w) + self.shift)
        key = self.table.lookup(word)
        hidden = tf.cond(tf.reduce_sum(key) > 100, lambda: hidden * 2.0, lambda: hidden)
        _, hidden = tf.while_loop(lambda i, h: i < 2, lambda i, h: (i + 1, h + 1.0), (0, hidden))
        return {"code": tf.matmul(hidden, self.u), "key": key, "file": tf.io.read_file(self.lines.asset_path)}

    @tf.function(input_signature=[tf.TensorSpec([None, 8], name="x")])  # type: ignore[untyped-decorator]
    def decode(self, x: Any) -> Any:
        return {"decoded": tf.matmul(x, self.w)}

    @tf.function(input_signature=[tf.TensorSpec([None, 8], name="x")])  # type: ignore[untyped-decorator]
    def double(self, x: Any) -> Any:
        return x * 2.0


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("words")
    vocabulary = directory / "lines.txt"
    vocabulary.write_text("x\ny\n", encoding="utf-8")
    module = Words(vocabulary)
    signatures = {"encode": module.encode, "decode": module.decode}
    tf.saved_model.save(module, str(directory / "float"), signatures=signatures)
    return directory / "float"


def _inputs() -> dict[str, Any]:
    x = numpy.linspace(-1, 1, 32, dtype=numpy.float32).reshape(4, 8)
    return {"x": tf.constant(x), "a_word": tf.constant(["a", "b", "c", "a"])}


def test_tables_assets_and_side_effects_come_along(words: Path, tmp_path: Path) -> None:
    make_trainable(words, tmp_path / "trainable", ["encode"])
    old, new = tf.saved_model.load(str(words)), tf.saved_model.load(str(tmp_path / "trainable"))
    expected, found = (model.signatures["encode"](**_inputs()) for model in (old, new))
    numpy.testing.assert_array_equal(found["key"], [1, 2, 0, 1])
    assert found["file"].numpy() == b"x\ny\n"
    scale = abs(expected["code"].numpy()).max()
    numpy.testing.assert_allclose(found["code"] / scale, expected["code"] / scale, atol=0.05)
    assert new.calls.numpy() == 1
    # The module's own method, whose arguments stand in another order than the signature's, is the same function.
    inputs = _inputs()
    assert set(new.encode(inputs["x"], inputs["a_word"])) == {"code", "key", "file"}
    assert new.calls.numpy() == 2


def test_other_signatures_and_functions_stay(words: Path, tmp_path: Path) -> None:
    make_trainable(words, tmp_path / "trainable", ["encode"])
    loaded = tf.saved_model.load(str(tmp_path / "trainable"))
    x = _inputs()["x"]
    exact = tf.matmul(x, loaded.w)
    numpy.testing.assert_allclose(loaded.signatures["decode"](x=x)["decoded"], exact, rtol=1e-6)
    numpy.testing.assert_allclose(loaded.decode(x)["decoded"], exact, rtol=1e-6)
    numpy.testing.assert_array_equal(loaded.double(x), x * 2.0)


def test_several_signatures(words: Path, tmp_path: Path) -> None:
    outlined = make_trainable(words, tmp_path / "trainable", ["encode", "decode"])
    loaded = tf.saved_model.load(str(tmp_path / "trainable"))
    x = _inputs()["x"]
    exact = tf.matmul(x, loaded.w).numpy()
    for call in (loaded.signatures["decode"], loaded.decode):
        found = call(x=x)["decoded"].numpy()
        assert 0 < abs(found - exact).max() < 0.05 * abs(exact).max()
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(loaded.encode(x, _inputs()["a_word"])["code"])
    assert all(gradient is not None for gradient in tape.gradient(total, loaded.trainable_variables))
    # Each signature's function captures its own ranges, and the shared weights.
    graph = outlined.meta_graph.object_graph_def
    bound = {
        child.local_name: set(
            graph.concrete_functions[
                graph.nodes[child.node_id].bare_concrete_function.concrete_function_name
            ].bound_inputs
        )
        for node in graph.nodes
        if node.user_object.identifier == "signature_map"
        for child in node.children
    }
    shared = [graph.nodes[number].variable.name for number in bound["encode"] & bound["decode"]]
    assert "w" in shared
    assert "x/quant/min" not in shared


def test_readme_example(source: Path, tmp_path: Path) -> None:
    """What README shows under "TensorFlow 2"."""
    make_trainable(source, tmp_path / "train")
    images, labels = examples()

    model = tf.saved_model.load(str(tmp_path / "train"))
    serve = model.signatures["serving_default"]

    @tf.function  # type: ignore[untyped-decorator]
    def step(images: Any, labels: Any) -> Any:
        with tf.GradientTape() as tape:
            logits = serve(image=images)["logits"]
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits))
        gradients = tape.gradient(loss, model.trainable_variables)
        for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
            variable.assign_sub(0.01 * gradient)
        return loss

    losses = [float(step(images, labels)) for _ in range(20)]
    tf.saved_model.save(model, str(tmp_path / "trained"), signatures=dict(model.signatures))

    assert losses[-1] < losses[0]
    served = tf.saved_model.load(str(tmp_path / "trained")).signatures["serving_default"]
    assert served(image=images)["logits"].shape == (16, 3)
