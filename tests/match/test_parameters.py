from __future__ import annotations

import pytest

from fqrewrite.ir.graph import Graph
from fqrewrite.ir.text import parse
from fqrewrite.match.layers import Layer
from fqrewrite.match.parameters import (
    Parameters,
    constant_float,
    constant_ints,
    dtype_of,
    is_constant,
    leaves,
    read_variable,
    static_shape,
    strip_identity,
    transposed,
    variables_of,
)
from fqrewrite.proto.dtypes import DT_FLOAT, DT_HALF, DT_INT32

TEXT = """
x = Placeholder {shape: [?, 4]}
old = Variable {shape: [4, 2]}
ref = VariableV2 {shape: [4, 2]}
ref/read = Identity(ref)
ref/again = Identity(ref/read)
handle = VarHandleOp {shape: [4, 2]}
handle/Read = ReadVariableOp(handle)
partition/0 = VariableV2 {shape: [4, 1]}
partition/0/read = Identity(partition/0)
partition/1 = VariableV2 {shape: [4, 1]}
partition/1/read = Identity(partition/1)
axis = Const {value: 1}
partition = ConcatV2(partition/0/read, partition/1/read, axis)
g = VariableV2 {shape: [2]}
squares = Square(ref/read)
norm = Sum(squares, axis)
inverse = Rsqrt(norm)
direction = Mul(ref/read, inverse)
normalised = Mul(direction, g)
low = Const {value: -1.0}
high = Const {value: 1.0}
own = FakeQuantWithMinMaxVars(ref/read, low, high)
frozen = Const {value: 0.5, shape: [4, 2]}
frozen/read = Identity(frozen)
cast = Cast(frozen) {DstT: half}
mask = Mul(ref/read, x)
predicate = Const {value: true}
switched = Switch(ref/read, predicate)
behind = Neg(switched:1)
loop = Enter(ref/read) {frame_name: f}
"""


@pytest.fixture
def graph() -> Graph:
    return Graph(parse(TEXT))


@pytest.mark.parametrize(
    ("tensor", "parameter"),
    [
        ("old", True),
        ("ref/again", True),
        ("handle/Read", True),
        ("partition", True),
        ("normalised", True),
        ("own", True),
        ("frozen/read", True),
        ("cast", True),
        ("x", False),
        ("mask", False),
        ("switched:1", False),
        ("behind", False),
        ("loop", False),
    ],
)
def test_parameters_depend_on_variables_and_constants_alone(graph: Graph, tensor: str, parameter: bool) -> None:
    assert Parameters().is_parameter(graph.value(tensor)) is parameter


def test_answers_do_not_depend_on_the_order_of_questions(graph: Graph) -> None:
    forwards, backwards = Parameters(), Parameters()
    one = {node.name: forwards.is_parameter(node.value()) for node in graph}
    two = {node.name: backwards.is_parameter(node.value()) for node in reversed(list(graph))}
    assert one == two


def test_while_loops_are_no_parameters() -> None:
    graph = Graph(parse("c = Const {value: 1.0}\nm = Merge(c, n)\nn = NextIteration(m)\nout = Neg(m)"))
    assert not Parameters().is_parameter(graph.value("out"))


def test_leaves_nearest_first(graph: Graph) -> None:
    assert [leaf.name for leaf in leaves(graph.value("normalised"))] == ["g", "ref", "axis"]
    assert [node.name for node in variables_of(graph.value("normalised"))] == ["g", "ref"]
    assert [node.name for node in variables_of(graph.value("partition"))] == ["partition/0", "partition/1"]
    assert [node.name for node in variables_of(graph.value("handle/Read"))] == ["handle"]


def test_only_frozen_weights_are_constant(graph: Graph) -> None:
    found = {name for name in ("cast", "frozen/read", "own", "partition") if is_constant(graph.value(name))}
    assert found == {"cast", "frozen/read"}


@pytest.mark.parametrize(
    ("tensor", "variable"),
    [
        ("ref", "ref"),
        ("ref/again", "ref"),
        ("handle/Read", "handle"),
        ("direction", None),
        ("frozen/read", None),
    ],
)
def test_plain_reads(graph: Graph, tensor: str, variable: str | None) -> None:
    found = read_variable(graph.value(tensor))
    assert (found.name if found else None) == variable


