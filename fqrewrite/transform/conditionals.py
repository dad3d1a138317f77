"""Binding placeholders, and turning conditionals whose predicate is then known into what they come to.

A Switch becomes an Identity, which hands its tensor on to both sides; a Merge or Select becomes an Identity of the
side that is chosen. What is on the other side is read by nobody any more, and is still there: a plan may name it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from fqrewrite.ir.editor import Editor
from fqrewrite.ir.graph import Node, Value
from fqrewrite.ir.inline import resolve_if
from fqrewrite.match.conditionals import MERGE, Resolution
from fqrewrite.match.parameters import dtype_of
from fqrewrite.match.predicates import Scalar
from fqrewrite.proto.attrs import get_shape, tensor_attr, type_attr
from fqrewrite.proto.dtypes import DT_INT32
from fqrewrite.proto.tensors import filled_tensor
from fqrewrite.transform import templates


def bind(editor: Editor, values: Mapping[Node, Scalar | tuple[Scalar, ...]]) -> None:
    """Turns placeholders into constants of their own name, shape and dtype; whoever feeds them can still do so.

    Args:
        editor: of the graph.
        values: one value, which fills the shape, or all elements in a row.
    """
    for node, value in values.items():
        elements = value if isinstance(value, tuple) else (value,)
        shape = get_shape(node.proto, "shape")
        if shape is None or min(shape, default=0) < 0:
            shape = (len(elements),) if isinstance(value, tuple) else ()
        number = dtype_of(node)
        tensor = tensor_attr(filled_tensor(elements, number, shape))
        editor.become(node, templates.template("Const", dtype=type_attr(number), value=tensor), ())


def resolve(editor: Editor, known: Resolution, choices: Mapping[Node, Value]) -> None:
    """Turns conditionals with known predicates into what they come to; those of Ifs are inlined before.

    Consumers read what was chosen, as if there had never been a conditional. Its own nodes stay for those who name
    them, or wait for them.

    Args:
        editor: of the graph.
        known: its known predicates.
        choices: what each Merge and Select hands on.
    """
    passed = {**{node: node.inputs[0] for node in known.switches}, **choices}
    sources = {node: _source(value, passed) for node, value in passed.items()}
    for node, source in sources.items():
        if node.op in MERGE and (uses := Value(node, 1).uses()):
            index = templates.scalar(node.inputs.index(choices[node]), DT_INT32)
            editor.redirect(uses, editor.add(index, f"{node.name}/value_index").value())
        editor.redirect(list(node.uses), source)
    for node, source in sources.items():
        editor.become(node, templates.template("Identity", T=type_attr(dtype_of(node))), (source,))


def inline(editor: Editor, branches: Mapping[Node, bool]) -> list[Node]:
    """Replaces Ifs by the branch that is taken.

    Returns:
        The nodes that nothing reads any more: the Ifs, and the Identity by which TensorFlow hands on each output.
    """
    passed = []
    for node, taken in branches.items():
        resolve_if(editor, node, taken)
        own = re.compile(re.escape(node.name) + r"/Identity(_\d+)?$")
        identities = [user for user in editor.graph.by_op("Identity") if own.match(user.name) and not user.controls]
        for identity in identities:
            editor.redirect(list(identity.uses), identity.inputs[0])
        passed += [node, *identities]
    return passed


def _source(value: Value, passed: Mapping[Node, Value]) -> Value:
    """What a value is handed on from, through resolved nodes."""
    while value.node in passed:
        value = passed[value.node]
    return value
