"""Printed graphs are graphs to TensorFlow: the defaults are those that it insists on."""

from __future__ import annotations

import pytest

from fqrewrite.ir.text import parse

TEXT = """
x = Placeholder {shape: [?, 8, 8, 3]}
phase = Placeholder {dtype: bool, shape: []}
w = VariableV2 {shape: [3, 3, 3, 4]}
w/read = Identity(w)
v = VarHandleOp {shape: [4]}
v/read = ReadVariableOp(v)
start = Const {value: 0.5, shape: [4]}
v/assign = AssignVariableOp(v, start)
y = Conv2D(x, w/read)
one = Const {value: [1.0, 1.0, 1.0, 1.0]}
bn = FusedBatchNormV3(y, v/read, one, one, one) {is_training: false}
pool = MaxPool(bn)
switch = Switch(pool, phase)
relu = Relu6(switch:1)
merge = Merge(switch, relu)
axes = Const {value: [1, 2]}
mean = Mean(merge, axes) {keep_dims: false}
rows = Const {value: [-1, 4]}
flat = Reshape(mean, rows)
axis = Const {value: 1}
both = ConcatV2(flat, flat, axis)
shape = Const {value: [8]}
random = RandomUniform(shape)
keep = GreaterEqual(random, random)
mask = Cast(keep) {SrcT: bool}
dropped = Mul(both, mask)
low = Const {value: -1.0}
high = Const {value: 1.0}
quantized = FakeQuantWithMinMaxVars(dropped, low, high) {num_bits: 4}
half = Cast(quantized) {DstT: half}
out = Neg(half, ^v/assign) {T: half} @ /device:CPU:0
"""


def test_tensorflow_takes_it() -> None:
    tf = pytest.importorskip("tensorflow")
    graph_def = tf.compat.v1.GraphDef.FromString(parse(TEXT).SerializeToString())
    graph = tf.Graph()
    with graph.as_default():
        tf.import_graph_def(graph_def, name="")
    assert graph.get_tensor_by_name("out:0").dtype == tf.float16
    assert graph.get_tensor_by_name("both:0").shape.as_list() == [None, 8]
