"""Emitting one fake quantizer, with its range.

Ranges always hold zero (Jacob et al. 2018, section 3). With bmin, bmax the extremes of what is quantized:

    asymmetric         lo = min(bmin, 0),          hi = max(bmax, 0)
    symmetric          lo = min(bmin, bmax / r),   hi = max(bmax, bmin * r)     r = -1 narrow, -(2^b - 2) / 2^b wide

"last_value" takes lo and hi as they are. "ema" averages them over steps, with zero debias (semantics.md, A2):

    biased += (1 - d) * (value - biased)     local_step += 1     min := biased / (1 - d^local_step)

so that the first step uses the batch's own range. The quantizer reads a range after its update of this step.

Tied quantizers use the union of their ranges: each its own after this step's update, the others' as they are when they
are read. Waiting for all updates would be a cycle, as some of the tied tensors are computed from others.
"""

from __future__ import annotations

import struct
from typing import Literal

import msgspec

from fqrewrite.ir.block import SCOPE, Block, BlockBuilder, BlockVariable, parameter
from fqrewrite.ir.graph import Node, Value
from fqrewrite.plans.items import QuantizerItem, RangeSpec, Scheme
from fqrewrite.transform import templates
from fqrewrite.transform.emitter import Emitter
from fqrewrite.transform.variables import add_variable, read_name, update_variable

Mode = Literal["train", "eval"]


def quantize(
    item: QuantizerItem,
    value: Value,
    edges: list[tuple[Node, int]],
    emitter: Emitter,
    mode: Mode,
    variable_device: str,
    tied: tuple[tuple[str, str], ...] = (),
) -> Value:
    """Inserts a quantizer behind `value`, makes `edges` read it, and returns its output.

    Args:
        item: what to insert.
        value: float32 of any shape; the weights' own shape with per-channel granularity.
        edges: the (consumer, slot) pairs that are moved.
        emitter: where to add nodes.
        mode: "train" learns ranges, "eval" reads them.
        variable_device: device of the range variables.
        tied: the tensors that hold min and max of the quantizers that share the range, see `range_tensors`.
    """
    kind = _Kind(
        mode=mode,
        scheme=item.scheme,
        range=item.range,
        weight_shape=item.weight_shape,
        depthwise=item.depthwise,
        delay=item.delay if mode == "train" else 0,
        device=value.node.proto.device,
        variable_device=variable_device,
        tied=tied,
        included=item.included,
    )
    (quantized,) = emitter.insert(kind, lambda: _Recorder(kind, emitter).record(), item.scope, (value,))
    emitter.editor.redirect(edges, quantized)
    return quantized


class _Kind(msgspec.Struct, frozen=True, kw_only=True):
    """All that makes one quantizer's subgraph differ from another's, but for names and input."""

    mode: Mode
    scheme: Scheme
    range: RangeSpec
    weight_shape: tuple[int, ...]
    depthwise: bool
    delay: int
    device: str
    variable_device: str
    tied: tuple[tuple[str, str], ...]
    included: tuple[float, float]


def range_tensors(item: QuantizerItem, *, resource: bool) -> tuple[str, str]:
    """The names of the tensors that hold a quantizer's own min and max.

    Args:
        item: the quantizer.
        resource: whether its variables are resource variables.
    """
    suffix = "" if item.range.source == "constant" else f"/{read_name(resource)}"
    return f"{item.scope}/min{suffix}", f"{item.scope}/max{suffix}"


