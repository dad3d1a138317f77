"""Signatures of TensorFlow 2 that compute the same as each other, as Keras exports them: `serve`, `serving_default`.

Each is a function of its own, with inputs of its own. Where one of them is chosen, the others go along: they get the
inputs and outputs of the chosen one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fqrewrite.errors import Refusal
from fqrewrite.ir.functions import functions_of
from fqrewrite.ir.graph import split_tensor
from fqrewrite.model.container import Model
from fqrewrite.model.saved_model_read import signature_keys
from fqrewrite.outline.equivalent import Equivalence, Same
from fqrewrite.outline.records import SignatureCall, signature_call


def join_signatures(model: Model) -> None:
    """Gives signatures that compute the same as a chosen one its tensors, in place.

    Args:
        model: of TensorFlow 2, its chosen signatures not inlined yet; of any other, nothing is done.
    """
    source = model.saved_model
    if source is None or not source.has_objects:
        return
    meta_graph = model.message
    others = [key for key in signature_keys(meta_graph) if key not in source.signatures]
    chosen = list(_calls(meta_graph, source.signatures)) if others else []
    if not chosen:
        return
    equivalence = Equivalence(meta_graph.object_graph_def, functions_of(meta_graph.graph_def))
    for other in _calls(meta_graph, others):
        for call in chosen:
            same = equivalence.same(other.function, call.function)
            if same is not None and _same_kinds(meta_graph, other, call, same):
                _join(meta_graph, other, call, same)
                model.edited = True
                break


def _calls(meta_graph: Any, keys: Any) -> Iterator[SignatureCall]:
    """The signatures that are calls, as TensorFlow 2 writes them."""
    for key in keys:
        try:
            yield signature_call(meta_graph, key)
        except Refusal:  # what was inlined, or something else
            continue


def _same_kinds(meta_graph: Any, other: SignatureCall, call: SignatureCall, same: Same) -> bool:
    """Whether two signatures take tensors of the same dtypes and shapes."""
    given = _kinds(meta_graph.signature_def[other.key].inputs)
    wanted = _kinds(meta_graph.signature_def[call.key].inputs)
    return all(
        given.get(split_tensor(other.inputs[number])) == wanted.get(split_tensor(call.inputs[index]), ())
        for index, number in enumerate(same.inputs)
    )


def _kinds(tensors: Any) -> dict[tuple[str, int], Any]:
    """Dtype and shape by tensor."""
    return {split_tensor(info.name): (info.dtype, info.tensor_shape) for info in tensors.values()}


def _join(meta_graph: Any, other: SignatureCall, call: SignatureCall, same: Same) -> None:
    definition = meta_graph.signature_def[other.key]
    pairs = ((other.inputs[number], call.inputs[index]) for index, number in enumerate(same.inputs))
    names = {split_tensor(own): split_tensor(tensor) for own, tensor in pairs}
    names |= {(other.call, port): (call.call, number) for port, number in enumerate(same.outputs)}
    for info in (*definition.inputs.values(), *definition.outputs.values()):
        own = split_tensor(info.name)
        info.name = ":".join(map(str, names.get(own, own)))
