"""The plan: frozen records that name places in the *source* graph, and nothing that lives only in memory.

A plan holds no mode. `train` and `eval` are two applications of the same plan, which is why the two graphs
have the same range variables. It is serialisable (`plans/serialise.py`), so it can be read, kept and applied later.

Tensors are written as TensorFlow does, ``node:port``; an edge as ``consumer:inSLOT``, e.g. ``conv1/Conv2D:in1``.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

SCHEMA_VERSION = 2

Statistics = Literal["batch", "moving"]
Role = Literal[
    "weights",
    "activation",
    "bypass_input",
    "bypass_output",
    "post_activation_bypass",
    "elementwise",
    "input",
    "constant",
]
Granularity = Literal["per_tensor", "per_channel"]
RangeSource = Literal["last_value", "ema", "constant"]
LeftOutKind = Literal["layer", "batch_norm", "tensor"]


class Scheme(msgspec.Struct, frozen=True, kw_only=True):
    """How a tensor is quantized (Jacob et al. 2018, section 3).

    Attributes:
        bits: number of bits, 2 to 8.
        symmetric: whether the range is symmetric around zero.
        narrow_range: whether the lowest of the 2^bits levels is unused, so that zero is exactly in the middle.
        granularity: one range for the tensor, or one for each output channel (the last axis).
    """

    bits: int
    symmetric: bool
    narrow_range: bool
    granularity: Granularity = "per_tensor"


def fake_quant_op(scheme: Scheme) -> str:
    """The op type of a quantizer, which is also the last component of its name."""
    per_channel = scheme.granularity == "per_channel"
    return "FakeQuantWithMinMaxVarsPerChannel" if per_channel else "FakeQuantWithMinMaxVars"


class RangeSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Where the range of a quantizer comes from.

    Attributes:
        source: "last_value" (of this step, weights), "ema" (zero-debiased moving average of batch extremes) or
            "constant" (`minimum` and `maximum` are known: weights that are constants, or fixed by the config).
        initial: (min, max) that the variables start from; unused with "constant".
        decay: decay of the moving average per step, in [0, 1); unused unless "ema".
        minimum: one float per tensor or per channel; only with "constant".
        maximum: as `minimum`.
    """

    source: RangeSource
    initial: tuple[float, float] = (-6.0, 6.0)
    decay: float = 0.999
    minimum: tuple[float, ...] = ()
    maximum: tuple[float, ...] = ()


class QuantizerItem(msgspec.Struct, frozen=True, kw_only=True):
    """One fake quantizer to insert.

    Attributes:
        id: stable identity within the plan, ``quantize:<scope>``.
        scope: the name scope of everything that is inserted: ``<scope>/FakeQuantWithMinMaxVars``, ``<scope>/min``.
        role: what the tensor is to the layer.
        layer: name of the layer's node; None for an elementwise op outside any layer.
        tensor: the source-graph tensor that is quantized; for folded weights the tensor of the unfolded weights,
            for the output of a fold the batch norm's output.
        edges: the consumer edges (``consumer:inSLOT``) that are moved to the quantized tensor; None means every
            consumer, present when the quantizer is inserted.
        fold: id of the fold whose product (weights) or result (activations) is what is really quantized.
        scheme, range: how, and from what range.
        weight_shape: shape of the weights with per-channel granularity; empty otherwise.
        depthwise: whether the weights are float32[H, W, C, M], whose C * M channels lie on the last two axes.
        delay: number of steps before the tensor is quantized in training.
        rule: name of the rule that decided it.
        because: the config rule that shaped it, ``file:line``, when one did.
        tied_with: scopes of the other quantizers of one range: each quantizes with the union of all their ranges.
        takes_name: whether the quantized tensor bears the name of the tensor, as outputs of the graph do.
        included: (min, max) that the range must hold beside: what a tensor of a fixed range brings into the union.
        function: the library function that the layer, or without one the tensor's node, stood in; "" for none.
    """

    id: str
    scope: str
    role: Role
    layer: str | None
    tensor: str
    edges: tuple[str, ...] | None
    fold: str | None
    scheme: Scheme
    range: RangeSpec
    weight_shape: tuple[int, ...] = ()
    depthwise: bool = False
    delay: int
    rule: str
    because: str | None = None
    tied_with: tuple[str, ...] = ()
    takes_name: bool = False
    included: tuple[float, float] = (0.0, 0.0)
    function: str = ""


class MovingAverage(msgspec.Struct, frozen=True, kw_only=True):
    """A moving statistic and the op that updates it.

    Attributes:
        read: tensor of the moving statistic as the update reads it, float32[C].
        update: name of the Assign-like node; None when nothing updates it.
        amount_slot: input slot of `update` that holds the new value (Assign) or the amount to subtract or add.
        absolute: whether that slot is the new value itself (Assign) and not a difference.
        ordered: whether `update` waits for `read` anyway.
    """

    read: str
    update: str | None = None
    amount_slot: int = 0
    absolute: bool = False
    ordered: bool = False


