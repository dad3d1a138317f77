"""The offset of a batch norm, or a bias, where one number is added to all channels.

The converter (TensorFlow 2.21) takes a bias whose numbers are all the same for a scalar, and quantizes it with the
scale of the first channel, which is wrong for a convolution with a scale for each channel. One channel's is moved by a
millionth of it, which no integer shows.
"""

from __future__ import annotations

from fqrewrite.ir.graph import Graph, Value
from fqrewrite.match.parameters import is_constant
from fqrewrite.plans.items import UniformOffset
from fqrewrite.transform import templates
from fqrewrite.transform.emitter import Emitter

_LITTLE = 2.0**-20  # 8 of the last place: what one more rounding cannot undo


def told_apart(offset: Value, uniform: UniformOffset, name: str, emitter: Emitter, device: str) -> Value:
    """An offset whose numbers are not all the same.

    Args:
        offset: float32[C], one number.
        uniform: which, and how often.
        name: of the new node; must be free, with ``/little`` behind it too.
        emitter: where to.
        device: of the new nodes.
    """
    numbers = [uniform.offset * _LITTLE, *(0.0 for _ in range(uniform.channels - 1))]
    little = emitter.add(templates.vector(numbers), f"{name}/little", device=device)
    return emitter.add(templates.ADD, name, offset, little, device=device)


def tell_biases_apart(uniform: UniformOffset, graph: Graph, emitter: Emitter) -> None:
    """Does so with a bias: the constant operand of the addition `uniform.node`."""
    node = graph.node(uniform.node)
    slot = next(slot for slot, value in enumerate(node.inputs) if is_constant(value))
    bias = told_apart(node.inputs[slot], uniform, f"{node.name}/bias_offset", emitter, node.proto.device)
    emitter.editor.set_input(node, slot, bias)