class _Recorder:
    """Records the block of one kind of quantizer; what is quantized is its only parameter."""

    def __init__(self, kind: _Kind, emitter: Emitter) -> None:
        self.kind = kind
        self.emitter = emitter
        self.builder = BlockBuilder(kind.device)
        self.per_channel = kind.scheme.granularity == "per_channel"

    def record(self) -> Block:
        kind, scheme = self.kind, self.kind.scheme
        # The per-channel op quantizes along the last axis; a depthwise filter has its channels on the last two.
        shape = kind.weight_shape
        split = self.per_channel and self._channels() != shape[-1]
        x = parameter(0)
        if split:
            x = self._reshape("channels_last", x, (shape[0], shape[1], 1, self._channels()))
        low, high = self._shared(*self._range(x))
        template = templates.fake_quant(scheme.bits, scheme.narrow_range, self.per_channel)
        quantized = self.builder.add(template, template.op, x, low, high)
        if split:
            quantized = self._reshape("weights_shape", quantized, shape)
        if kind.delay > 0:
            active = self.emitter.step_reached(kind.delay).node.name
            quantized = self.builder.add(templates.SELECT, "delayed_quant", active, quantized, parameter(0))
        return self.builder.build(quantized)

    def _range(self, x: str) -> tuple[str, str]:
        spec = self.kind.range
        if spec.source == "constant":
            return self._fixed("min", spec.minimum), self._fixed("max", spec.maximum)
        low, high = self._range_variable("min", spec.initial[0]), self._range_variable("max", spec.initial[1])
        if self.kind.mode == "eval":
            return low.read, high.read
        batch_low, batch_high = self._batch_limits(x)
        if spec.source == "last_value":
            return (
                self._update(low, "Assign", batch_low, "AssignMinLast"),
                self._update(high, "Assign", batch_high, "AssignMaxLast"),
            )
        return self._moving_average(low, batch_low, "min"), self._moving_average(high, batch_high, "max")

    def _shared(self, low: str, high: str) -> tuple[str, str]:
        """The union of the own range with the others' and with what it must hold beside."""
        kind = self.kind
        # Constant ranges hold the others' already (`plans.ranges.share_ranges`).
        if kind.range.source == "constant" and kind.mode == "eval":
            return low, high
        ends = (("min", low, templates.MINIMUM, templates.MIN), ("max", high, templates.MAXIMUM, templates.MAX))
        shared = []
        for index, (end, own, of_two, of_all) in enumerate(ends):
            others = [pair[index] for pair in kind.tied]
            if kind.included[index]:
                others.append(self._constant(kind.included[index]))
            if len(others) > 1:
                packed = self.builder.add(templates.pack(len(others)), f"tied_{end}/stack", *others)
                axis = self.emitter.int_vector((0,), kind.device).node.name
                others = [self.builder.add(of_all, f"tied_{end}/all", packed, axis)]
            shared.append(self.builder.add(of_two, f"tied_{end}", own, *others) if others else own)
        return shared[0], shared[1]

    def _batch_limits(self, x: str) -> tuple[str, str]:
        add, scheme = self.builder.add, self.kind.scheme
        flat = self._reshape("flat", x, (-1, self._channels()) if self.per_channel else (-1,))
        axis = self.emitter.int_vector((0,), self.kind.device).node.name
        low = add(templates.MIN, "BatchMin", flat, axis)
        high = add(templates.MAX, "BatchMax", flat, axis)
        if scheme.symmetric:
            factor = self._constant(-1.0 if scheme.narrow_range else -((1 << scheme.bits) - 2) / (1 << scheme.bits))
            other_low = add(templates.DIV, "max_over_ratio", high, factor)
            other_high = add(templates.MUL, "min_times_ratio", low, factor)
        else:
            other_low = other_high = self._constant(0.0)
        return add(templates.MINIMUM, "Minimum", low, other_low), add(templates.MAXIMUM, "Maximum", high, other_high)

    def _moving_average(self, variable: BlockVariable, value: str, end: str) -> str:
        add = self.builder.add
        # As tf.contrib.quantize rounds them: the rate is float32(1 - d), the decay float32(1 - rate).
        rate = _float32(1.0 - self.kind.range.decay)
        decay = _float32(1.0 - rate)
        scope = f"Assign{end.capitalize()}Ema"
        biased = self._variable(f"{SCOPE}/{end}/biased", 0.0)
        step = self._variable(f"{SCOPE}/{end}/local_step", 0.0)
        difference = add(templates.SUB, f"{scope}/sub", biased.read, value)
        amount = add(templates.MUL, f"{scope}/mul", difference, self._constant(rate))
        average = self._update(biased, "AssignSub", amount, f"{scope}/AssignSub")
        count = self._update(step, "AssignAdd", self._constant(1.0), f"{scope}/AssignAdd")
        power = add(templates.POW, f"{scope}/Pow", self._constant(decay), count)
        weight = add(templates.SUB, f"{scope}/weight", self._constant(1.0), power)
        debiased = add(templates.DIV, f"{scope}/truediv", average, weight)
        return self._update(variable, "Assign", debiased, scope)

    def _range_variable(self, end: str, initial: float) -> BlockVariable:
        if not self.per_channel:
            return self._variable(end, initial)
        channels = self._channels()
        device = self.kind.variable_device
        start = self.builder.add(templates.vector([initial] * channels), f"{end}/Initializer/Const", device=device)
        resource = self.emitter.resource
        return add_variable(self.builder, end, start, resource=resource, shape=(channels,), device=device)

    def _variable(self, name: str, initial: float) -> BlockVariable:
        device, start = self.kind.variable_device, self.emitter.constant(initial).node.name
        return add_variable(self.builder, name, start, resource=self.emitter.resource, device=device)

    def _update(self, variable: BlockVariable, op: str, amount: str, name: str) -> str:
        return update_variable(self.builder, variable, op, amount, name, device=self.kind.variable_device)

    def _fixed(self, end: str, values: tuple[float, ...]) -> str:
        return self.builder.add(templates.vector(values) if self.per_channel else templates.scalar(values[0]), end)

    def _constant(self, value: float) -> str:
        return self.emitter.constant(value, self.kind.device).node.name

    def _channels(self) -> int:
        shape = self.kind.weight_shape
        return shape[-1] * shape[2] if self.kind.depthwise else shape[-1]

    def _reshape(self, name: str, x: str, shape: tuple[int, ...]) -> str:
        target = self.emitter.int_vector(shape, self.kind.device).node.name
        return self.builder.add(templates.RESHAPE, name, x, target)


def _float32(value: float) -> float:
    rounded: float = struct.unpack("<f", struct.pack("<f", value))[0]
    return rounded
