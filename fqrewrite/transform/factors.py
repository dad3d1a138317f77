"""The factors of a fold, each float32[C], computed in two blocks (symbols as in `transform.fold`):

    moving block    1 / s,  gamma / s (shaped for the weights),  beta - (mu - b) * gamma / s
    batch block     mu_b, v_b * n / (n - 1),  s / s_b (shaped for the output),  beta - (mu_b - b) * gamma / s_b

They are apart because an update of the moving averages waits for the first, and the second may wait for that update.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from fqrewrite.ir.block import Block, BlockBuilder, parameter
from fqrewrite.ir.graph import Value
from fqrewrite.transform import templates
from fqrewrite.transform.emitter import Emitter

ScaleShape = tuple[int, ...] | Literal["as_is", "from_weights"]


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """What makes the blocks of one fold differ from another's, but for names and inputs.

    Attributes:
        epsilon: of the batch norm.
        scale_shape: shape of the factor of the weights; "from_weights" takes the last two sizes of theirs.
        channels: number of output channels; None when unknown.
        nchw: whether the output has its channels on axis 1.
        nested: whether the batch norm's parameters may be shaped [1, 1, 1, C].
        device: of the new nodes.
    """

    epsilon: float
    scale_shape: ScaleShape
    channels: int | None
    nchw: bool
    nested: bool
    device: str


class Affine(msgspec.Struct, frozen=True, kw_only=True):
    """The batch norm's gamma and beta and the layer's bias, float32[C] each; None without."""

    gamma: Value | None
    beta: Value | None
    bias: Value | None


class Moving(msgspec.Struct, frozen=True):
    """What the moving block exports; `offset` only where it was asked for."""

    scale: Value
    rsqrt: Value
    offset: Value | None


class Batch(msgspec.Struct, frozen=True):
    """What the batch block exports; the statistics only where it computes them itself."""

    offset: Value
    ratio: Value
    mean: Value | None
    unbiased_variance: Value | None


class Factors:
    """Emits the blocks of one fold.

    Args:
        emitter: where to.
        site: the kind of fold.
        scope: of the new nodes.
        affine: the batch norm's parameters.
    """

    def __init__(self, emitter: Emitter, site: Site, scope: str, affine: Affine) -> None:
        self.emitter = emitter
        self.site = site
        self.scope = scope
        self.affine = affine

    def moving(self, mean: Value | None, variance: Value, weights: Value | None) -> Moving:
        """The moving block.

        Args:
            mean: mu, when the offset is wanted.
            variance: v.
            weights: of the layer; None unless the factor is to be shaped by them.
        """
        arguments = {"variance": variance, "weights": weights, "mean": mean, **self._affine()}
        given = {name: value for name, value in arguments.items() if value is not None}
        key = ("moving", self.site, tuple(given))
        record = _MovingRecorder(self.site, self.emitter, list(given)).record
        scale, rsqrt, *offset = self.emitter.insert(key, record, self.scope, list(given.values()))
        return Moving(scale, rsqrt, offset[0] if offset else None)

    def batch(
        self, moving: Moving, y: Value | None, mean: Value | None, variance: Value | None, frozen: Value | None
    ) -> Batch:
        """The batch block.

        Args:
            moving: what the moving block gave; with its offset when the batch norm can freeze.
            y: what the batch norm normalises, when the statistics are to be computed.
            mean, variance: mu_b and v_b, when the graph computes them already.
            frozen: bool[], whether moving statistics are to be used instead; None for never.
        """
        arguments = {
            "moving_rsqrt": moving.rsqrt, "moving_offset": moving.offset, "frozen": frozen,
            "y": y, "mean": mean, "variance": variance, **self._affine(),
        }  # fmt: skip
        given = {name: value for name, value in arguments.items() if value is not None}
        key = ("batch", self.site, tuple(given))
        record = _BatchRecorder(self.site, self.emitter, list(given)).record
        offset, ratio, *statistics = self.emitter.insert(key, record, self.scope, list(given.values()))
        return Batch(offset, ratio, *(statistics or (None, None)))

    def _affine(self) -> dict[str, Value | None]:
        return {"gamma": self.affine.gamma, "beta": self.affine.beta, "bias": self.affine.bias}


class _Recorder:
    kind: str
    """Of the block; both blocks lie in one scope."""

    def __init__(self, site: Site, emitter: Emitter, arguments: list[str]) -> None:
        self.site = site
        self.emitter = emitter
        self.builder = BlockBuilder(site.device)
        self.marks = {name: parameter(index) for index, name in enumerate(arguments)}
        self._flat: dict[str, str] = {}

    def vector(self, name: str) -> str:
        """An argument as float32[C]."""
        if not self.site.nested:
            return self.marks[name]
        if name not in self._flat:
            self._flat[name] = self.reshaped(f"{self.kind}_flat_{name}", self.marks[name], (-1,))
        return self._flat[name]

    def rsqrt(self, variance: str, kind: str) -> str:
        epsilon = self.constant(self.site.epsilon)
        total = self.builder.add(templates.ADD, f"{kind}_variance_epsilon", variance, epsilon)
        return self.builder.add(templates.RSQRT, f"{kind}_rsqrt", total)

    def scaled(self, rsqrt: str, kind: str) -> str:
        if "gamma" not in self.marks:
            return rsqrt
        return self.builder.add(templates.MUL, f"{kind}_scale", self.vector("gamma"), rsqrt)

    def offset(self, mean: str, scale: str, kind: str) -> str:
        add = self.builder.add
        if "bias" in self.marks:
            mean = add(templates.SUB, f"{kind}_mean_less_bias", mean, self.vector("bias"))
        shift = add(templates.MUL, f"{kind}_shift", mean, scale)
        beta = self.vector("beta") if "beta" in self.marks else self.constant(0.0)
        return add(templates.SUB, f"{kind}_offset", beta, shift)

    def constant(self, value: float) -> str:
        return self.emitter.constant(value, self.site.device).node.name

    def ints(self, values: tuple[int, ...]) -> str:
        return self.emitter.int_vector(values, self.site.device).node.name

    def reshaped(self, name: str, x: str, shape: tuple[int, ...]) -> str:
        return self.builder.add(templates.RESHAPE, name, x, self.ints(shape))


class _MovingRecorder(_Recorder):
    kind = "moving"

    def record(self) -> Block:
        rsqrt = self.rsqrt(self.vector("variance"), "moving")
        scale = self.scaled(rsqrt, "moving")
        exports = [self._weight_shaped(scale), rsqrt]
        if "mean" in self.marks:
            exports.append(self.offset(self.vector("mean"), scale, "moving"))
        return self.builder.build(*exports)

    def _weight_shaped(self, scale: str) -> str:
        shape, add = self.site.scale_shape, self.builder.add
        if shape == "as_is":
            return scale
        if shape == "from_weights":
            from_two = self.ints((2,))
            sizes = add(templates.SHAPE, "weights_shape", self.marks["weights"])
            sizes = add(templates.SLICE, "channels_multiplier", sizes, from_two, from_two)
            return add(templates.RESHAPE, "scale_reshape", scale, sizes)
        return self.reshaped("scale_reshape", scale, shape)


class _BatchRecorder(_Recorder):
    kind = "batch"

    def record(self) -> Block:
        add = self.builder.add
        exports: list[str] = []
        if "y" in self.marks:
            mean, variance, *exports = self._statistics(self.marks["y"])
        else:
            mean, variance = self.vector("mean"), self.vector("variance")
        rsqrt = self.rsqrt(variance, "batch")
        offset = self.offset(mean, self.scaled(rsqrt, "batch"), "batch")
        if "frozen" in self.marks:
            frozen = self.marks["frozen"]
            offset = add(templates.SELECT, "offset_now", frozen, self.marks["moving_offset"], offset)
            rsqrt = add(templates.SELECT, "rsqrt_now", frozen, self.marks["moving_rsqrt"], rsqrt)
        ratio = add(templates.DIV, "ratio", rsqrt, self.marks["moving_rsqrt"])
        if self.site.nchw:
            ratio = self.reshaped("ratio_nchw", ratio, (-1, 1, 1))
        return self.builder.build(offset, ratio, *exports)

    def _statistics(self, y: str) -> tuple[str, str, str, str]:
        """mu_b and v_b of float32[..., C] or float32[N, C, H, W]; then mu_b and v_b * n / (n - 1) without gradients.

        The last two are what a fused batch norm gives to its moving averages, n being the number of elements in a
        channel; it too lets no gradient through them. With e = n * C elements in all the last is
        v_b * e / max(e - C, C), which for n = 1 is v_b, as the fused op has it.
        """
        add, channels = self.builder.add, self.site.channels
        axes: tuple[int, ...] = (0, 2, 3) if self.site.nchw else (0, 1, 2)
        if channels is not None and not self.site.nchw:
            # Over a [N*H*W, C] view, values and gradients cost a tenth less than over four axes, and a Square of the
            # difference another tenth less than SquaredDifference, whose gradient takes the difference again
            # (scripts/bench_statistics.py).
            y, axes = self.reshaped("rows", y, (-1, channels)), (0,)
        mean = add(templates.MEAN, "mean", y, self.ints(axes))
        centre = still_mean = add(templates.STOP_GRADIENT, "centre", mean)
        if self.site.nchw:
            centre = self.reshaped("centre_nchw", centre, (-1, 1, 1))
        squares = add(templates.SQUARE, "squares", add(templates.SUB, "centred", y, centre))
        variance = add(templates.MEAN, "variance", squares, self.ints(axes))
        elements = add(templates.TO_FLOAT, "elements_float", add(templates.SIZE, "elements", y))
        if channels is not None:
            width = self.constant(float(channels))
        else:
            width = add(templates.TO_FLOAT, "channels_float", add(templates.SIZE, "channels", mean))
        others = add(templates.SUB, "other_elements", elements, width)
        others = add(templates.MAXIMUM, "at_least_channels", others, width)
        bessel = add(templates.DIV, "bessel", elements, others)
        still_variance = add(templates.STOP_GRADIENT, "still_variance", variance)
        return mean, variance, still_mean, add(templates.MUL, "unbiased_variance", still_variance, bessel)