@pytest.mark.parametrize(
    ("tensor", "shape"),
    [
        ("ref/again", (4, 2)),
        ("handle/Read", (4, 2)),
        ("own", (4, 2)),
        ("frozen/read", (4, 2)),
        ("low", ()),
        ("x", (-1, 4)),
        ("partition", None),
        ("direction", None),
    ],
)
def test_static_shapes(graph: Graph, tensor: str, shape: tuple[int, ...] | None) -> None:
    assert static_shape(graph.value(tensor)) == shape


@pytest.mark.parametrize(
    ("line", "shape"),
    [
        ("y = Reshape(v, to)\nto = Const {value: [1, 1, 1, 4]}", (1, 1, 1, 4)),
        ("y = Reshape(v, to)\nto = Const {value: [2, -1]}", (2, 2)),
        ("y = Reshape(p, to)\nto = Const {value: [2, -1]}", (2, -1)),
        ("y = Reshape(p, to)\nto = Const {value: [3, 4]}", (3, 4)),
        ("y = Reshape(v, to)\nto = Const {value: [0, -1]}", (0, -1)),
        ("y = Reshape(v, v)", None),
        ("y = Squeeze(wide) {squeeze_dims: [0, 2]}", (1, 4)),
        ("y = Squeeze(wide) {squeeze_dims: [-2]}", (1, 1, 4)),
        ("y = Squeeze(wide)", (4,)),
        ("y = Squeeze(p)", None),
        ("y = Squeeze(unknown)", None),
        ("y = ExpandDims(v, axis)\naxis = Const {value: 0}", (1, 4)),
        ("y = ExpandDims(v, axis)\naxis = Const {value: -1}", (4, 1)),
        ("y = ExpandDims(v, axis)\naxis = Const {value: 5}", None),
        ("y = ExpandDims(unknown, axis)\naxis = Const {value: 0}", None),
        ("i = Identity(wide)\ny = Squeeze(i)", (4,)),
    ],
)
def test_static_shapes_of_what_is_reshaped(line: str, shape: tuple[int, ...] | None) -> None:
    text = "v = VariableV2 {shape: [4]}\nwide = VariableV2 {shape: [1, 1, 1, 4]}\np = Placeholder {shape: [?, 4]}\n"
    assert static_shape(Graph(parse(f"{text}unknown = Relu(v)\n{line}\n")).value("y")) == shape


def test_small_constants(graph: Graph) -> None:
    assert constant_float(graph.value("low")) == -1.0
    assert constant_float(graph.value("axis")) is None
    assert constant_float(graph.value("frozen")) is None
    assert constant_float(graph.value("ref/read")) is None
    assert constant_ints(graph.value("axis")) == (1,)
    assert constant_ints(graph.value("low")) is None
    assert strip_identity(graph.value("ref/again")) == graph.value("ref")


def test_dtypes() -> None:
    graph = Graph(parse("a = Neg(c) {T: half}\nb = Foo {T: none}\nc = Const {value: 1}\nd = Assign {T: float_ref}"))
    assert [dtype_of(node) for node in graph] == [DT_HALF, DT_FLOAT, DT_INT32, DT_FLOAT]


@pytest.mark.parametrize(
    ("line", "kind", "slot", "channels"),
    [
        ("Conv2D(x, w4)", "conv2d", 1, 6),
        ("DepthwiseConv2dNative(x, w4)", "depthwise", 1, 30),
        ("MatMul(x, w2)", "matmul", 1, 3),
        ("MatMul(x, w2) {transpose_b: true}", "matmul", 1, 2),
        ("MatMul(w2, x)", "matmul", 0, None),
        ("MatMul(w2, x) {transpose_a: true}", "matmul", 0, None),
        ("Conv2DBackpropInput(size, w4, x)", "transposed_conv2d", 1, 5),
        ("BatchMatMulV2(x, w3)", "batch_matmul", 1, 6),
        ("BatchMatMulV2(x, w3) {adj_y: true}", "batch_matmul", 1, 5),
        ("BatchMatMulV2(w3, x)", "batch_matmul", 0, None),
        ('Einsum(x, w2) {equation: "abc,cd->abd"}', "batch_matmul", 1, 3),
        ('Einsum(x, w2) {equation: "abc,dc->abd"}', "batch_matmul", 1, 2),
        ('Einsum(w2, x) {equation: "dc, ...c -> ...d"}', "batch_matmul", 0, 2),
        ('Einsum(x, w2) {equation: "abc,cd->adb"}', "batch_matmul", 1, None),
        ('Einsum(x, w3) {equation: "ab,cbd->adc"}', "batch_matmul", 1, None),
        ("Conv2D(x, unknown)", "conv2d", 1, None),
        ("DepthwiseConv2dNative(x, unknown)", "depthwise", 1, None),
        ("Conv2D(x, sum)", "conv2d", 1, None),
    ],
)
def test_layers_know_their_channels(line: str, kind: str, slot: int, channels: int | None) -> None:
    variables = "x = Placeholder\nsize = Const {value: [1]}\nw2 = VariableV2 {shape: [2, 3]}\n"
    variables += "w3 = VariableV2 {shape: [4, 5, 6]}\nw4 = VariableV2 {shape: [3, 3, 5, 6]}\n"
    variables += "unknown = VariableV2 {shape: [3, 3, ?, ?]}\nsum = Add(w4, w4)\n"
    node = Graph(parse(f"{variables}layer = {line}")).node("layer")
    layer = Layer(node, kind, slot)  # type: ignore[arg-type]
    assert layer.channels == channels
    assert not layer.constant


