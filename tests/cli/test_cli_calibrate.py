"""Calibration: that just the ranges are measured that `eval` needs, and that the numbers are right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from calibration import CHECKPOINT, EVAL_GRAPH, fqrewrite, write_pictures
from command_line import EXAMPLES, Run, Write, refused, write_in
from numeric import tf1
from quantized_training import LOGITS, pictures, run_checkpoint, run_graph

from fqrewrite.errors import FqrewriteError
from fqrewrite.model.ranges_file import read_ranges
from fqrewrite.model.statistics_file import Method, read_statistics
from fqrewrite.proto import GraphDef

METHODS: tuple[Method, ...] = ("min-max", "moving-average", "percentile", "mse", "entropy")

# A batch norm that is folded; its output, which only the float graph has, is what is quantized without an activation.
NET = """
x = Placeholder {shape: [?, 4, 4, 2]}
w = Const {value: [[[[1.0, -0.5, 0.25], [0.5, 2.0, -1.0]]]]}
gamma = Const {value: [1.0, 2.0, 0.5]}
beta = Const {value: [0.1, -0.2, 0.3]}
mean = Const {value: [0.2, 0.0, -0.1]}
variance = Const {value: [1.5, 0.7, 1.0]}
conv = Conv2D(x, w)
norm = FusedBatchNormV3(conv, gamma, beta, mean, variance) {is_training: false, epsilon: 0.001}
w2 = Const {value: [[[[1.0], [1.0], [1.0]]]]}
conv2 = Conv2D(norm, w2)
relu = Relu(conv2)
y = Neg(relu)
"""


def failure(*args: str | Path) -> FqrewriteError:
    with pytest.raises(FqrewriteError) as caught:
        fqrewrite(*args)
    return caught.value


def test_ranges_of_the_outputs_of_batch_norms(tmp_path: Path) -> None:
    data = np.random.RandomState(0).normal(0, 2, (11, 4, 4, 2)).astype(np.float32)
    np.savez(tmp_path / "d.npz", x=data)
    net = write_in(tmp_path, "net.pb", NET)
    fqrewrite("calibrate", net, "--preset", "contrib", "--data", tmp_path / "d.npz", "-o", tmp_path / "r.json", "-q")
    conv = data @ np.array([[1.0, -0.5, 0.25], [0.5, 2.0, -1.0]])
    norm = (conv - [0.2, 0, -0.1]) / np.sqrt(np.array([1.5, 0.7, 1.0]) + 0.001) * [1, 2, 0.5] + [0.1, -0.2, 0.3]
    relu = np.maximum(norm.sum(-1), 0)
    found = read_ranges(tmp_path / "r.json")
    assert found.keys() == {"norm:0", "relu:0"}
    for tensor, values in (("norm:0", norm), ("relu:0", relu)):
        ((low,), (high,)) = found[tensor]
        assert (low, high) == pytest.approx((values.min(), values.max()), rel=1e-4)


@pytest.mark.parametrize("preset", ["contrib", "tflite-int8"])
@pytest.mark.parametrize("graph", ["model.meta", "model_eval.meta"])
@pytest.mark.parametrize("method", METHODS)
def test_what_eval_needs_and_nothing_else(preset: str, graph: str, method: Method, tmp_path: Path) -> None:
    """Both of the training graph, whose batch norms are in training mode, and of the inference graph."""
    model = (CHECKPOINT, "--model", EXAMPLES / graph, "--preset", preset)
    data = write_pictures(tmp_path / "d.npz", labels=np.zeros(3))
    ranges = tmp_path / "r.json"
    fqrewrite("calibrate", *model, "--data", data, "-o", ranges, "--method", method, "-q")
    fqrewrite("eval", *model, "--ranges", ranges, "-o", tmp_path / "e.pb", "-q")
    report = json.loads((tmp_path / "e.pb.report.json").read_text(encoding="utf-8"))
    codes = {note["code"] for note in report["notes"]}
    assert "range-unused" not in codes and "range-not-trained" not in codes
    origins = {item["tensor"]: item["range"]["origin"] for item in report["inserted"] if item["role"] != "weights"}
    measured = {tensor for tensor, origin in origins.items() if origin != "kernel"}
    assert measured == read_ranges(ranges).keys() and {origins[tensor] for tensor in measured} == {"ranges file"}
    (output,) = report["outputs"]
    graph_def = GraphDef.FromString((tmp_path / "e.pb").read_bytes())
    quantized = run_graph(graph_def, output, {"images:0": pictures()})
    labels = np.load(EXAMPLES / "sample.npz")["labels"][:64]
    assert np.mean(quantized.argmax(axis=1) == labels) > 0.8


def test_the_extremes_are_those_of_the_float_graph(tmp_path: Path) -> None:
    model = (CHECKPOINT, "--model", EVAL_GRAPH)
    fqrewrite("calibrate", *model, "--data", write_pictures(tmp_path / "d.npz"), "-o", tmp_path / "r.json", "-q")
    tensor = "conv0/Relu6:0"
    values = run_checkpoint(EVAL_GRAPH, CHECKPOINT, tensor, {"images:0": pictures()})
    ((low,), (high,)) = read_ranges(tmp_path / "r.json")[tensor]
    assert (low, high) == pytest.approx((values.min(), values.max()), rel=1e-5)
    statistics = read_statistics(tmp_path / "r.json")
    assert (statistics.samples, statistics.batches) == (64, 8)


@pytest.mark.parametrize("method", METHODS)
def test_parts_that_are_put_together(method: Method, tmp_path: Path) -> None:
    command = ("calibrate", CHECKPOINT, "--model", EVAL_GRAPH, "--method", method, "-q")
    files = [tmp_path / name for name in ("all.json", "again.json", "a.json", "b.json", "c.json")]
    everything, again, one, other, merged = files
    for output, first, end in ((everything, 0, 64), (again, 0, 64), (one, 0, 24), (other, 24, 64)):
        data = write_pictures(tmp_path / "d.npz", first, end)
        fqrewrite(*command, "--data", data, "-o", output)
    assert everything.read_bytes() == again.read_bytes()
    fqrewrite("calibrate", "--merge", one, other, "-o", merged, "-q")
    if method != "moving-average":
        assert merged.read_bytes() == everything.read_bytes()
        return
    whole, together = read_ranges(everything), read_ranges(merged)
    assert whole.keys() == together.keys()
    for tensor, limits in whole.items():
        np.testing.assert_allclose(together[tensor], limits, rtol=1e-6)


def test_another_method_from_the_same_statistics(tmp_path: Path) -> None:
    data = write_pictures(tmp_path / "d.npz")
    command = ("calibrate", CHECKPOINT, "--model", EVAL_GRAPH, "--data", data, "-q")
    for method in ("mse", "percentile", "min-max"):
        fqrewrite(*command, "--method", method, "-o", tmp_path / f"{method}.json")
    mse, share = tmp_path / "mse.json", tmp_path / "percentile.json"
    fqrewrite("calibrate", "--merge", mse, "--method", "percentile", "-o", tmp_path / "m.json", "-q")
    assert (tmp_path / "m.json").read_bytes() == share.read_bytes()
    assert failure("calibrate", "--merge", mse, share, "-o", tmp_path / "m.json").code == "statistics-differ"
    found = failure("calibrate", "--merge", tmp_path / "min-max.json", "--method", "mse", "-o", tmp_path / "m.json")
    assert found.code == "method-not-measured"


def test_ranges_that_are_fixed_are_not_measured(tmp_path: Path) -> None:
    net = write_in(tmp_path, "net.pb", NET)
    np.savez(tmp_path / "d.npz", x=np.ones((1, 4, 4, 2), np.float32))
    config = tmp_path / "c.yaml"
    command = ("calibrate", net, "--data", tmp_path / "d.npz", "-c", config, "-o", tmp_path / "r.json")
    config.write_text('version: 1\npreset: contrib\nranges: {"relu:0": [0, 6]}\n', encoding="utf-8")
    fqrewrite(*command)
    assert read_ranges(tmp_path / "r.json").keys() == {"norm:0"}
    more = 'version: 1\npreset: contrib\nranges: {"relu:0": [0, 6], "norm:0": [-1, 1]}\n'
    config.write_text(more, encoding="utf-8")
    assert failure(*command).code == "nothing-to-calibrate"


def bad_inputs() -> dict[str, tuple[Any, str]]:
    good = np.ones((3, 4, 4, 2), np.float32)
    return {
        "values": (good * np.float32(np.nan), "data-not-finite"),
        "overflow": (good * np.float32(3e38), "tensor-not-finite"),
        "shape": (good[..., :1], "data-shape"),
        "dtype": (good.astype(np.uint8), "data-dtype"),
        "empty": (good[:0], "data-empty"),
    }


@pytest.mark.parametrize("kind", bad_inputs())
def test_bad_data_is_refused_and_nothing_written(kind: str, tmp_path: Path) -> None:
    data, code = bad_inputs()[kind]
    np.savez(tmp_path / "d.npz", x=data)
    net = write_in(tmp_path, "net.pb", NET)
    command = ("calibrate", net, "--preset", "contrib", "--data", tmp_path / "d.npz", "-o", tmp_path / "r.json")
    assert failure(*command).code == code
    assert not (tmp_path / "r.json").exists()


def test_variables_without_values(tmp_path: Path) -> None:
    data = write_pictures(tmp_path / "d.npz")
    found = failure("calibrate", EVAL_GRAPH, "--data", data, "-o", tmp_path / "r.json")
    assert found.code == "variable-value-missing"


def test_an_eval_graph_is_refused(tmp_path: Path) -> None:
    data, ranges, model = write_pictures(tmp_path / "d.npz"), tmp_path / "r.json", (CHECKPOINT, "--model", EVAL_GRAPH)
    fqrewrite("calibrate", *model, "--data", data, "-o", ranges, "-q")
    fqrewrite("eval", *model, "--ranges", ranges, "-o", tmp_path / "e.pb", "-q")
    assert failure("calibrate", tmp_path / "e.pb", "--data", data, "-o", ranges).code == "already-rewritten"


def test_the_training_graph_of_a_trained_checkpoint(trained: Any, tmp_path: Path) -> None:
    """Its plan is the one that it carries, and the float graph is the one that it was made from."""
    data = write_pictures(tmp_path / "d.npz")
    fqrewrite("calibrate", trained.latest, "--data", data, "-o", tmp_path / "r.json", "-q")
    fqrewrite("eval", trained.latest, "--ranges", tmp_path / "r.json", "-o", tmp_path / "e.pb", "-q")
    graph_def = GraphDef.FromString((tmp_path / "e.pb").read_bytes())
    ours, learned = (
        run_graph(graph, LOGITS, {"images:0": pictures()})
        for graph in (graph_def, GraphDef.FromString(trained.frozen.read_bytes()))
    )
    assert np.mean(ours.argmax(axis=1) == learned.argmax(axis=1)) > 0.9


@pytest.mark.parametrize(
    "args",
    [
        ("net.pb",),
        ("--data", "d.npz"),
        ("net.pb", "other.pb", "--data", "d.npz"),
        ("--merge",),
        ("--merge", "a.json", "--data", "d.npz"),
        ("--merge", "a.json", "--preset", "contrib"),
        ("--merge", "a.json", "--ema-decay", "0.9"),
        ("net.pb", "--data", "d.npz", "--ema-decay", "0.9"),
        ("net.pb", "--data", "d.npz", "--method", "mse", "--percentile", "99"),
        ("net.pb", "--data", "d.npz", "--percentile", "50"),
        ("net.pb", "--data", "d.npz", "--batch-size", "0"),
        ("net.pb", "--data", "d.npz", "--image-size", "224"),
        ("net.pb", "--data", "d.npz", "--image-size", "0x3"),
        ("net.pb", "--data", "d.npz", "--mean", "a"),
        ("net.pb", "--data", "d.npz", "--mean", "nan"),
        ("net.pb", "--data", "d.npz", "--std", "1,0,1"),
    ],
)
def test_wrong_command_lines(args: tuple[str, ...]) -> None:
    with pytest.raises(click.UsageError):
        fqrewrite("calibrate", *args, "-o", "r.json")


def test_what_is_said(run: Run, write: Write, folder: Path) -> None:
    write("net.pb", NET)
    np.savez(folder / "d.npz", x=np.ones((9, 4, 4, 2), np.float32))
    done = run("calibrate", "net.pb", "--preset", "contrib", "--data", "d.npz", "-o", "r.json", "-v")
    assert done.status == 0 and done.err == ""  # no progress bar where nobody looks on
    first, *ranges = done.out.splitlines()
    assert first == "fqrewrite calibrate: net.pb -> r.json: 2 ranges, min-max, 9 samples in 2 batches"
    assert [line.split()[0] for line in ranges] == ["norm:0", "relu:0"]
    share = run("calibrate", "--merge", "r.json", "-o", "m.json")
    assert share.out == "fqrewrite calibrate: 1 merged -> m.json: 2 ranges, min-max, 9 samples in 2 batches\n"
    refused(run("calibrate", "net.pb", "--data", "none.npz", "-o", "r.json"), 3, "data-unreadable", "none.npz")
    refused(run("calibrate", "net.pb", "--data", "d.npz", "-o", "d.npz"), 2, "output-is-input")
    refused(run("calibrate", "net.pb", "--data", "d.npz", "-o", "none/r.json"), 3, "output-unwritable")


def test_functions_and_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = write_in(tmp_path, "net.pb", NET)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    text = "import numpy as np\ndef feeds():\n    yield {'x:0': np.ones((5, 4, 4, 2), 'float32')}\n"
    (tmp_path / "calibration_feeds.py").write_text(text, encoding="utf-8")
    command = ("calibrate", net, "--preset", "contrib", "-o", tmp_path / "r.json", "-q")
    fqrewrite(*command, "--data", "calibration_feeds:feeds")
    assert read_statistics(tmp_path / "r.json").samples == 5
    (tmp_path / "pictures").mkdir()
    assert failure(*command, "--data", tmp_path / "pictures").code == "data-empty"
    assert failure(*command, "--data", "calibration_feeds:feeds", "--mean", "1").code == "data-options"


def test_a_graph_with_its_own_input_pipeline(tmp_path: Path) -> None:
    """What its iterator would give is fed in its place, and the files that it would read need not exist."""
    with tf1.Graph().as_default() as graph:
        records = tf1.data.TFRecordDataset(tf1.placeholder(tf1.string, [], name="files"))
        pictures_of = records.map(lambda record: tf1.reshape(tf1.decode_raw(record, tf1.float32), [4])).batch(2)
        x = tf1.data.make_initializable_iterator(pictures_of).get_next()
        weights = tf1.constant([[1.0], [2.0], [-1.0], [0.5]], name="w")
        tf1.identity(tf1.nn.relu(tf1.matmul(x, weights), name="relu"), name="y")
    (tmp_path / "net.pb").write_bytes(graph.as_graph_def().SerializeToString())
    data = np.random.RandomState(0).normal(size=(9, 4)).astype(np.float32)
    arrays: Any = {x.name: data}
    np.savez(tmp_path / "d.npz", **arrays)
    command = (
        "calibrate",
        tmp_path / "net.pb",
        "--preset",
        "contrib",
        "--outputs",
        "y",
        "-o",
        tmp_path / "r.json",
        "-q",
    )
    fqrewrite(*command, "--data", tmp_path / "d.npz")
    ((low,), (high,)) = read_ranges(tmp_path / "r.json")["relu:0"]
    assert (low, high) == pytest.approx((0.0, float((data @ [1, 2, -1, 0.5]).max())), rel=1e-5)
