"""Emitting one fake quantizer, with its range.

Ranges always hold zero (Jacob et al. 2018, section 3). With bmin, bmax the extremes of what is quantized:

    asymmetric         lo = min(bmin, 0),          hi = max(bmax, 0)
    symmetric          lo = min(bmin, bmax / r),   hi = max(bmax, bmin * r)     r = -1 narrow, -(2^b - 2) / 2^b wide

"last_value" takes lo and hi as they are. "ema" averages them over steps, with zero debias (semantics.md, A2):

    biased += (1 - d) * (value - biased)     local_step += 1     min := biased / (1 - d^local_step)

so that the first step uses the batch's own range. The quantizer reads a range after its update of this step.
"""

from __future__ import annotations

import struct
from typing import Literal

from fqrewrite.ir.graph import Node, Value
from fqrewrite.plan.items import QuantizerItem
from fqrewrite.transform import templates
from fqrewrite.transform.emitter import Emitter, Variable

Mode = Literal["train", "eval"]


def quantize(
    item: QuantizerItem, value: Value, edges: list[tuple[Node, int]], emitter: Emitter, mode: Mode, variable_device: str
) -> None:
    """Inserts a quantizer behind `value` and makes `edges` read it.

    Args:
        item: what to insert.
        value: float32 of any shape; the weights' own shape with per-channel granularity.
        edges: the (consumer, slot) pairs that are moved.
        emitter: where to add nodes.
        mode: "train" learns ranges, "eval" reads them.
        variable_device: device of the range variables.
    """
    quantized = _Quantizer(item, emitter, mode, value.node.proto.device, variable_device).emit(value)
    emitter.editor.redirect(edges, quantized)


class _Quantizer:
    def __init__(self, item: QuantizerItem, emitter: Emitter, mode: Mode, device: str, variable_device: str) -> None:
        self.item = item
        self.emitter = emitter
        self.editor = emitter.editor
        self.mode = mode
        self.device = device
        self.variable_device = variable_device
        self.per_channel = item.scheme.granularity == "per_channel"

    def emit(self, value: Value) -> Value:
        item, scheme = self.item, self.item.scheme
        # The per-channel op quantizes along the last axis; a depthwise filter has its channels on the last two.
        shape = item.weight_shape
        split = self.per_channel and self._channels() != shape[-1]
        x = value
        if split:
            x = self._reshape("channels_last", x, (shape[0], shape[1], 1, self._channels()))
        low, high = self._range(x)
        template = templates.fake_quant(scheme.bits, scheme.narrow_range, self.per_channel)
        quantized = self._add(template, template.op, x, low, high)
        if split:
            quantized = self._reshape("weights_shape", quantized, shape)
        if self.mode == "train" and item.delay > 0:
            active = self.emitter.step_reached(item.delay)
            quantized = self._add(templates.SELECT, "delayed_quant", active, quantized, value)
        return quantized

    def _range(self, x: Value) -> tuple[Value, Value]:
        spec = self.item.range
        if spec.source == "constant":
            return self._constant("min", spec.minimum), self._constant("max", spec.maximum)
        low, high = self._variable("min", spec.initial[0]), self._variable("max", spec.initial[1])
        if self.mode == "eval":
            return low.read, high.read
        batch_low, batch_high = self._batch_limits(x)
        if spec.source == "last_value":
            return (
                self.emitter.assign(low, "Assign", batch_low, self._name("AssignMinLast")),
                self.emitter.assign(high, "Assign", batch_high, self._name("AssignMaxLast")),
            )
        return self._moving_average(low, batch_low, "Min"), self._moving_average(high, batch_high, "Max")

    def _batch_limits(self, x: Value) -> tuple[Value, Value]:
        rows = (-1, self._channels()) if self.per_channel else (-1,)
        flat = self._reshape("flat", x, rows)
        axis = self.emitter.int_vector((0,), self.device)
        low = self._add(templates.MIN, "BatchMin", flat, axis)
        high = self._add(templates.MAX, "BatchMax", flat, axis)
        scheme = self.item.scheme
        if not scheme.symmetric:
            zero = self.emitter.constant(0.0, self.device)
            return self._add(templates.MINIMUM, "Minimum", low, zero), self._add(templates.MAXIMUM, "Maximum", high, zero)
        ratio = -1.0 if scheme.narrow_range else -((1 << scheme.bits) - 2) / (1 << scheme.bits)
        factor = self.emitter.constant(ratio, self.device)
        other_low = self._add(templates.DIV, "max_over_ratio", high, factor)
        other_high = self._add(templates.MUL, "min_times_ratio", low, factor)
        return (
            self._add(templates.MINIMUM, "Minimum", low, other_low),
            self._add(templates.MAXIMUM, "Maximum", high, other_high),
        )

    def _moving_average(self, variable: Variable, value: Value, end: str) -> Value:
        emitter = self.emitter
        # As tf.contrib.quantize rounds them: the rate is float32(1 - d), the decay float32(1 - rate).
        rate = _float32(1.0 - self.item.range.decay)
        decay = _float32(1.0 - rate)
        scope = f"Assign{end}Ema"
        own = f"{self.item.scope}/{variable.node.name}"
        zero = emitter.constant(0.0)
        biased = emitter.variable(f"{own}/biased", zero, device=self.variable_device)
        step = emitter.variable(f"{own}/local_step", zero, device=self.variable_device)
        device = self.variable_device
        difference = self._add(templates.SUB, f"{scope}/sub", biased.read, value)
        amount = self._add(templates.MUL, f"{scope}/mul", difference, emitter.constant(rate, self.device))
        average = emitter.assign(biased, "AssignSub", amount, self._name(f"{scope}/AssignSub"))
        count = emitter.assign(step, "AssignAdd", emitter.constant(1.0, device), self._name(f"{scope}/AssignAdd"))
        power = self._add(templates.POW, f"{scope}/Pow", emitter.constant(decay, self.device), count)
        weight = self._add(templates.SUB, f"{scope}/weight", emitter.constant(1.0, self.device), power)
        debiased = self._add(templates.DIV, f"{scope}/truediv", average, weight)
        return emitter.assign(variable, "Assign", debiased, self._name(scope))

    def _variable(self, end: str, initial: float) -> Variable:
        if not self.per_channel:
            start = self.emitter.constant(initial)
            return self.emitter.variable(self._name(end), start, device=self.variable_device)
        channels = self._channels()
        template = templates.vector([initial] * channels)
        start = self.emitter.add(template, self._name(f"{end}/Initializer/Const"), device=self.variable_device)
        return self.emitter.variable(self._name(end), start, shape=(channels,), device=self.variable_device)

    def _constant(self, end: str, values: tuple[float, ...]) -> Value:
        template = templates.vector(values) if self.per_channel else templates.scalar(values[0])
        return self._add(template, end)

    def _channels(self) -> int:
        shape, last = self.item.weight_shape, self.item.weight_shape[-1]
        return last * shape[2] if self.item.depthwise else last

    def _reshape(self, name: str, x: Value, shape: tuple[int, ...]) -> Value:
        return self._add(templates.RESHAPE, name, x, self.emitter.int_vector(shape, self.device))

    def _add(self, template: object, name: str, *inputs: Value) -> Value:
        return Value(self.editor.add(template, f"{self.item.scope}/{name}", inputs, device=self.device), 0)

    def _name(self, name: str) -> str:
        return f"{self.item.scope}/{name}"


def _float32(value: float) -> float:
    rounded: float = struct.unpack("<f", struct.pack("<f", value))[0]
    return rounded