def test_layers_know_their_format_and_names() -> None:
    text = "x = Placeholder\nw = VariableV2 {shape: [1, 1, 1, 1]}\nr = Identity(w)\n"
    graph = Graph(parse(text + "c = Conv2D(x, r) {data_format: NCHW}\nm = MatMul(x, r) {data_format: NCHW}"))
    conv, matmul = Layer(graph.node("c"), "conv2d", 1), Layer(graph.node("m"), "matmul", 1)
    assert (conv.data_format, matmul.data_format) == ("NCHW", "NHWC")
    assert conv.names == ("c", "w")


def test_transposed_operands() -> None:
    node = parse("m = MatMul {transpose_b: true}")
    found = Graph(node).node("m")
    assert (transposed(found, "a"), transposed(found, "b")) == (False, True)


def test_what_is_taken_for_a_parameter() -> None:
    graph = Graph(parse(TEXT + "s = Sum(x, axis)\nt = Rsqrt(s)\nmixed = Mul(t, g)\nscaled = Mul(x, mixed)\n"))
    parameters = Parameters()
    names = ("s:0", "t:0", "mixed:0", "scaled:0")
    assert not any(parameters.is_parameter(graph.value(name)) for name in names)
    parameters.assume([graph.value("s:0")])
    assert [parameters.is_parameter(graph.value(name)) for name in names] == [True, True, True, False]
    assert parameters.is_parameter(graph.value("ref/read:0"))


@pytest.mark.parametrize(
    ("moved", "shape"),
    [
        ("Transpose(w, p)", (4, 2, 3)),
        ("Transpose(w, x)", None),
        ("ExpandDims(w, one)", (2, 1, 3, 4)),
        ("ExpandDims(w, last)", (2, 3, 4, 1)),
        ("Reshape(w, flat)", (6, 4)),
        ("Reshape(x, flat)", (-1, 4)),
        ("Squeeze(v)", (5,)),
        ("Squeeze(v) {squeeze_dims: [-1]}", (1, 5)),
        ("Squeeze(x) {squeeze_dims: [0]}", (4,)),
        ("Squeeze(x)", None),
        ("StridedSlice(w, zeros, p, ones)", (2, 0, 1)),
        ("StridedSlice(w, zeros, p, ones) {end_mask: 7, begin_mask: 7}", (2, 3, 4)),
        ("StridedSlice(w, zeros, p, twos) {end_mask: 7}", (1, 2, 2)),
        ("StridedSlice(w, zeros, p, ones) {end_mask: 4, shrink_axis_mask: 1, new_axis_mask: 2}", (1, 3, 4)),
        ("StridedSlice(w, zeros, p, ones) {ellipsis_mask: 2}", None),
        ("StridedSlice(w, one, one, one) {shrink_axis_mask: 1}", (3, 4)),
    ],
)
def test_shapes_behind_what_moves_numbers(moved: str, shape: tuple[int, ...] | None) -> None:
    text = "x = Placeholder {shape: [?, 4]}\nw = VariableV2 {shape: [2, 3, 4]}\nv = VariableV2 {shape: [1, 5, 1]}\n"
    numbers = {
        "p": [2, 0, 1],
        "one": [1],
        "last": [-1],
        "flat": [-1, 4],
        "zeros": [0] * 3,
        "ones": [1] * 3,
        "twos": [2] * 3,
    }
    text += "".join(f"{name} = Const {{value: {value}}}\n" for name, value in numbers.items())
    graph = Graph(parse(text + f"m = {moved}\ny = Identity(m)\n"))
    assert static_shape(graph.value("y")) == shape
