"""Folding a batch norm into the layer before it.

With W the weights, y = layer(x, W) [+ b], mu_b and v_b mean and biased variance of y over the batch, mu and v the
moving averages, s_b = sqrt(v_b + eps) and s = sqrt(v + eps) (Krishnamoorthi 2018, section 3.2; semantics.md, A3):

    moving statistics    layer(x, W * gamma / s) + beta - (mu - b) * gamma / s
    batch statistics     layer(x, W * gamma / s) * (s / s_b) + beta - (mu_b - b) * gamma / s_b

In training the weights are scaled by the moving statistics, so that they are quantized at the scale they will have at
inference; the factor s / s_b takes the difference back. Once frozen, mu_b and s_b are replaced by mu and s, the factor
becomes 1 and the moving averages stop. The unfolded layer stays in a training graph for the statistics alone. An eval
graph takes the moving statistics, whatever the batch norm's mode.

Statistics come from Mean and Square, whose gradients TensorFlow knows. A fused op would need a custom
gradient, because its own ignores what flows into its mean and variance outputs.
"""

from __future__ import annotations

from fqrewrite.errors import GraphError
from fqrewrite.ir.graph import Graph, Node, Value, split_tensor
from fqrewrite.match.batch_norm import batch_norm
from fqrewrite.match.layers import channel_axis
from fqrewrite.match.parameters import Parameters, static_shape
from fqrewrite.plans.items import FoldItem, MovingAverage, UniformOffset
from fqrewrite.proto.attrs import get_bool
from fqrewrite.transform import templates
from fqrewrite.transform.emitter import Emitter
from fqrewrite.transform.factors import Affine, Factors, ScaleShape, Site
from fqrewrite.transform.offsets import told_apart
from fqrewrite.transform.quantize import Mode


class Folded:
    """What a fold made: the scaled weights that are to be quantized, who reads them, and the result."""

    __slots__ = ("layer", "result", "weights")

    def __init__(self, weights: Value, layer: Node, result: Value) -> None:
        self.weights = weights
        self.layer = layer
        self.result = result


def fold(item: FoldItem, graph: Graph, emitter: Emitter, mode: Mode, uniform: UniformOffset | None = None) -> Folded:
    """Emits one fold, moves everything that read the batch norm to its result, and retires the batch norm.

    Args:
        item: the fold.
        graph: the source graph.
        emitter: where to.
        mode: "train" or "eval".
        uniform: with moving statistics, the offset where it is one number for all channels.
    """
    return _Fold(item, graph, emitter, mode, uniform).emit()


