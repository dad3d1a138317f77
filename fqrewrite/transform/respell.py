"""Operations without integer kernels written as others that have one and compute the same.

AddN, Square and Neg keep every bit. A batch norm that no layer takes in computes y = x * f + o with one factor and one
offset per channel (`transform.fold` has the formula), and as a depthwise convolution of 1x1 with bias it keeps all but
the last bits. Its weights need no quantizer: the converter gives them one range per channel, and of a channel's
only weight 127 steps of 1/127 remain, which is exact. A training graph keeps the batch norm, whose statistics and
gradients TensorFlow knows; it has the same quantizers.
"""

from __future__ import annotations

from fqrewrite.errors import GraphError
from fqrewrite.ir.graph import Node, Value
from fqrewrite.match.batch_norm import FUSED_OPS, fused_batch_norm
from fqrewrite.match.parameters import Parameters
from fqrewrite.plans.items import UniformOffset
from fqrewrite.transform import templates
from fqrewrite.transform.emitter import Emitter
from fqrewrite.transform.factors import Affine, Factors, Site
from fqrewrite.transform.offsets import told_apart
from fqrewrite.transform.quantize import Mode


def respell(node: Node, emitter: Emitter, mode: Mode, uniform: UniformOffset | None = None) -> None:
    """Turns an AddN of two into an Add, a Square into a Mul, a Neg into a Mul by -1; in an eval graph, a batch norm.

    Args:
        node: the operation, whose name stays.
        emitter: where to.
        mode: "train" or "eval".
        uniform: of a batch norm whose offset is one number for all channels.

    Raises:
        GraphError: `plan-mismatch` for another operation, or a batch norm in training mode in an eval graph.
    """
    inputs = tuple(node.inputs)
    if node.op == "AddN" and len(inputs) == 2:
        emitter.editor.become(node, templates.ADD, inputs)
    elif node.op == "Square":
        emitter.editor.become(node, templates.MUL, inputs * 2)
    elif node.op == "Neg":
        minus_one = emitter.constant(-1.0, node.proto.device)
        emitter.editor.become(node, templates.MUL, (*inputs, minus_one))
    elif node.op in FUSED_OPS:
        if mode == "eval":
            _respell_batch_norm(node, emitter, uniform)
    else:
        what = f"the plan wants to write it in another way, which {node.op} has none of"
        raise GraphError("plan-mismatch", what, where=node.name)


def _respell_batch_norm(node: Node, emitter: Emitter, uniform: UniformOffset | None) -> None:
    norm = fused_batch_norm(node, Parameters())
    if norm is None or norm.training or norm.mean is None or norm.variance is None:
        what = "the plan wants it in inference mode, and it is in training mode"
        raise GraphError("plan-mismatch", what, where=node.name)
    device = node.proto.device
    # The filter is float32[1, 1, C, 1].
    site = Site(epsilon=norm.epsilon, scale_shape=(1, 1, -1, 1), channels=None, nchw=False, nested=False, device=device)
    factors = Factors(emitter, site, f"{node.name}/as_convolution", Affine(gamma=norm.gamma, beta=norm.beta, bias=None))
    moving = factors.moving(norm.mean, norm.variance, None)
    assert moving.offset is not None, node.name
    offset = moving.offset
    if uniform is not None:
        offset = told_apart(offset, uniform, f"{node.name}/as_convolution_offset", emitter, device)
    scaled = emitter.add(templates.DEPTHWISE_1X1, f"{node.name}/depthwise", norm.x, moving.scale, device=device)
    for port, statistic in ((1, norm.mean), (2, norm.variance)):
        emitter.editor.redirect(Value(node, port).uses(), statistic)
    emitter.editor.become(node, templates.bias_add("NHWC"), (scaled, offset))
