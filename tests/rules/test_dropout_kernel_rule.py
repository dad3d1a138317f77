from __future__ import annotations

from planning import INPUT, conv, integer_plan, left_float, sites

DROPOUT = """
y = Relu(n/c/Conv2D)
shape = Const {value: [4]}
rate = Const {value: 0.5}
r = RandomUniform(shape)
keep = GreaterEqual(r, rate)
mask = Cast(keep) {SrcT: bool}
scaled = Mul(y, rate)
d = Mul(scaled, mask)
"""


def test_no_quantizers_inside() -> None:
    plan = integer_plan(INPUT + conv("n/c") + DROPOUT + "z = LeakyRelu(d)\n")
    assert set(sites(plan)) == {"x:0", "y:0", "z:0"}
    assert left_float(plan) == {}


def test_the_inference_graph_has_the_same_quantizers() -> None:
    inference = integer_plan(INPUT + conv("n/c") + "y = Relu(n/c/Conv2D)\nd = Identity(y)\nz = LeakyRelu(d)\n")
    assert sites(inference) == sites(integer_plan(INPUT + conv("n/c") + DROPOUT + "z = LeakyRelu(d)\n"))
