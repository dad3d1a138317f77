#!/usr/bin/env python3
"""Time of one training step of rewritten graphs against contrib's own.

    bench_train_step.py BEFORE.meta AFTER.meta [BEFORE.meta AFTER.meta ...]

Each BEFORE is the float training graph (binary MetaGraphDef), AFTER what tf.contrib.quantize made of it. BEFORE is
rewritten by fqrewrite with the options of a ``config.yaml`` next to it, if there is one. Both graphs are then trained
in one process: gradients of the loss by all trainable variables, their SGD update, and the moving-average updates.
Steps alternate, and so does who goes first; both start from the same variables and see the same batch. Grappler is at
its defaults. Prints the median milliseconds of a step of each, and the ratio ours / contrib.

Needs TensorFlow and numpy. Run with ``TF_ENABLE_ONEDNN_OPTS=0``, which is set unless the variable is set already.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import numpy as np
import tensorflow as tf

from fqrewrite.config.resolve import resolve
from fqrewrite.model.container import load
from fqrewrite.verbs.rewrite import plan_model, prepare_model, train_model

tf1 = tf.compat.v1
LEARNING_RATE = 1e-4
# Where ops read a shape that slim computed from the placeholder's and TF 1.15 made a constant.
_SHAPE_SLOT = {"RandomUniform": 0, "Reshape": 1, "Slice": 0}


@tf.RegisterGradient("FoldFusedBatchNormGrad")  # type: ignore[untyped-decorator]
def _fold_fused_batch_norm_grad(op: Any, _: Any, grad_mean: Any, grad_variance: Any, *unused: Any) -> Any:
    """The custom gradient that contrib's graphs name, written as in tf.contrib.quantize (TF 1.15.5)."""
    x = op.inputs[0]
    n = tf.cast(tf.size(x) / tf.size(grad_mean), tf.float32)
    by_mean = grad_mean / n
    by_variance = 2 * grad_variance * (x - op.outputs[1]) / (n - 1)
    return by_mean + by_variance, None, None, None, None


class Trainer:
    """A training graph in a session of its own.

    Args:
        meta: the MetaGraphDef.
        loss: name of the loss tensor.
        batch: batch size, which replaces that of the placeholders; 0 keeps theirs.
        threads: of each of TensorFlow's two pools.
    """

    def __init__(self, meta: Any, loss: str, batch: int, threads: int) -> None:
        self.graph = tf.Graph()
        with self.graph.as_default():
            tf1.set_random_seed(1)
            tf1.train.import_meta_graph(_with_batch(meta, batch), clear_devices=True)
            self.loss = self.graph.get_tensor_by_name(loss)
            optimizer = tf1.train.GradientDescentOptimizer(LEARNING_RATE)
            updates = tf1.get_collection(tf1.GraphKeys.UPDATE_OPS)
            with tf.control_dependencies(updates):
                self.step = optimizer.minimize(self.loss)
            config = tf1.ConfigProto(inter_op_parallelism_threads=threads, intra_op_parallelism_threads=threads)
            self.session = tf1.Session(graph=self.graph, config=config)
            self.session.run(tf1.global_variables_initializer())
            self.variables = {variable.name: variable for variable in tf1.global_variables()}
        self.feed: dict[str, Any] = {}

    def values(self) -> dict[str, Any]:
        """All variables, by name."""
        values: dict[str, Any] = self.session.run(dict(self.variables))
        return values

    def load(self, values: dict[str, Any]) -> None:
        """Sets the variables that are among `values`, by feeding their initializers, all in one run."""
        initializers = [self.variables[name].initializer for name in values if name in self.variables]
        fed = {op.inputs[1]: values[op.inputs[0].name] for op in initializers}
        self.session.run(initializers, fed)

    def run(self) -> tuple[float, float]:
        """One step; returns its loss and its seconds."""
        start = time.perf_counter()
        loss, _ = self.session.run([self.loss, self.step], self.feed)
        return float(loss), time.perf_counter() - start


def _with_batch(meta: Any, batch: int) -> Any:
    """A copy without stale shapes; its placeholders, and constant shapes made for them, get another batch size."""
    copy = tf1.MetaGraphDef.FromString(meta.SerializeToString())
    nodes = {node.name: node for node in copy.graph_def.node}
    sizes = set()
    for node in copy.graph_def.node:
        node.attr.pop("_output_shapes", None)  # often contradicts what today's TensorFlow infers, and importing fails
        if batch and node.op == "Placeholder" and node.attr["shape"].shape.dim:
            sizes.add(node.attr["shape"].shape.dim[0].size)
            node.attr["shape"].shape.dim[0].size = batch
    for node in copy.graph_def.node:
        if batch and node.op in _SHAPE_SLOT:
            source = nodes[node.input[_SHAPE_SLOT[node.op]].partition(":")[0]]
            if source.op == "Const":
                shape = tf.make_ndarray(source.attr["value"].tensor)
                if shape.ndim == 1 and shape[0] in sizes:
                    proto = tf.make_tensor_proto([batch, *shape[1:]], source.attr["value"].tensor.dtype)
                    source.attr["value"].tensor.CopyFrom(proto)
    return copy


