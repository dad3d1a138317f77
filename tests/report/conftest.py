"""A plan and its edits, made by hand: a folded conv, and two layers that share constant weights."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import pytest

from configs import contrib
from fqrewrite.ir.block import BlockVariable
from fqrewrite.ir.editor import EditLog, ItemEdits
from fqrewrite.plans.items import Changes, FoldItem, LeftOut, Note, Plan, QuantizerItem, RangeSpec, Scheme
from fqrewrite.report.build import build_report
from fqrewrite.report.records import Report
from fqrewrite.transform.apply import Applied
from fqrewrite.verbs.rewrite import Rewritten

WEIGHTS = Scheme(bits=4, symmetric=True, narrow_range=True)
ACTIVATION = Scheme(bits=8, symmetric=False, narrow_range=False)
FOLD = FoldItem(
    id="fold:net/conv/bn:0",
    scope="net/conv",
    suffix="_1",
    layer="net/conv/Conv2D",
    weight_slot=1,
    chain=(),
    bias=None,
    norm="net/conv/bn",
    output="net/conv/bn:0",
    statistics="batch",
    gamma=None,
    beta=None,
    mean=None,
    variance=None,
    epsilon=1e-3,
    freeze_delay=7,
    rule="fused_batch_norm",
)


def quantizer(scope: str, **fields: Any) -> QuantizerItem:
    """An activation quantizer with a moving average, unless `fields` say otherwise."""
    defaults: dict[str, Any] = {
        "id": f"quantize:{scope}",
        "scope": scope,
        "role": "activation",
        "layer": "net/conv/Conv2D",
        "edges": None,
        "fold": None,
        "scheme": ACTIVATION,
        "range": RangeSpec(source="ema", initial=(0.0, 6.0), decay=0.99),
        "delay": 3,
        "rule": "activation",
    }
    return QuantizerItem(**{**defaults, **fields})


PLAN = Plan(
    tool_version="0.0.9",
    source_sha256="ab" * 32,
    config=msgspec.to_builtins(contrib(origins={"weights.bits": "c.yaml:2"})),
    outputs=("net/out:0",),
    resource_variables=False,
    layers=5,
    folds=(FOLD,),
    quantizers=(
        quantizer(
            "net/conv/weights_quant",
            role="weights",
            tensor="net/conv/w/read:0",
            edges=("net/conv/Conv2D:in1",),
            fold=FOLD.id,
            scheme=WEIGHTS,
            range=RangeSpec(source="last_value"),
            because="c.yaml:9",
        ),
        quantizer("net/conv/act_quant", tensor="net/conv/Relu6:0"),
        quantizer("net/conv/conv_quant", role="bypass_input", tensor="net/conv/bn:0"),
        quantizer(
            "fc/weights_quant",
            role="weights",
            layer="fc/MatMul",
            tensor="fc/w:0",
            edges=("fc/MatMul:in1", "fc_1/MatMul:in1"),
            scheme=msgspec.structs.replace(WEIGHTS, granularity="per_channel"),
            range=RangeSpec(source="constant", minimum=(-1.0, -2.0), maximum=(1.0, 2.0)),
        ),
        quantizer("add/activation_Add_quant", role="elementwise", layer=None, tensor="add:0", rule="elementwise"),
    ),
    left_out=(
        LeftOut(
            kind="layer",
            name="net/deconv [x]/Conv2DBackpropInput",
            op="Conv2DBackpropInput",
            code="layer-not-quantizable",
            reason="a transposed convolution has no quantizer",
            remedy="Keep it float, or use `Conv2D`.",
        ),
        LeftOut(
            kind="layer",
            name="net/odd|`name`",
            op="Conv2D",
            code="excluded-by-config",
            reason="kept <float> for now!",
            remedy="Change the rule.",
            because="c.yaml:12",
        ),
        LeftOut(
            kind="batch_norm",
            name="net/conv9/bn",
            op="FusedBatchNormV3",
            code="batch-norm-not-after-layer",
            reason="it follows Relu",
            remedy="Keep it float.",
        ),
    ),
    notes=(Note(code="selector-matches-nothing", text="c.yaml:3: matches no layer"),),
)

RANGE_VARIABLES = [
    "net/conv/weights_quant",
    "net/conv/act_quant",
    "net/conv/conv_quant",
    "add/activation_Add_quant",
]
AVERAGES = [
    "net/conv/act_quant/net/conv/act_quant/min/biased",
    "net/conv/act_quant/net/conv/act_quant/min/local_step",
]


def edit_log() -> EditLog:
    """The edits that belong to `PLAN`, shortened."""
    log = EditLog()

    def file(item: str, inserted: list[str], rewired: list[str] | None = None, replaced: str | None = None) -> None:
        edits = log.items[item] = ItemEdits()
        edits.inserted += inserted
        edits.rewired += rewired or []
        edits.replaced += [replaced] if replaced else []

    file("shared", ["fqrewrite/constant/one"])
    inserted = [
        "net/conv/BatchNorm_Fold_1/rsqrt",
        "net/conv/mul_fold_1",
        "net/conv/Conv2D_Fold_1",
        "net/conv/add_fold_1",
    ]
    file(FOLD.id, inserted, ["net/conv/Relu6:in0"], "net/conv/bn")
    rewired = {
        "net/conv/weights_quant": ["net/conv/Conv2D_Fold_1:in1"],
        "fc/weights_quant": ["fc/MatMul:in1", "fc_1/MatMul:in1"],
    }
    for item in PLAN.quantizers:
        ends = [f"{item.scope}/min", f"{item.scope}/max"]
        averages = AVERAGES if item.scope == "net/conv/act_quant" else []
        op = "FakeQuantWithMinMaxVars" + ("PerChannel" if item.scheme.granularity == "per_channel" else "")
        file(item.id, [*ends, *averages, f"{item.scope}/{op}"], rewired.get(item.scope))
    return log


def rewritten_of(log: EditLog) -> Rewritten:
    """What an application returns: a log, the variables, and a note of its own."""
    names = [f"{scope}/{end}" for scope in RANGE_VARIABLES for end in ("min", "max")]
    variables = tuple(
        BlockVariable(name, f"{name}/Assign", "zero", f"{name}/read", False) for name in [*names, *AVERAGES]
    )
    return Rewritten(
        applied=Applied(log, variables),
        changes=Changes(),
        notes=(Note(code="saver-dropped", text="the saver was left out"),),
        outputs=PLAN.outputs,
    )


EVALUATED = Changes(
    bound={"is_training": False, "keep": 1.0},
    phases=("is_training",),
    conditionals=3,
    batch_norms=("net/conv/bn",),
    dropouts=("net/drop:0", "net/drop_1:0"),
    frozen=1,
    removed={"gradients": 40, "queues": 2},
)
"""What an eval run does beside folding and quantizing."""


def evaluated_of(log: EditLog) -> Rewritten:
    """What an eval run from a checkpoint returns; as if of the same log."""
    return msgspec.structs.replace(
        rewritten_of(log),
        changes=EVALUATED,
        outputs=("net/out:0", "net/aux:0"),
        origins={"quantize:fc/weights_quant": "weights", "quantize:net/conv/act_quant": "checkpoint"},
    )


def report_of(plan: Plan, rewritten: Rewritten | None, mode: Literal["train", "eval"] = "train") -> Report:
    """The report of a run, or of `fqrewrite plan` without a rewrite."""
    return build_report(
        model_path="in.meta",
        model_kind="meta_graph",
        plan=plan,
        mode=mode if rewritten else None,
        rewritten=rewritten,
        output="out.meta" if rewritten else None,
    )


@pytest.fixture
def plan() -> Plan:
    return PLAN


@pytest.fixture
def log() -> EditLog:
    return edit_log()


@pytest.fixture
def rewritten(log: EditLog) -> Rewritten:
    return rewritten_of(log)


@pytest.fixture
def report(plan: Plan, rewritten: Rewritten) -> Report:
    return report_of(plan, rewritten)


@pytest.fixture
def eval_report(plan: Plan, log: EditLog) -> Report:
    return report_of(plan, evaluated_of(log), "eval")


@pytest.fixture
def thawed_report(plan: Plan, rewritten: Rewritten) -> Report:
    changes = Changes(thawed=("w", "b"), conditionals=1)
    return report_of(plan, msgspec.structs.replace(rewritten, changes=changes))


@pytest.fixture
def dry_report(plan: Plan) -> Report:
    return report_of(plan, None)
