"""Ranges of an eval graph: which source wins, what counts as trained, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from planning import INPUT, conv, integer_plan

from configs import contrib, contrib_weights
from fqrewrite.config.records import ActivationSettings
from fqrewrite.errors import InputError, Refusal
from fqrewrite.ir.graph import Graph
from fqrewrite.ir.text import parse
from fqrewrite.plans.build import build_plan
from fqrewrite.plans.items import Plan
from fqrewrite.plans.ranges import RangeSources, ResolvedRanges, range_variables, resolve_ranges
from fqrewrite.plans.serialise import plan_from_json, plan_to_json

NET = f"{INPUT}{conv('a')}a/Relu = Relu(a/Conv2D)\nout = Neg(a/Relu)\n"
FROZEN = NET.replace(
    "VariableV2 {shape: [1, 1, 3, 4]}", "Const {value: [[[[1, 0, 0, 0], [-2, 3, 0, 0], [0, 0, 4, 0]]]]}"
)
STEP = "a/act_quant/a/act_quant/min/local_step"


def plan_of(text: str = NET, **settings: Any) -> Plan:
    return build_plan(Graph(parse(text)), contrib(**settings), source_sha256="0")


def variables(**values: object) -> dict[str, Any]:
    """A checkpoint's: `weights_min` is ``a/weights_quant/min``; trained ranges unless said otherwise."""
    found = {"weights_min": -1.5, "weights_max": 1.25, "act_min": 0, "act_max": 3.5, "step": 100, **values}
    names = {f"{kind}_{end}": f"a/{kind}_quant/{end}" for kind in ("weights", "act") for end in ("min", "max")}
    names["step"] = STEP
    return {names[key]: np.asarray(value, np.float32) for key, value in found.items() if value is not None}


def resolve(plan: Plan, text: str = FROZEN, **sources: Any) -> ResolvedRanges:
    if "checkpoint" in sources:
        sources["checkpoint_name"] = "ckpt-7"
    if "file" in sources:
        sources["file_name"] = "r.json"
    return resolve_ranges(plan, Graph(parse(text)), RangeSources(**sources))