def _read(path: Path) -> Any:
    return tf1.MetaGraphDef.FromString(path.read_bytes())


def rewritten(before: Path) -> Any:
    """The MetaGraphDef that fqrewrite makes of a float training graph."""
    config = before.parent / "config.yaml"
    model = load(before)
    settings = resolve(config if config.exists() else None)
    prepared = prepare_model(model, settings)
    train_model(model, plan_model(model, settings, prepared), prepared, "meta_graph")
    return tf1.MetaGraphDef.FromString(model.message.SerializeToString())


def feed_for(graph: Any, batch: int) -> dict[str, Any]:
    """Random values for all placeholders: images in [-1, 1], labels 0 or 1; a batch of 8 where the size is unknown."""
    random, feed = np.random.RandomState(0), {}
    for operation in graph.get_operations():
        if operation.type == "Placeholder":
            tensor = operation.outputs[0]
            shape = [size or batch or 8 for size in tensor.shape.as_list()]
            integers = tensor.dtype.is_integer
            value = random.randint(0, 2, shape) if integers else random.uniform(-1, 1, shape)
            feed[tensor.name] = value.astype(tensor.dtype.as_numpy_dtype)
    return feed


def loss_of(meta: Any) -> str:
    """The loss: total_loss if there is one, else what the "losses" collection holds."""
    if any(node.name == "total_loss" for node in meta.graph_def.node):
        return "total_loss:0"
    return str(meta.collection_def["losses"].node_list.value[0])


def compare(before: Path, after: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Times one pair; returns milliseconds, ratio and the last losses."""
    theirs = _read(after)
    loss = loss_of(theirs)
    trainers = {
        "ours": Trainer(rewritten(before), loss, options.batch, options.threads),
        "contrib": Trainer(theirs, loss, options.batch, options.threads),
    }
    trainers["contrib"].load(trainers["ours"].values())
    seconds: dict[str, list[float]] = {name: [] for name in trainers}
    losses = {}
    for name, trainer in trainers.items():
        trainer.feed = feed_for(trainer.graph, options.batch)
        for _ in range(options.warm_up):
            losses[name], _ = trainer.run()
    for step in range(options.steps):
        for name in sorted(trainers, reverse=step % 2 == 0):
            losses[name], elapsed = trainers[name].run()
            seconds[name].append(elapsed)
    medians = {name: statistics.median(values) * 1e3 for name, values in seconds.items()}
    ratios = [a / b for a, b in zip(seconds["ours"], seconds["contrib"], strict=True)]
    return {
        "model": str(before),
        "batch": next(iter(trainers["ours"].feed.values())).shape[0],
        "ours_ms": medians["ours"],
        "contrib_ms": medians["contrib"],
        "ratio": medians["ours"] / medians["contrib"],
        "median_of_ratios": statistics.median(ratios),
        "losses": losses,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("graphs", nargs="+", type=Path, help="BEFORE.meta AFTER.meta, any number of pairs")
    parser.add_argument("--steps", type=int, default=100, help="steps that are timed (default 100)")
    parser.add_argument("--warm-up", type=int, default=10, help="steps before (default 10)")
    parser.add_argument("--threads", type=int, default=2, help="of each of TensorFlow's pools (default 2)")
    parser.add_argument("--batch", type=int, default=0, help="batch size instead of that of the placeholders")
    parser.add_argument("--json", type=Path, help="write the numbers to this file")
    options = parser.parse_args()
    if len(options.graphs) % 2:
        parser.error("give pairs: BEFORE.meta AFTER.meta")
    tf1.disable_eager_execution()
    tf1.logging.set_verbosity(tf1.logging.ERROR)
    print(f"TensorFlow {tf.__version__}, oneDNN {'off' if os.environ['TF_ENABLE_ONEDNN_OPTS'] == '0' else 'on'}")
    results = []
    for before, after in zip(options.graphs[::2], options.graphs[1::2], strict=True):
        result = compare(before, after, options)
        results.append(result)
        print(
            "{model}\n  batch {batch}: ours {ours_ms:.1f} ms, contrib {contrib_ms:.1f} ms a step; "
            "ratio {ratio:.3f} (median of the ratios of neighbouring steps {median_of_ratios:.3f})".format(**result)
        )
        print(
            "  loss after the last step: ours {ours:.4f}, contrib {contrib:.4f}".format(**result["losses"]), flush=True
        )
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
