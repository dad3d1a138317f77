from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fqrewrite.errors import GraphError
from fqrewrite.ir.text import format_graph, parse
from fqrewrite.proto import GraphDef
from fqrewrite.proto.attrs import float_attr, get_ints, get_shape, get_str, get_type, int_attr, type_attr
from fqrewrite.proto.dtypes import DT_FLOAT, DT_HALF, DT_INT32, DT_INT64
from fqrewrite.proto.tensors import to_numpy, vector_tensor

MODEL = """\
x = Placeholder {shape: [?, 8, 8, 3]}
w = VariableV2 {container: "", shape: [3, 3, 3, 4]} @ /job:ps/task:0
w/read = Identity(w) {_class: ["loc:@w"]}
eps = Const {value: 0.001}
axes = Const {value: [0, 1, 2]}
y = Conv2D(x, w/read) {padding: VALID, strides: [1, 2, 2, 1]}
sm = Softmax(y)
bn = FusedBatchNormV3(y, g, b, m, v) {epsilon: 0.001, is_training: false}
init = NoOp
z = Relu6(bn:0, ^init) @ /device:CPU:0
h = Cast(z) {DstT: half}
phase = Merge(z, z:0, ^init) {T: half}
"""


def test_prints_what_it_reads() -> None:
    assert format_graph(parse(MODEL)) == MODEL


def test_comments_blanks_and_spaces_do_not_count() -> None:
    spaced = '\n# head\n  a=Const{value:"#1"}# "tail"\n\nb  =  Identity( a ,^a )  {T : string }  @ /cpu #\n'
    assert format_graph(parse(spaced)) == 'a = Const {value: "#1"}\nb = Identity(a, ^a) {T: string} @ /cpu\n'


def test_kinds_of_attributes() -> None:
    text = (
        'T: half, shape: [?, 2], n: 1, f: 1.0, b: false, s: SAME, q: "1", l: [1], e: [], r: [0.5, 1], '
        "_output_shapes: [[1, ?], []], Tin: [float, int64]"
    )
    node = parse(f"a = Foo {{{text}}}").node[0]
    lists = dict.fromkeys(("l", "e", "r", "_output_shapes", "Tin"), "list")
    assert {key: node.attr[key].WhichOneof("value") for key in node.attr} == lists | {
        "T": "type", "shape": "shape", "n": "i", "f": "f", "b": "b", "s": "s", "q": "s",
    }  # fmt: skip
    assert get_type(node, "T", None) == DT_HALF
    assert get_shape(node, "shape") == (-1, 2)
    assert get_str(node, "q", None) == "1"
    assert get_ints(node, "l", None) == (1,)
    assert list(node.attr["r"].list.f) == [0.5, 1.0]
    assert [len(shape.dim) for shape in node.attr["_output_shapes"].list.shape] == [2, 0]
    assert list(node.attr["Tin"].list.type) == [DT_FLOAT, DT_INT64]


def test_unknown_rank() -> None:
    node = parse("x = Placeholder {shape: ?}").node[0]
    assert node.attr["shape"].shape.unknown_rank
    assert format_graph(GraphDef(node=[node])) == "x = Placeholder {shape: ?}\n"


@pytest.mark.parametrize(
    ("written", "dtype", "elements"),
    [
        ("{value: 0.5}", "float32", 0.5),
        ("{value: -3}", "int32", -3),
        ("{value: true}", "bool", True),
        ("{value: [1, 2.5]}", "float32", [1.0, 2.5]),
        ("{value: [[1], [2]]}", "int32", [[1], [2]]),
        ("{value: 3, dtype: int64}", "int64", 3),
        ("{value: 1, dtype: half}", "float16", 1.0),
        ("{value: [inf, -inf]}", "float32", [float("inf"), float("-inf")]),
        ("{value: 2.0, shape: [2, 2]}", "float32", [[2.0, 2.0], [2.0, 2.0]]),
        ("{value: []}", "float32", []),
    ],
)
def test_constants(written: str, dtype: str, elements: object) -> None:
    tensor = parse(f"c = Const {written}").node[0].attr["value"].tensor
    array = to_numpy(tensor)
    assert (array.dtype.name, array.tolist()) == (dtype, elements)