class _Fold:
    def __init__(
        self, item: FoldItem, graph: Graph, emitter: Emitter, mode: Mode, uniform: UniformOffset | None
    ) -> None:
        self.item = item
        self.uniform = uniform
        self.graph = graph
        self.emitter = emitter
        self.layer = graph.node(item.layer)
        self.norm = graph.node(item.norm)
        self.device = self.layer.proto.device
        self.weights = self.layer.inputs[item.weight_slot]
        self.prefix = f"{item.scope}/" if item.scope else ""
        self.trains = item.statistics == "batch" and mode == "train"
        self.mean, self.variance = self._statistics(mode)
        affine = Affine(gamma=self._value(item.gamma), beta=self._value(item.beta), bias=self._value(item.bias))
        parameters = [affine.gamma, affine.beta, affine.bias, self.mean, self.variance]
        site = Site(
            epsilon=item.epsilon,
            scale_shape=_scale_shape(self.layer, item.weight_slot, self.weights),
            channels=item.channels,
            nchw=item.data_format == "NCHW",
            nested=any(value is not None and _is_nested(value) for value in parameters),
            device=self.device,
        )
        self.factors = Factors(emitter, site, self._name("BatchNorm_Fold"), affine)

    def emit(self) -> Folded:
        item, emitter = self.item, self.emitter
        offset: Value | None
        ratio: Value | None
        if self.trains:
            scale, offset, ratio = self._batch()
        else:
            assert self.mean is not None and self.variance is not None, item.id
            moving = self.factors.moving(self.mean, self.variance, self.weights)
            scale, offset, ratio = moving.scale, moving.offset, None
            if item.form == "fused":  # in training mode, something may read the statistics of the batch
                self._redirect_statistics(self.mean, self.variance)
        product = emitter.add(templates.MUL, self._name("mul_fold"), self.weights, scale, device=self.device)
        inputs = list(self.layer.inputs)
        inputs[item.weight_slot] = product
        layer = emitter.editor.clone(self.layer, f"{item.layer}_Fold{item.suffix}", inputs)
        result = layer.value()
        for name in item.chain:
            node = self.graph.node(name)
            result = emitter.editor.clone(node, f"{name}_Fold{item.suffix}", (result, *node.inputs[1:])).value()
        if ratio is not None:
            result = emitter.add(templates.MUL, self._name("post_conv_mul"), result, ratio, device=self.device)
        assert offset is not None, item.id
        if self.uniform is not None:
            offset = told_apart(offset, self.uniform, self._name("BatchNorm_Fold_offset"), emitter, self.device)
        add = templates.bias_add(item.data_format)
        result = emitter.add(add, self._name("add_fold"), result, offset, device=self.device)
        self._retire(result)
        return Folded(product, layer, result)

    def _statistics(self, mode: Mode) -> tuple[Value | None, Value | None]:
        """What the batch norm normalises with in a mode; None for what a fused op computes itself."""
        item, graph = self.item, self.graph
        if item.statistics == "moving" or mode == "train":
            return self._value(item.mean), self._value(item.variance)
        assert item.moving_mean is not None and item.moving_variance is not None, item.id
        reads = (item.moving_mean.read, item.moving_variance.read)
        if all(split_tensor(read)[0] in graph for read in reads):
            return self._value(reads[0]), self._value(reads[1])
        # An inference graph may read the same variables by other nodes, and have been stripped of these.
        now = batch_norm(self.norm, Parameters())
        if now is None or now.training:
            raise GraphError("no-such-node", f"the graph has no node {reads[0]!r} or {reads[1]!r}", where=item.norm)
        return now.mean, now.variance

    def _batch(self) -> tuple[Value, Value, Value]:
        """(gamma / s, beta - (mu_b - b) * gamma / s_b, s / s_b); mu and s for mu_b and s_b once frozen."""
        item, freezes = self.item, self.item.freeze_delay is not None
        mean, variance = item.moving_mean, item.moving_variance
        assert mean is not None and variance is not None, item.id
        moving_mean = self.graph.value(mean.read) if freezes else None
        moving = self.factors.moving(moving_mean, self.graph.value(variance.read), self.weights)
        self._update_after(variance, moving.rsqrt.node)
        frozen = None
        if item.freeze_delay is not None and moving.offset is not None:
            frozen = self.emitter.step_reached(item.freeze_delay)
            self._update_after(mean, moving.offset.node)
            self._stop_update(mean, item.freeze_delay, "mean_update")
            self._stop_update(variance, item.freeze_delay, "variance_update")
        y = self.norm.inputs[0] if item.form == "fused" else None
        batch = self.factors.batch(moving, y, self.mean, self.variance, frozen)
        if batch.mean is not None and batch.unbiased_variance is not None:
            self._redirect_statistics(batch.mean, batch.unbiased_variance)
        return moving.scale, batch.offset, batch.ratio

    def _redirect_statistics(self, mean: Value, variance: Value) -> None:
        self.emitter.editor.redirect(Value(self.norm, 1).uses(), mean)
        self.emitter.editor.redirect(Value(self.norm, 2).uses(), variance)

    def _update_after(self, average: MovingAverage, reader: Node) -> None:
        """Lets a moving average be updated only after it was read."""
        read = self.graph.value(average.read)
        if average.update is not None and not average.ordered and not read.node.controls:
            self.emitter.editor.add_control(self.graph.node(average.update), reader)

    def _stop_update(self, average: MovingAverage, step: int, name: str) -> None:
        """Makes an update change nothing once the batch norm is frozen."""
        if average.update is None:
            return
        update = self.graph.node(average.update)
        amount = update.inputs[average.amount_slot]
        name = f"{self._name('BatchNorm_Fold')}/{name}"
        if average.absolute:
            frozen, read = self.emitter.step_reached(step), self.graph.value(average.read)
            kept = self.emitter.add(templates.SELECT, name, frozen, read, amount, device=self.device)
        else:
            going = self.emitter.step_not_reached(step)
            kept = self.emitter.add(templates.MUL, name, amount, going, device=self.device)
        self.emitter.editor.set_input(update, average.amount_slot, kept)

    def _retire(self, result: Value) -> None:
        """Moves the batch norm's readers to the result; what remains under its name hands the result on."""
        editor = self.emitter.editor
        if self.trains:
            for update in self._waited_for():
                editor.add_control(result.node, update)
        editor.redirect(self.norm.value().uses(), result)
        if not self.norm.uses:
            editor.become(self.norm, templates.IDENTITY, (result,))

    def _waited_for(self) -> list[Node]:
        """What the batch norm's own operations wait for: updates of its moving averages that are forced."""
        item = self.item
        ends = {item.gamma, item.beta, item.mean, item.variance, item.bias}
        around = {self.layer, *(self.graph.node(name) for name in item.chain)}
        seen, queue = {self.norm}, [self.norm]
        for node in queue:
            for value in node.inputs:
                if value.node not in seen and value.node not in around and str(value) not in ends:
                    seen.add(value.node)
                    queue.append(value.node)
        return list(dict.fromkeys(control for node in queue for control in node.controls))

    def _value(self, tensor: str | None) -> Value | None:
        return None if tensor is None else self.graph.value(tensor)

    def _name(self, name: str) -> str:
        return f"{self.prefix}{name}{self.item.suffix}"


def _scale_shape(layer: Node, slot: int, weights: Value) -> ScaleShape:
    """The shape in which float32[C] multiplies the weights' output channels."""
    if layer.op == "DepthwiseConv2dNative":
        shape = static_shape(weights)
        return shape[2:] if shape is not None and len(shape) == 4 and min(shape[2:]) > 0 else "from_weights"
    return (-1, 1) if channel_axis(layer, slot) == -2 else "as_is"


def _is_nested(value: Value) -> bool:
    """Whether a parameter is kept as [1, 1, 1, C], as an unfused batch norm may keep it."""
    shape = static_shape(value)
    return (shape is not None and len(shape) > 1) or get_bool(value.node.proto, "keep_dims", False)
