"""Which functions compute the same."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import text_format

from fqrewrite.ir.functions import functions_of
from fqrewrite.outline.equivalent import Equivalence, Same
from fqrewrite.outline.records import SavedObjectGraph
from fqrewrite.proto import GraphDef

_ARGUMENTS = 'input_arg { name: "a" type: DT_FLOAT } input_arg { name: "b" type: DT_FLOAT }'
_HANDLE = 'input_arg { name: "w" type: DT_RESOURCE }'
_TWO = 'output_arg { name: "p" type: DT_FLOAT } output_arg { name: "q" type: DT_FLOAT }'
_READ = 'node_def { name: "r" op: "ReadVariableOp" input: "w" }'
_SUB = 'node_def { name: "s" op: "Sub" input: "a" input: "b" }'
_MUL = 'node_def { name: "m" op: "Mul" input: "s:z:0" input: "r:value:0" }'
_RETURN = 'ret { key: "p" value: "m:z:0" } ret { key: "q" value: "s:z:0" }'
_ADD = 'node_def { name: "t" op: "AssignAddVariableOp" input: "w" input: "a" } control_ret { key: "t" value: "t" }'


def _call(inputs: str, function: str = "signature") -> str:
    return (
        f'node_def {{ name: "c" op: "StatefulPartitionedCall" {inputs} '
        f'attr {{ key: "f" value {{ func {{ name: "{function}" }} }} }} attr {{ key: "Tout" '
        "value { list { type: DT_FLOAT type: DT_FLOAT } } } }"
    )


def _equivalence(function: str, bound: int = 7) -> Equivalence:
    """Compares `function` with one that returns ``((a - b) * w, a - b)``."""
    signature = f'signature {{ name: "signature" {_ARGUMENTS} {_HANDLE} {_TWO} }} {_READ} {_SUB} {_MUL} {_RETURN}'
    library = f"library {{ function {{ {signature} }} function {{ {function} }} }}"
    objects = SavedObjectGraph()
    objects.concrete_functions["signature"].bound_inputs.append(7)
    objects.concrete_functions["other"].bound_inputs.append(bound)
    graph_def: Any = text_format.Parse(library, GraphDef())
    return Equivalence(objects, functions_of(graph_def))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Another name for each node, and a call between.
        (
            f'signature {{ name: "other" {_ARGUMENTS} {_HANDLE} {_TWO} }}'
            + _call('input: "a" input: "b" input: "w"')
            + 'node_def { name: "i" op: "Identity" input: "c:output:1" }'
            + 'ret { key: "p" value: "c:output:0" } ret { key: "q" value: "i:output:0" }',
            Same((0, 1), (0, 1)),
        ),
        # Arguments in another order, with their names; only one output.
        (
            'signature { name: "other" input_arg { name: "b" type: DT_FLOAT } input_arg { name: "a" type: DT_FLOAT }'
            + f' {_HANDLE} output_arg {{ name: "q" type: DT_FLOAT }} }} {_SUB} ret {{ key: "q" value: "s:z:0" }}',
            Same((1, 0), (1,)),
        ),
        # Other names: by position.
        (
            'signature { name: "other" input_arg { name: "x" type: DT_FLOAT } input_arg { name: "y" type: DT_FLOAT }'
            + f' {_HANDLE} output_arg {{ name: "q" type: DT_FLOAT }} }}'
            + 'node_def { name: "s" op: "Sub" input: "x" input: "y" } ret { key: "q" value: "s:z:0" }',
            Same((0, 1), (1,)),
        ),
    ],
)
def test_the_same_in_other_words(text: str, expected: Same) -> None:
    assert _equivalence(text).same("other", "signature") == expected


def _other(body: str, arguments: str = _ARGUMENTS) -> str:
    return f'signature {{ name: "other" {arguments} {_HANDLE} {_TWO} }} {body}'


@pytest.mark.parametrize(
    "text",
    [
        _other(_READ + _SUB.replace("Sub", "AddV2") + _MUL + _RETURN),
        _other(_READ + _SUB.replace('input: "a" input: "b"', 'input: "b" input: "a"') + _MUL + _RETURN),
        _other(_READ + _SUB + _MUL + _RETURN + _ADD),  # an effect more
        _other(_READ + _SUB + _MUL + _RETURN, 'input_arg { name: "a" type: DT_FLOAT }'),  # malformed: no b
        _other(
            _call('input: "a" input: "b" input: "w"', "other") + 'ret { key: "p" value: "c:output:0" } '
            'ret { key: "q" value: "c:output:1" }'
        ),  # calls itself
    ],
)
def test_not_the_same(text: str) -> None:
    assert _equivalence(text).same("other", "signature") is None


def test_other_variables() -> None:
    text = _other(_READ + _SUB + _MUL + _RETURN)
    assert _equivalence(text).same("other", "signature") == Same((0, 1), (0, 1))
    assert _equivalence(text, bound=8).same("other", "signature") is None


def test_functions_that_are_passed_count_by_what_they_do() -> None:
    """Branches of conditionals have other names in each trace."""
    branch = (
        "signature { name: %r input_arg { name: 'x' type: DT_FLOAT } output_arg { name: 'y' type: DT_FLOAT } } "
        "node_def { name: 'n' op: %r input: 'x' } ret { key: 'y' value: 'n:y:0' }"
    )
    function = (
        "signature { name: %r input_arg { name: 'a' type: DT_FLOAT } output_arg { name: 'p' type: DT_FLOAT } } "
        "node_def { name: 'i' op: 'While' input: 'a' attr { key: 'body' value { func { name: %r } } } "
        "attr { key: 'T' value { list { type: DT_FLOAT } } } } ret { key: 'p' value: 'i:output:0' }"
    )
    functions = [
        *(branch % entry for entry in (("one", "Exp"), ("two", "Exp"), ("three", "Log"))),
        *(function % entry for entry in (("f", "one"), ("g", "two"), ("h", "three"))),
    ]
    text = "library { " + " ".join(f"function {{ {entry} }}" for entry in functions) + " }"
    objects = SavedObjectGraph()
    for name in ("f", "g", "h"):
        objects.concrete_functions[name].SetInParent()
    equivalence = Equivalence(objects, functions_of(text_format.Parse(text, GraphDef())))
    assert equivalence.same("g", "f") == Same((0,), (0,))
    assert equivalence.same("h", "f") is None
