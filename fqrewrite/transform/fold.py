"""Folding a batch norm into the layer before it.

With W the weights, y = layer(x, W) [+ b], mu_b and v_b mean and biased variance of y over the batch, mu and v the moving
averages, s_b = sqrt(v_b + eps) and s = sqrt(v + eps) (Krishnamoorthi 2018, section 3.2; semantics.md, A3):

    moving statistics    layer(x, W * gamma / s) + beta - (mu - b) * gamma / s
    batch statistics     layer(x, W * gamma / s) * (s / s_b) + beta - (mu_b - b) * gamma / s_b

In training the weights are scaled by the moving statistics, so that they are quantized at the scale they will have at
inference; the factor s / s_b takes the difference back. Once frozen, mu_b and s_b are replaced by mu and s, the factor
becomes 1 and the moving averages stop. The unfolded layer stays in a training graph for the statistics alone.

Statistics come from Mean and SquaredDifference, whose gradients TensorFlow knows. A fused op would need a custom
gradient, because its own ignores what flows into its mean and variance outputs.
"""

from __future__ import annotations

from fqrewrite.ir.graph import Graph, Node, Value
from fqrewrite.match.parameters import read_variable, static_shape, transposed
from fqrewrite.plan.items import FoldItem, MovingAverage
from fqrewrite.proto.attrs import get_bool
from fqrewrite.transform import templates
from fqrewrite.transform.emitter import Emitter


class Folded:
    """What a fold made: the scaled weights that are to be quantized, who reads them, and the result."""

    __slots__ = ("layer", "result", "weights")

    def __init__(self, weights: Value, layer: Node, result: Value) -> None:
        self.weights = weights
        self.layer = layer
        self.result = result


def fold(item: FoldItem, graph: Graph, emitter: Emitter) -> Folded:
    """Emits one fold, moves everything that read the batch norm to its result, and retires the batch norm."""
    return _Fold(item, graph, emitter).emit()