def test_string_constants() -> None:
    one, two = parse('a = Const {value: "x y"}\nb = Const {value: [A, "b"]}').node
    assert list(one.attr["value"].tensor.string_val) == [b"x y"]
    assert list(two.attr["value"].tensor.string_val) == [b"A", b"b"]
    assert two.attr["value"].tensor.tensor_shape.dim[0].size == 2


def test_none_takes_a_default_away() -> None:
    node = parse("y = Conv2D(x, w) {T: none}").node[0]
    assert sorted(node.attr) == ["padding", "strides"]
    assert format_graph(GraphDef(node=[node])) == "y = Conv2D(x, w) {T: none}\n"


def test_number_of_inputs_is_a_default() -> None:
    node = parse("c = ConcatV2(a, b, axis, ^d)").node[0]
    assert node.attr["N"].i == 2


def test_constants_print_the_same_however_they_are_stored() -> None:
    stored = parse("c = Const {value: [1, 2, 2]}")
    stored.node[0].attr["value"].tensor.CopyFrom(vector_tensor([1, 2], DT_INT32))
    stored.node[0].attr["value"].tensor.tensor_shape.dim[0].size = 3
    assert format_graph(stored) == "c = Const {value: [1, 2, 2]}\n"


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("a", "not of the form"),
        ("a = ", "not of the form"),
        ("a = Add(x, y", "not of the form"),
        ("a = Add(x,, y)", "an input is empty"),
        ("a = Foo {key}", "the attribute 'key' has no value"),
        ("a = Foo {key: }", "a value is missing"),
        ("a = Foo {key: [1}", "a list is not closed"),
        ('a = Foo {key: "x}', "a quote is not closed"),
        ("a = Foo {n: 1 m: 2}", "'m' where a comma should be"),
        ("a = Foo {n: 1, n: 2}", "the attribute 'n' occurs twice"),
        ("a = Foo {T: floaty}", "'floaty' is no type"),
        ("a = Foo {shape: 1}", "1 is no shape"),
        ("a = Foo {shape: [a]}", "['a'] is no shape"),
        ("a = Foo {n: [1, a]}", "values of several kinds"),
        ("a = Const {value: [1, 2], shape: [2]}", "a Const with a shape takes one number"),
        ("a = Const {value: 3000000000}", "too large for int32"),
        ("a = Const {value: 1, dtype: resource}", "resource"),
    ],
)
def test_errors_have_the_line(line: str, what: str) -> None:
    with pytest.raises(GraphError) as caught:
        parse(f"x = NoOp\n{line}")
    assert caught.value.code == "graph-text-syntax"
    assert caught.value.where == "line 2"
    assert what in caught.value.what
    assert line.strip() in caught.value.what


def test_what_has_no_printed_form_is_refused() -> None:
    function, misplaced = parse("a = Foo"), parse("a = Foo")
    function.node[0].attr["f"].func.name = "body"
    misplaced.node[0].attr["shape"].CopyFrom(int_attr(1))  # would come back as a shape
    dtype = parse("a = Const {value: 1.0}")
    dtype.node[0].attr["dtype"].CopyFrom(type_attr(DT_INT32))  # is not its tensor's
    for graph_def in (function, misplaced, dtype):
        with pytest.raises(GraphError) as caught:
            format_graph(graph_def)
        assert caught.value.code == "graph-text-inexpressible"
        assert caught.value.where == "a"


@settings(max_examples=60, deadline=None)
@given(st.floats(width=32, allow_nan=False), st.text(max_size=8), st.integers(-(2**63), 2**63 - 1))
def test_values_come_back(number: float, text: str, integer: int) -> None:
    graph_def = parse("a = Foo")
    node = graph_def.node[0]
    node.attr["f"].CopyFrom(float_attr(number))
    node.attr["s"].s = text.encode()
    node.attr["i"].i = integer
    assert parse(format_graph(graph_def)) == graph_def