class FoldItem(msgspec.Struct, frozen=True, kw_only=True):
    """One batch norm to fold into the layer before it.

    Attributes:
        id: ``fold:<batch norm output>``.
        scope: name scope of the layer; new nodes are ``<scope>/mul_fold``, ``<layer>_Fold``, ``<scope>/add_fold`` and
            ``<scope>/BatchNorm_Fold/...``, each with `suffix` behind it when another fold took the plain names.
        layer: name of the Conv2D, DepthwiseConv2dNative or MatMul node.
        weight_slot: its input slot that holds the weights.
        chain: nodes between layer and batch norm, in order, that are cloned behind the folded layer.
        bias: tensor of a bias added between layer and batch norm, float32[C]; None without.
        norm: name of the node that computes the batch norm's output.
        output: the batch norm's output tensor.
        statistics: "batch" for a batch norm in training mode, "moving" for one in inference mode.
        gamma, beta: float32[C] tensors; None when the batch norm has none.
        mean, variance: the statistics the batch norm normalises with (its inputs or, with batch statistics of an
            unfused batch norm, the tensors that compute them); None when they come out of the fused op itself.
        epsilon: added to the variance.
        moving_mean, moving_variance: the moving averages; None for "moving" statistics.
        channels: number of output channels when it is known.
        data_format: "NHWC" or "NCHW" of the layer's output.
        freeze_delay: step from which moving statistics replace batch statistics; None for never.
        form: "fused" or "unfused".
        function: the library function that the layer stood in; "" for none.
    """

    id: str
    scope: str
    suffix: str
    layer: str
    weight_slot: int
    chain: tuple[str, ...]
    bias: str | None
    norm: str
    output: str
    statistics: Statistics
    gamma: str | None
    beta: str | None
    mean: str | None
    variance: str | None
    epsilon: float
    moving_mean: MovingAverage | None = None
    moving_variance: MovingAverage | None = None
    channels: int | None = None
    data_format: str = "NHWC"
    freeze_delay: int | None = None
    form: Literal["fused", "unfused"] = "fused"
    rule: str = ""
    function: str = ""


class UniformOffset(msgspec.Struct, frozen=True, kw_only=True):
    """What is added to the channels of a layer, where that is one number for all (`transform.offsets`).

    Attributes:
        node: name of the batch norm that adds it, or of the addition of a bias.
        offset: the number.
        channels: how many there are.
    """

    node: str
    offset: float
    channels: int


class LeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """Something a user could expect to be rewritten, and is not.

    Attributes:
        kind: a "layer", a "batch_norm" or a "tensor".
        name: node name, or ``node:port`` for a tensor.
        op: the node's op type.
        code: a code of kind "left-out" in `fqrewrite.codes.CODES`.
        reason: one sentence about this very place.
        remedy: what to do about it.
        because: the config rule that asked for it, ``file:line``, when one did.
        function: the library function that it stands in, or stood in; "" for none.
    """

    kind: LeftOutKind
    name: str
    op: str
    code: str
    reason: str
    remedy: str
    because: str | None = None
    function: str = ""


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """Something the user should know that concerns no single layer (a code of kind "note")."""

    code: str
    text: str


class Preparation(msgspec.Struct, frozen=True, kw_only=True):
    """What is done to the source graph before it is planned on.

    Attributes:
        bound: values of placeholders that the user set, by node name.
        phases: placeholders that switch between training and inference, by node name, with the value that means
            training.
        training: whether phases are bound to training in the graph that is planned on; False for a graph that updates
            no moving averages, which is an inference graph with a switch left in it.
        strip_training: whether gradients, optimizers and whatever else the outputs do not need are removed.
        thaw: whether constant weights and biases are turned into variables.
    """

    bound: dict[str, bool | int | float | str | tuple[bool | int | float | str, ...]] = {}
    phases: dict[str, bool] = {}
    training: bool = True
    strip_training: bool = False
    thaw: bool = False


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """What was done to a graph beside folding and quantizing.

    Attributes:
        bound: placeholders that became constants, with their values.
        phases: those among them that were recognised as switches between training and inference.
        conditionals: number of conditionals that were resolved.
        batch_norms: names of batch norms that were turned from training to inference.
        dropouts: tensors behind which a dropout was removed.
        thawed: constants that became variables.
        frozen: number of variables that became constants.
        removed: number of nodes removed, by kind.
        inlined: number of calls of library functions that were replaced by what they compute.
        stale: number of entries of collections and signatures removed with them, by collection.
        output_shapes: number of nodes whose `_output_shapes` attribute was dropped.
    """

    bound: dict[str, bool | int | float | str | tuple[bool | int | float | str, ...]] = {}
    phases: tuple[str, ...] = ()
    conditionals: int = 0
    batch_norms: tuple[str, ...] = ()
    dropouts: tuple[str, ...] = ()
    thawed: tuple[str, ...] = ()
    frozen: int = 0
    removed: dict[str, int] = {}
    stale: dict[str, int] = {}
    output_shapes: int = 0
    inlined: int = 0


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is decided about one graph.

    Attributes:
        schema_version: of this format.
        tool_version: of the fqrewrite that made it.
        source_sha256: of the input file's bytes; applying the plan to another file is refused.
        config: the configuration as resolved.
        outputs: the tensors that are the point of the graph, ``node:port``.
        folds, quantizers, left_out, notes: what is done, and what is not.
        respelled: names of operations without integer kernels that become others which compute the same: AddN of two
            inputs an Add, Square a Mul, Neg a Mul by -1; in the eval graph, a batch norm a depthwise convolution.
        uniform_offsets: batch norms and biases that would add one number to all channels; known when the eval graph
            is made.
        layers: number of quantizable layers seen.
        preparation: what is done to the graph before; names in the plan are those of the prepared graph.
    """

    schema_version: int = SCHEMA_VERSION
    tool_version: str
    source_sha256: str
    config: dict[str, Any]
    outputs: tuple[str, ...]
    resource_variables: bool
    folds: tuple[FoldItem, ...] = ()
    quantizers: tuple[QuantizerItem, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[Note, ...] = ()
    respelled: tuple[str, ...] = ()
    uniform_offsets: tuple[UniformOffset, ...] = ()
    layers: int = 0
    preparation: Preparation = Preparation()

    @property
    def is_empty(self) -> bool:
        """Whether no layer is quantized and, in integer placement, no operation either."""
        return not any(item.layer or item.role in ("activation", "input") for item in self.quantizers)
