from __future__ import annotations

import pytest

from fqrewrite.errors import GraphError
from fqrewrite.ir.arity import check_arity
from fqrewrite.ir.graph import Graph
from fqrewrite.ir.text import parse


@pytest.mark.parametrize("text", ["x = Placeholder\ny = Add(x, x, ^x)\nz = Relu(y)", "x = AnOpOfMyOwn"])
def test_as_many_inputs_as_the_operation_takes(text: str) -> None:
    check_arity(Graph(parse(text)))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("y = Add(x)", "Add takes 2 inputs, this one has 1"),
        ("y = Relu", "Relu takes 1 input, this one has 0"),
        ("y = FusedBatchNormV3(x, x, x, x, x, x)", "FusedBatchNormV3 takes 5 inputs, this one has 6"),
    ],
)
def test_fewer_or_more_inputs_are_refused(line: str, said: str) -> None:
    with pytest.raises(GraphError) as caught:
        check_arity(Graph(parse(f"x = Placeholder\n{line}")))
    assert (caught.value.code, caught.value.where, caught.value.what) == ("wrong-number-of-inputs", "y", said)