def limits(found: ResolvedRanges, scope: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    (spec,) = (item.range for item in found.plan.quantizers if item.scope == scope)
    assert spec.source == "constant"
    return spec.minimum, spec.maximum


def origins(found: ResolvedRanges) -> dict[str, str]:
    return {key.removeprefix("quantize:a/"): origin for key, origin in found.origins.items()}


def test_trained_variables_of_a_checkpoint() -> None:
    plan = plan_of()
    assert range_variables(plan) == (
        "a/weights_quant/min", "a/weights_quant/max", "a/weights_quant/a/weights_quant/min/local_step",
        "a/act_quant/min", "a/act_quant/max", STEP,
    )  # fmt: skip
    found = resolve(plan, checkpoint=variables())
    assert limits(found, "a/weights_quant") == ((-1.5,), (1.25,))
    assert limits(found, "a/act_quant") == ((0.0,), (3.5,))
    assert origins(found) == {"weights_quant": "checkpoint", "act_quant": "checkpoint"}
    assert found.notes == ()
    assert plan_from_json(plan_to_json(found.plan), "p") == found.plan
    without = msgspec.structs.replace(found.plan, quantizers=plan.quantizers)
    assert without == plan


def test_who_goes_before_whom() -> None:
    fixed = {"a/Relu:0": (0.0, 1.0)}
    file = {"a/Relu:0": ((0.0,), (2.0,)), "a/w/read:0": ((-3.0,), (3.0,))}
    plan = plan_of(ranges=fixed)
    found = resolve(plan, file=file, checkpoint=variables())
    assert (limits(found, "a/act_quant"), limits(found, "a/weights_quant")) == (((0,), (1,)), ((-3,), (3,)))
    assert origins(found) == {"weights_quant": "ranges file", "act_quant": "config"}
    # The config of this run, with a plan that was made by another one.
    for made in (plan, plan_of()):
        found = resolve(made, file=file, checkpoint=variables(), config=contrib(ranges={"a/Relu:0": (0.0, 9.0)}))
        assert limits(found, "a/act_quant") == ((0,), (9,))
        assert found.origins["quantize:a/act_quant"] == "config"
    found = resolve(plan_of(), file=file, checkpoint=variables())
    assert limits(found, "a/act_quant") == ((0,), (2,))


def test_what_the_plan_noted_is_not_noted_again() -> None:
    config: dict[str, Any] = {"ranges": {"nowhere:0": (0.0, 1.0)}}
    plan = plan_of(**config)
    assert "range-unused" in [note.code for note in plan.notes]
    assert resolve(plan, checkpoint=variables(), config=contrib(**config)).notes == ()


@pytest.mark.parametrize(
    ("changed", "origin"),
    [
        ({"weights_min": -6, "weights_max": 6}, "weights"),
        ({"weights_min": -6}, "checkpoint"),
        ({"weights_max": None}, "weights"),
    ],
)
def test_weights_are_their_own_last_source(changed: dict[str, object], origin: str) -> None:
    found = resolve(plan_of(), checkpoint=variables(**changed))
    assert origins(found)["weights_quant"] == origin
    if origin == "weights":
        assert limits(found, "a/weights_quant") == ((-2,), (4,))


def test_weights_that_the_plan_knew_already() -> None:
    plan = plan_of(FROZEN)
    file = {"a/Relu:0": ((0.0,), (2.0,))}
    assert limits(resolve(plan, file=file), "a/weights_quant") == ((-2,), (4,))
    wide = {**file, "a/w/read:0": ((-9.0,), (9.0,))}
    assert limits(resolve(plan, file=wide), "a/weights_quant") == ((-9,), (9,))


def test_schemes_of_weights() -> None:
    settings = contrib_weights(granularity="per_channel", symmetric=True)
    found = resolve(plan_of(weights=settings), checkpoint=variables(weights_min=None))
    low, high = limits(found, "a/weights_quant")
    assert high == pytest.approx((2, 3, 4, 4e-4))
    assert low == tuple(-end for end in high)


@pytest.mark.parametrize("statistics", ["moving", "batch"])
@pytest.mark.parametrize("transposed", [False, True])
def test_folded_weights_are_scaled_by_moving_statistics(statistics: str, transposed: bool) -> None:
    """gamma / sqrt(variance) = [1, -2] of the moving variance; the batch's would be another."""
    rows = "[[1, 2], [-3, 4]]" if not transposed else "[[1, -3], [2, 4]]"
    text = f"""
x = Placeholder {{shape: [?, 2]}}
w = VariableV2 {{shape: [2, 2]}}
gamma = Const {{value: [2.0, -1.0]}}
mean = VariableV2 {{shape: [2]}}
variance = VariableV2 {{shape: [2]}}
m = MatMul(x, w) {{transpose_b: {str(transposed).lower()}}}
bn = FusedBatchNormV3(m, gamma, mean, mean, variance) {{is_training: false, epsilon: 1e-12}}
out = Neg(bn)
"""
    plan = plan_of(text)
    if statistics == "batch":
        (fold,) = plan.folds
        average = {"read": "variance:0"}
        batch = msgspec.to_builtins(fold) | {"statistics": "batch", "variance": None, "moving_variance": average}
        plan = msgspec.structs.replace(plan, folds=(msgspec.convert(batch, type(fold)),))
    frozen = text.replace("VariableV2 {shape: [2, 2]}", f"Const {{value: {rows}}}")
    frozen = frozen.replace("variance = VariableV2 {shape: [2]}", "variance = Const {value: [4.0, 0.25]}")
    file = {"bn:0": ((0.0,), (1.0,))}
    assert limits(resolve(plan, frozen, file=file), "weights_quant") == ((-8,), (1,))
    with pytest.raises(Refusal, match="weights are variables without values"):
        resolve(plan, text, file=file)


@pytest.mark.parametrize(
    ("changed", "file", "reason"),
    [
        ({"step": 0}, None, "never trained: its local_step in the checkpoint is 0"),
        ({"step": np.nan}, None, "never trained"),
        ({"step": None, "act_min": 0, "act_max": 6}, None, "in the checkpoint it is [0, 6], where it starts"),
        ({"act_min": None}, None, "a/act_quant/min is not in the checkpoint"),
        ({"act_max": None}, {}, "not in the ranges file; a/act_quant/max is not in the checkpoint"),
        ({"step": 0}, {"a/relu:0": ((0.0,), (1.0,))}, "not in the ranges file (did you mean a/relu:0?); it was never"),
    ],
)
def test_an_unknown_activation_range(changed: dict[str, object], file: Any, reason: str) -> None:
    sources = {"checkpoint": variables(**changed), **({} if file is None else {"file": file})}
    with pytest.raises(Refusal) as caught:
        resolve(plan_of(), **sources)
    assert (caught.value.code, caught.value.where) == ("range-unknown", "ckpt-7")
    assert "the range of 1 quantizer is not known:\n  a/Relu:0 (a/act_quant): " in caught.value.what
    assert reason in caught.value.what


@pytest.mark.parametrize("changed", [{"step": 1, "act_max": 6}, {"step": None, "act_max": 5.5}])
def test_what_counts_as_trained(changed: dict[str, object]) -> None:
    assert origins(resolve(plan_of(), checkpoint=variables(**changed)))["act_quant"] == "checkpoint"


def test_all_unknown_ranges_are_one_error() -> None:
    chain = "x = Placeholder {shape: [?, 4]}\nr0 = Relu(x)\n"
    for index in range(15):
        chain += f"w{index} = Const {{value: 0.5, shape: [4, 4]}}\nm{index} = MatMul(r{index}, w{index})\n"
        chain += f"r{index + 1} = Relu(m{index})\n"
    with pytest.raises(Refusal) as caught:
        resolve(plan_of(chain), chain)
    lines = caught.value.what.splitlines()
    assert lines[0] == "the ranges of 15 quantizers are not known:"
    assert (len([line for line in lines if "there is no checkpoint" in line]), lines[13]) == (12, "  and 3 more")
    assert caught.value.where is None


def test_weights_that_are_not_evaluated() -> None:
    text = FROZEN.replace("a/w/read = Identity(a/w)", "a/w/read = Tanh(a/w)")
    with pytest.raises(Refusal, match="weights are computed by Tanh, which is not evaluated here"):
        resolve(plan_of(text), text, checkpoint=variables(weights_min=None))


def test_observed_ranges_become_those_of_the_scheme() -> None:
    def of(low: float, high: float, **settings: Any) -> tuple[ResolvedRanges, tuple[float, float]]:
        found = resolve(plan_of(**settings), file={"a/Relu:0": ((low,), (high,))}, checkpoint=variables())
        ((minimum,), (maximum,)) = limits(found, "a/act_quant")
        return found, (minimum, maximum)

    assert of(-0.5, 3)[1] == (-0.5, 3)
    for (low, high), expected in {(0.5, 3.0): (0.0, 3.0), (-3.0, -1.0): (-3.0, 0.0), (2.0, 2.0): (0.0, 2.0)}.items():
        found, ends = of(low, high)
        assert ends == expected
        (note,) = found.notes
        assert note.code == "range-widened"
        assert note.text.startswith("r.json: ranges: a/Relu:0 does not hold zero")
    found, ends = of(0, 0)
    assert (ends, found.notes) == ((0, 1), ())
    assert of(0.5, 127, activations=ActivationSettings(symmetric=True))[1] == (-128, 127)


def test_one_range_of_a_file_serves_all_channels() -> None:
    plan = plan_of(weights=contrib_weights(granularity="per_channel"))
    one = {"a/w/read:0": ((-1.0,), (2.0,))}
    assert limits(resolve(plan, file=one, checkpoint=variables()), "a/weights_quant") == ((-1,) * 4, (2,) * 4)


@pytest.mark.parametrize(
    ("sources", "place", "words"),
    [
        (lambda: {"checkpoint": variables(act_max=np.nan)}, "ckpt-7: a/act_quant/min and max", "is not finite"),
        (lambda: {"checkpoint": variables(act_min=-np.inf)}, "ckpt-7: a/act_quant/min and max", "is not finite"),
        (lambda: {"checkpoint": variables(weights_min=2)}, "ckpt-7: a/weights_quant/min and max", "min 2 greater than"),
        (lambda: {"checkpoint": variables(weights_min=[-1] * 4, weights_max=[1] * 4)},
         "ckpt-7: a/weights_quant/min and max", "the quantizer of a/w/read:0 has one range in all, and this has 4"),
        (lambda: {"checkpoint": variables(weights_min=[])}, "ckpt-7: a/weights_quant/min and max", "0 minima and 1"),
        (lambda: {"checkpoint": variables(), "file": {"a/Relu:0": ((0.0, 0.0), (1.0, 1.0))}},
         "r.json: ranges: a/Relu:0", "has one range in all, and this has 2 minima"),
        (lambda: {"checkpoint": variables(), "file": {"a/Relu:0": ((-3e38,), (3e38,))}},
         "r.json: ranges: a/Relu:0", "the range of a/Relu:0 is not finite in float32"),
    ],
)  # fmt: skip
def test_ranges_that_no_quantizer_can_have(sources: Callable[[], dict[str, Any]], place: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        resolve(plan_of(), **sources())
    assert (caught.value.code, caught.value.where) == ("range-invalid", place)
    assert words in caught.value.what


def test_a_per_tensor_checkpoint_does_not_fit_per_channel_weights() -> None:
    with pytest.raises(InputError, match="has 4 channels, and this has 1 minima"):
        resolve(plan_of(weights=contrib_weights(granularity="per_channel")), checkpoint=variables())


def test_weights_that_are_not_finite() -> None:
    with pytest.raises(InputError, match="the range of a/w/read:0 is not finite") as caught:
        resolve(plan_of(), FROZEN.replace("-2", "nan"), file={"a/Relu:0": ((0.0,), (1.0,))})
    assert (caught.value.code, caught.value.where) == ("range-invalid", "the weights")


def test_entries_of_the_file_that_are_not_used() -> None:
    file = {"a/Relu:0": ((0.0,), (1.0,)), **{f"t{index}:0": ((0.0,), (1.0,)) for index in range(7)}}
    (note,) = resolve(plan_of(), file=file).notes
    assert note.code == "range-unused"
    assert note.text == "r.json: no quantizer is on 7 of 8 tensors: t0:0, t1:0, t2:0, t3:0, t4:0, ..."


JOINED = "x = Placeholder\nz = Placeholder\naxis = Const {value: 3}\ns = Sigmoid(x)\ny = ConcatV2(x, z, s, axis)\n"


def test_tied_tensors_get_the_union_and_what_a_kernel_fixes_is_in_it() -> None:
    plan = integer_plan(JOINED)
    file = {"x:0": ((-0.5,), (0.25,)), "z:0": ((-2.0,), (0.5,)), "y:0": ((-0.5,), (0.75,))}
    found = resolve(plan, JOINED, file=file)
    for tensor in "xzy":
        assert limits(found, f"{tensor}/quant") == ((-2.0,), (255 / 256,))
    assert limits(found, "s/quant") == ((0.0,), (255 / 256,))
    assert {key: origin for key, origin in found.origins.items() if "s/quant" in key} == {"quantize:s/quant": "kernel"}


def test_a_kernel_goes_before_the_ranges_file() -> None:
    plan = integer_plan("x = Placeholder\ny = Softmax(x)\n")
    file = {"x:0": ((-1.0,), (1.0,)), "y:0": ((0.0,), (0.5,))}
    assert limits(resolve(plan, "x = Placeholder\ny = Softmax(x)\n", file=file), "y/quant") == ((0.0,), (255 / 256,))


def test_constants_that_are_read_like_activations_know_their_range() -> None:
    text = "x = Placeholder\nk = Const {value: [1.5, -2.0]}\ny = Mul(x, k)\n"
    found = resolve(integer_plan(text), text, file={"x:0": ((-1.0,), (1.0,)), "y:0": ((-3.0,), (3.0,))})
    assert limits(found, "k/quant") == ((-2.0,), (1.5,))


def test_variables_that_are_read_like_activations_are_evaluated_when_they_are_frozen() -> None:
    text = "x = Placeholder\nk = VariableV2 {shape: [2]}\nk/read = Identity(k)\ny = Mul(x, k/read)\n"
    frozen = text.replace("VariableV2 {shape: [2]}", "Const {value: [1.5, -2.0]}")
    found = resolve(integer_plan(text), frozen, file={"x:0": ((-1.0,), (1.0,)), "y:0": ((-3.0,), (3.0,))})
    assert limits(found, "k/read/quant") == ((-2.0,), (1.5,))


def test_constants_themselves_go_before_what_the_checkpoint_has_seen() -> None:
    """The last training step moved them after it took their range."""
    text = "x = Placeholder\nk = VariableV2 {shape: [2]}\nk/read = Identity(k)\ny = Mul(x, k/read)\n"
    frozen = text.replace("VariableV2 {shape: [2]}", "Const {value: [1.5, -2.0]}")
    file = {"x:0": ((-1.0,), (1.0,)), "y:0": ((-3.0,), (3.0,))}
    trained = {"k/read/quant/min": np.float32(-1.0), "k/read/quant/max": np.float32(1.25)}
    found = resolve(integer_plan(text), frozen, file=file, checkpoint=trained, checkpoint_name="ckpt")
    assert limits(found, "k/read/quant") == ((-2.0,), (1.5,))
    assert found.origins["quantize:k/read/quant"] == "weights"
