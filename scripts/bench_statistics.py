#!/usr/bin/env python3
"""Time of batch statistics, and of their gradient, in the forms that stock TensorFlow ops allow.

    bench_statistics.py [--shape N H W C] [--steps 60]

y is float32[N, H, W, C], as a layer puts it out. Measured are the mean and the biased variance of y by channel, alone
and with the gradient of a weighted sum of both by y. All forms run in one process, in turn; a 3x3 convolution that puts
out y and its gradients are timed for scale.

fused        FusedBatchNormV3 with contrib's custom gradient (what tf.contrib.quantize has)
4-d          Mean and Mean(SquaredDifference) over the axes (0, 1, 2)
rows         the same over axis 0 of a [N*H*W, C] view
rows-square  as rows, with d = y - StopGradient(mean) and Mean(Square(d))
matmul       MatMul of a row of 1/n with the [N*H*W, C] view; SquaredDifference
matmul-mul   as matmul, with d = y - StopGradient(mean) and d * d
mixed        the mean as matmul, the variance as rows
*-sums       sums times 1/n instead of means, of y and of d * StopGradient(d), whose gradient is doubled: its
             gradient takes fewer passes over y; summed over the axes, over rows, by BiasAddGrad, or by MatMul

Needs TensorFlow and numpy.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
import numpy as np
import tensorflow as tf

tf1 = tf.compat.v1
Statistics = tuple[Any, Any]


@tf.RegisterGradient("FoldFusedBatchNormGrad")  # type: ignore[untyped-decorator]
def _fold_fused_batch_norm_grad(op: Any, _: Any, grad_mean: Any, grad_variance: Any, *unused: Any) -> Any:
    x = op.inputs[0]
    n = tf.cast(tf.size(x) / tf.size(grad_mean), tf.float32)
    return grad_mean / n + 2 * grad_variance * (x - op.outputs[1]) / (n - 1), None, None, None, None


def fused(y: Any) -> Statistics:
    channels, n = y.shape[-1], tf.cast(tf.size(y) / y.shape[-1], tf.float32)
    ones, zeros, empty = tf.ones([channels]), tf.zeros([channels]), tf.constant([], tf.float32)
    with tf1.get_default_graph().gradient_override_map({"FusedBatchNormV3": "FoldFusedBatchNormGrad"}):
        _, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(x=y, scale=ones, offset=zeros, mean=empty, variance=empty)
    return mean, variance * (n - 1.0) / n


def four_axes(y: Any) -> Statistics:
    mean = tf.reduce_mean(y, (0, 1, 2))
    return mean, tf.reduce_mean(tf.math.squared_difference(y, tf.stop_gradient(mean)), (0, 1, 2))


def rows(y: Any) -> Statistics:
    y = _rows(y)
    mean = tf.reduce_mean(y, 0)
    return mean, tf.reduce_mean(tf.math.squared_difference(y, tf.stop_gradient(mean)), 0)


def rows_square(y: Any) -> Statistics:
    y = _rows(y)
    mean = tf.reduce_mean(y, 0)
    return mean, tf.reduce_mean(tf.square(y - tf.stop_gradient(mean)), 0)


def matmul(y: Any) -> Statistics:
    y = _rows(y)
    mean = _product(y)
    return mean, _product(tf.math.squared_difference(y, tf.stop_gradient(mean)))


def matmul_mul(y: Any) -> Statistics:
    y = _rows(y)
    mean = _product(y)
    centred = y - tf.stop_gradient(mean)
    return mean, _product(centred * centred)


def mixed(y: Any) -> Statistics:
    y = _rows(y)
    mean = _product(y)
    return mean, tf.reduce_mean(tf.math.squared_difference(y, tf.stop_gradient(mean)), 0)


def rows_sums(y: Any) -> Statistics:
    y = _rows(y)
    return _sums(y, lambda x: tf.reduce_sum(x, 0))


def four_axes_sums(y: Any) -> Statistics:
    return _sums(y, lambda x: tf.reduce_sum(x, (0, 1, 2)))


def bias_sums(y: Any) -> Statistics:
    return _sums(y, lambda x: tf.raw_ops.BiasAddGrad(out_backprop=x))


def matmul_sums(y: Any) -> Statistics:
    y = _rows(y)
    row = tf.ones(tf.concat([[1], tf.shape(y)[:1]], 0))
    return _sums(y, lambda x: tf.reshape(tf.matmul(row, x), [-1]))


def _sums(y: Any, total: Callable[[Any], Any]) -> Statistics:
    fraction = tf.cast(y.shape[-1], tf.float32) / tf.cast(tf.size(y), tf.float32)
    mean = total(y) * fraction
    centred = y - tf.stop_gradient(mean)
    variance = total(centred * tf.stop_gradient(centred)) * fraction
    return mean, variance + (variance - tf.stop_gradient(variance))


def _rows(y: Any) -> Any:
    return tf.reshape(y, [-1, y.shape[-1]])


def _product(y: Any) -> Any:
    """The mean over the rows of float32[n, C], as [1, n] x [n, C]."""
    n = tf.shape(y)[:1]
    row = tf.fill(tf.concat([[1], n], 0), 1.0 / tf.cast(n[0], tf.float32))
    return tf.reshape(tf.matmul(row, y), [-1])


FORMS: dict[str, Callable[[Any], Statistics] | None] = {
    "convolution": None,
    "fused": fused,
    "4-d": four_axes,
    "rows": rows,
    "rows-square": rows_square,
    "matmul": matmul,
    "matmul-mul": matmul_mul,
    "mixed": mixed,
    "4-d-sums": four_axes_sums,
    "rows-sums": rows_sums,
    "bias-sums": bias_sums,
    "matmul-sums": matmul_sums,
}


def session_of(form: Callable[[Any], Statistics] | None, shape: list[int], threads: int) -> tuple[Any, Any, Any, Any]:
    """A session, what to run for the values, what to run for gradients too, and the gradient of y."""
    graph = tf.Graph()
    with graph.as_default():
        channels = shape[-1]
        random = np.random.RandomState(0)
        y = tf1.get_variable("y", initializer=random.uniform(-1, 1, shape).astype(np.float32)).read_value()
        if form is None:
            size = (3, 3, channels, channels)
            weights = tf1.get_variable("w", initializer=random.uniform(-0.1, 0.1, size).astype(np.float32))
            values: tuple[Any, ...] = (tf.nn.conv2d(y, weights, 1, "SAME"),)
            backward = tf.gradients(values, [y, weights], y)
        else:
            by_mean, by_variance = (tf.constant(random.uniform(-1, 1, channels).astype(np.float32)) for _ in range(2))
            values = form(y)
            backward = tf.gradients(values, y, [by_mean, by_variance])
        config = tf1.ConfigProto(inter_op_parallelism_threads=threads, intra_op_parallelism_threads=threads)
        session = tf1.Session(graph=graph, config=config)
        session.run(tf1.global_variables_initializer())
    # Operations themselves: grappler drops what stands only behind a group.
    forward = [value.op for value in values]
    return session, forward, [*forward, *(value.op for value in backward)], (*values, *backward)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shape", type=int, nargs=4, default=[16, 28, 28, 64], metavar=("N", "H", "W", "C"))
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    tf1.disable_eager_execution()
    runs = {name: session_of(form, options.shape, options.threads) for name, form in FORMS.items()}
    wanted = runs["4-d"][0].run(runs["4-d"][3])
    for name, (session, _, _, results) in runs.items():
        if FORMS[name] is not None:
            for got, want in zip(session.run(results), wanted, strict=True):
                np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-4 * np.abs(want).max(), err_msg=name)
    seconds: dict[tuple[str, int], list[float]] = {(name, which): [] for name in runs for which in (1, 2)}
    for step in range(options.steps + 5):
        for name, run in runs.items():
            for which in (1, 2):
                start = time.perf_counter()
                run[0].run(run[which])
                if step >= 5:
                    seconds[name, which].append(time.perf_counter() - start)
    medians = {key: statistics.median(values) * 1e3 for key, values in seconds.items()}
    print(f"TensorFlow {tf.__version__}, y float32{options.shape}, milliseconds")
    print(f"{'form':12} {'forward':>8} {'and gradient':>13}")
    for name in FORMS:
        print(f"{name:12} {medians[name, 1]:8.3f} {medians[name, 2]:13.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