class _Fold:
    def __init__(self, item: FoldItem, graph: Graph, emitter: Emitter) -> None:
        self.item = item
        self.graph = graph
        self.emitter = emitter
        self.layer = graph.node(item.layer)
        self.norm = graph.node(item.norm)
        self.device = self.layer.proto.device
        self.prefix = f"{item.scope}/" if item.scope else ""
        self.nested = any(self._is_nested(name) for name in (item.gamma, item.beta, item.mean, item.variance))
        self.gamma = self._flat(item.gamma, "gamma")
        self.beta = self._flat(item.beta, "beta")
        self.bias = self._flat(item.bias, "bias")

    def emit(self) -> Folded:
        item, layer = self.item, self.layer
        if item.statistics == "batch":
            inverse, offset, ratio = self._batch()
        else:
            inverse, offset = self._moving()
            ratio = None
        weights = layer.inputs[item.weight_slot]
        product = self.emitter.add(
            templates.MUL, self._outer("mul_fold"), weights, self._weight_shaped(inverse), device=self.device
        )
        folded = self._clone_layer(product)
        result = folded.value()
        for name in item.chain:
            node = self.graph.node(name)
            result = self.emitter.editor.clone(node, f"{name}_Fold{item.suffix}", (result, *node.inputs[1:])).value()
        if ratio is not None:
            result = self._add(templates.MUL, self._outer("post_conv_mul"), result, self._channel_shaped(ratio))
        result = self._add(templates.bias_add(item.data_format), self._outer("add_fold"), result, offset)
        self._retire(result)
        return Folded(product, folded, result)

    def _moving(self) -> tuple[Value, Value]:
        """(gamma / s, beta - (mu - b) * gamma / s), each float32[C]."""
        item = self.item
        if item.inverse is not None and item.offset is not None:
            inverse, offset = self._flat_value(item.inverse, "inverse"), self._flat_value(item.offset, "offset")
            return inverse, self._with_bias(offset, inverse)
        mean, variance = self._flat_value(item.mean, "mean"), self._flat_value(item.variance, "variance")
        inverse = self._scaled(self._rsqrt(variance, "moving"), "scale")
        return inverse, self._offset(mean, inverse, "moving")

    def _batch(self) -> tuple[Value, Value, Value]:
        """(gamma / s, beta - (mu_b - b) * gamma / s_b, s / s_b), each float32[C]; mu and s for mu_b and s_b once frozen."""
        item = self.item
        moving_variance = self._moving_average(item.moving_variance)
        rsqrt_moving = self._rsqrt(moving_variance, "moving")
        self._update_after(item.moving_variance, rsqrt_moving)
        if item.form == "fused":
            mean, variance = self._statistics()
            rsqrt = self._rsqrt(variance, "batch")
        else:
            mean = self._flat_value(item.mean, "mean")
            rsqrt = self._flat_value(item.rsqrt, "rsqrt")
        inverse = self._scaled(rsqrt_moving, "scale")
        if item.offset is not None and item.inverse is not None:
            offset = self._with_bias(self._flat_value(item.offset, "offset"), self._flat_value(item.inverse, "inverse"))
        else:
            offset = self._offset(mean, self._scaled(rsqrt, "scale_batch"), "batch")
        if item.freeze_delay is not None:
            frozen = self.emitter.step_reached(item.freeze_delay)
            offset_moving = self._offset(self._moving_average(item.moving_mean), inverse, "moving")
            self._update_after(item.moving_mean, offset_moving)
            offset = self._add(templates.SELECT, self._inner("offset_now"), frozen, offset_moving, offset)
            rsqrt = self._add(templates.SELECT, self._inner("rsqrt_now"), frozen, rsqrt_moving, rsqrt)
            self._stop_update(item.moving_mean, item.freeze_delay)
            self._stop_update(item.moving_variance, item.freeze_delay)
        ratio = self._add(templates.DIV, self._inner("ratio"), rsqrt, rsqrt_moving)
        return inverse, offset, ratio

    def _statistics(self) -> tuple[Value, Value]:
        """(mu_b, v_b) of what a fused batch norm normalises; its moving averages read them from now on."""
        y = self.norm.inputs[0]
        channels = self.item.channels
        if self.item.data_format == "NCHW":
            axes = (0, 2, 3)
        elif channels is not None:
            # Over a [N*H*W, C] view the reductions cost a fifth less than over four axes (scripts/bench_statistics.py).
            shape = self.emitter.int_vector((-1, channels), self.device)
            y = self._add(templates.RESHAPE, self._inner("rows"), y, shape)
            axes = (0,)
        else:
            axes = (0, 1, 2)
        over = self.emitter.int_vector(axes, self.device)
        mean = self._add(templates.MEAN, self._inner("mean"), y, over)
        centre = self._add(templates.STOP_GRADIENT, self._inner("centre"), mean)
        if len(axes) > 1 and self.item.data_format == "NCHW":
            centre = self._add(
                templates.RESHAPE, self._inner("centre_nchw"), centre, self.emitter.int_vector((-1, 1, 1), self.device)
            )
        squares = self._add(templates.SQUARED_DIFFERENCE, self._inner("squares"), y, centre)
        variance = self._add(templates.MEAN, self._inner("variance"), squares, over)
        editor = self.emitter.editor
        editor.redirect(Value(self.norm, 1).uses(), mean)
        unbiased = Value(self.norm, 2).uses()
        if unbiased:
            editor.redirect(unbiased, self._unbiased(variance, y, mean))
        return mean, variance

    def _unbiased(self, variance: Value, y: Value, mean: Value) -> Value:
        """v_b * n / (n - 1), n the number of elements in a channel: what the fused op feeds the moving average.

        With e = n * C elements in all this is v_b * e / max(e - C, C), which for n = 1 is v_b, as the fused op has it.
        """
        elements = self._add(templates.SIZE, self._inner("elements"), y)
        elements = self._add(templates.TO_FLOAT, self._inner("elements_float"), elements)
        if self.item.channels is not None:
            channels = self.emitter.constant(float(self.item.channels), self.device)
        else:
            channels = self._add(templates.SIZE, self._inner("channels"), mean)
            channels = self._add(templates.TO_FLOAT, self._inner("channels_float"), channels)
        others = self._add(templates.SUB, self._inner("other_elements"), elements, channels)
        others = self._add(templates.MAXIMUM, self._inner("at_least_channels"), others, channels)
        bessel = self._add(templates.DIV, self._inner("bessel"), elements, others)
        return self._add(templates.MUL, self._inner("unbiased_variance"), variance, bessel)

    def _rsqrt(self, variance: Value, kind: str) -> Value:
        epsilon = self.emitter.constant(self.item.epsilon, self.device)
        total = self._add(templates.ADD, self._inner(f"{kind}_variance_epsilon"), variance, epsilon)
        return self._add(templates.RSQRT, self._inner(f"{kind}_rsqrt"), total)

    def _scaled(self, rsqrt: Value, name: str) -> Value:
        return rsqrt if self.gamma is None else self._add(templates.MUL, self._inner(name), self.gamma, rsqrt)

    def _offset(self, mean: Value, inverse: Value, kind: str) -> Value:
        if self.bias is not None:
            mean = self._add(templates.SUB, self._inner(f"{kind}_mean_less_bias"), mean, self.bias)
        shift = self._add(templates.MUL, self._inner(f"{kind}_shift"), mean, inverse)
        beta = self.beta if self.beta is not None else self.emitter.constant(0.0, self.device)
        return self._add(templates.SUB, self._inner(f"{kind}_offset"), beta, shift)

    def _with_bias(self, offset: Value, inverse: Value) -> Value:
        if self.bias is None:
            return offset
        scaled = self._add(templates.MUL, self._inner("scaled_bias"), self.bias, inverse)
        return self._add(templates.ADD, self._inner("offset_with_bias"), offset, scaled)

    def _moving_average(self, average: MovingAverage | None) -> Value:
        assert average is not None, self.item.id
        return self.graph.value(average.read)

    def _update_after(self, average: MovingAverage | None, reader: Value) -> None:
        """Lets a reference variable be updated only after it was read; a resource read is ordered by its update's data."""
        assert average is not None, self.item.id
        read = self.graph.value(average.read)
        variable = read_variable(read)
        plain = variable is not None and variable.op != "VarHandleOp" and not read.node.controls
        if plain and average.update is not None:
            self.emitter.editor.add_control(self.graph.node(average.update), reader.node)

    def _stop_update(self, average: MovingAverage | None, step: int) -> None:
        """Makes an update change nothing once the batch norm is frozen."""
        assert average is not None, self.item.id
        if average.update is None:
            return
        update = self.graph.node(average.update)
        amount = update.inputs[average.amount_slot]
        name = self._inner(f"{'mean' if average is self.item.moving_mean else 'variance'}_update")
        if average.absolute:
            frozen = self.emitter.step_reached(step)
            kept = self._add(templates.SELECT, name, frozen, self.graph.value(average.read), amount)
        else:
            kept = self._add(templates.MUL, name, amount, self.emitter.step_not_reached(step))
        self.emitter.editor.set_input(update, average.amount_slot, kept)

    def _weight_shaped(self, scale: Value) -> Value:
        """float32[C] shaped so that it multiplies the weights' output channels."""
        emitter, layer = self.emitter, self.layer
        if layer.op == "DepthwiseConv2dNative":
            weights = layer.inputs[self.item.weight_slot]
            shape = static_shape(weights)
            if shape is not None and len(shape) == 4 and min(shape[2:]) > 0:
                target = emitter.int_vector((shape[2], shape[3]), self.device)
            else:
                target = self._last_two_sizes(weights)
            return self._add(templates.RESHAPE, self._inner("scale_reshape"), scale, target)
        if layer.op == "MatMul" and transposed(layer, "b"):
            column = emitter.int_vector((-1, 1), self.device)
            return self._add(templates.RESHAPE, self._inner("scale_reshape"), scale, column)
        return scale

    def _last_two_sizes(self, weights: Value) -> Value:
        from_two = self.emitter.int_vector((2,), self.device)
        sizes = self._add(templates.SHAPE, self._inner("weights_shape"), weights)
        return self._add(templates.SLICE, self._inner("channels_multiplier"), sizes, from_two, from_two)

    def _channel_shaped(self, ratio: Value) -> Value:
        if self.item.data_format != "NCHW":
            return ratio
        shape = self.emitter.int_vector((-1, 1, 1), self.device)
        return self._add(templates.RESHAPE, self._inner("ratio_nchw"), ratio, shape)

    def _clone_layer(self, weights: Value) -> Node:
        inputs = list(self.layer.inputs)
        inputs[self.item.weight_slot] = weights
        return self.emitter.editor.clone(self.layer, f"{self.layer.name}_Fold{self.item.suffix}", inputs)

    def _retire(self, result: Value) -> None:
        """Moves the batch norm's readers to the result; what remains under its name hands the result on."""
        editor = self.emitter.editor
        editor.redirect(self.norm.value().uses(), result)
        if not self.norm.uses:
            editor.become(self.norm, templates.IDENTITY, (result,))

    def _flat(self, tensor: str | None, name: str) -> Value | None:
        return None if tensor is None else self._flat_value(tensor, name)

    def _flat_value(self, tensor: str | None, name: str) -> Value:
        """A parameter as float32[C]."""
        assert tensor is not None, self.item.id
        value = self.graph.value(tensor)
        shape = static_shape(value)
        if not self.nested or (shape is not None and len(shape) == 1):
            return value
        flat = self.emitter.int_vector((-1,), self.device)
        return self._add(templates.RESHAPE, self._inner(f"flat_{name}"), value, flat)

    def _is_nested(self, tensor: str | None) -> bool:
        """Whether a parameter is kept as [1, 1, 1, C], as an unfused batch norm may keep it."""
        if tensor is None:
            return False
        value = self.graph.value(tensor)
        shape = static_shape(value)
        return (shape is not None and len(shape) > 1) or get_bool(value.node.proto, "keep_dims", False)

    def _add(self, template: object, name: str, *inputs: Value) -> Value:
        return Value(self.emitter.editor.add(template, name, inputs, device=self.device), 0)

    def _outer(self, name: str) -> str:
        return f"{self.prefix}{name}{self.item.suffix}"

    def _inner(self, name: str) -> str:
        return f"{self.prefix}BatchNorm_Fold{self.item.suffix}/{name}"
