"""The join: each item with its own edits, and a refusal when they do not belong together."""

from __future__ import annotations

import subprocess
import sys

import msgspec
import pytest

from fqrewrite.errors import GraphError
from fqrewrite.ir.editor import SHARED, EditLog, ItemEdits
from fqrewrite.plans.items import Plan
from fqrewrite.report.build import build_report
from fqrewrite.report.records import FakeQuant, Range, Report, Summary
from fqrewrite.verbs.rewrite import Rewritten


def build(plan: Plan, rewritten: Rewritten | None) -> Report:
    return build_report(
        model_path="in.meta",
        model_kind="meta_graph",
        plan=plan,
        mode="train",
        rewritten=rewritten,
        output="o.pb",
    )


def test_a_folded_layer_has_its_scaled_weights_quantized(report: Report) -> None:
    assert report.inserted[0] == FakeQuant(
        node="net/conv/weights_quant/FakeQuantWithMinMaxVars",
        op="FakeQuantWithMinMaxVars",
        role="weights",
        layer="net/conv/Conv2D",
        shared_with=(),
        tensor="net/conv/w/read:0",
        quantized="net/conv/mul_fold_1:0",
        bits=4,
        narrow_range=True,
        symmetric=True,
        granularity="per_tensor",
        range=Range(source="last_value", initial=(-6.0, 6.0), decay=None, minimum=None, maximum=None),
        variables=("net/conv/weights_quant/min", "net/conv/weights_quant/max"),
        averages=(),
        delay=3,
        rule="activation",
        because="c.yaml:9",
        nodes_inserted=3,
        rewired=("net/conv/Conv2D_Fold_1:in1",),
    )


def test_the_output_of_a_fold_is_its_result_and_other_tensors_keep_their_names(report: Report) -> None:
    assert [item.quantized for item in report.inserted[1:]] == [
        "net/conv/Relu6:0",
        "net/conv/add_fold_1:0",
        "fc/w:0",
        "add:0",
    ]
    assert report.inserted[2].tensor == "net/conv/bn:0"


def test_a_moving_average_names_its_variables(report: Report) -> None:
    activation = report.inserted[1]
    assert activation.variables == ("net/conv/act_quant/min", "net/conv/act_quant/max")
    assert [name.rpartition("/")[2] for name in activation.averages] == ["biased", "local_step"]
    assert activation.range == Range(source="ema", initial=(0.0, 6.0), decay=0.99, minimum=None, maximum=None)


def test_constant_ranges_have_numbers_and_no_variables(report: Report) -> None:
    weights = report.inserted[3]
    assert weights.op == "FakeQuantWithMinMaxVarsPerChannel"
    assert weights.variables == ()
    assert weights.range == Range(source="constant", initial=None, decay=None, minimum=(-1.0, -2.0), maximum=(1.0, 2.0))
    assert (weights.layer, weights.shared_with) == ("fc/MatMul", ("fc_1/MatMul",))


def test_an_eval_report_says_where_ranges_came_from(eval_report: Report) -> None:
    assert [item.range.origin for item in eval_report.inserted] == [None, "checkpoint", None, "weights", None]
    assert eval_report.changes is not None and eval_report.changes.removed == {"gradients": 40, "queues": 2}
    assert eval_report.outputs == ("net/out:0", "net/aux:0")


def test_a_fold_says_what_was_inserted_replaced_and_rewired(report: Report) -> None:
    (fold,) = report.folds
    assert (fold.layer, fold.batch_norm, fold.output) == ("net/conv/Conv2D", "net/conv/bn", "net/conv/bn:0")
    assert (fold.form, fold.statistics, fold.freeze_delay) == ("fused", "batch", 7)
    assert (fold.weights, fold.result) == ("net/conv/mul_fold_1:0", "net/conv/add_fold_1:0")
    assert fold.inserted is not None and len(fold.inserted) == 4
    assert (fold.replaced, fold.rewired) == (("net/conv/bn",), ("net/conv/Relu6:in0",))


def test_the_summary_counts_every_layer_once(report: Report) -> None:
    assert report.summary == Summary(
        layers=5,
        layers_quantized=3,
        fake_quants={"weights": 2, "activation": 1, "bypass_input": 1, "elementwise": 1},
        folds=1,
        left_out_kinds={"layer": 2, "batch_norm": 1},
        left_out_codes={"batch-norm-not-after-layer": 1, "excluded-by-config": 1, "layer-not-quantizable": 1},
        nodes_inserted=22,
        variables_created=10,
    )


def test_notes_of_the_plan_and_of_its_application_are_both_there(report: Report) -> None:
    assert [note.code for note in report.notes] == ["selector-matches-nothing", "saver-dropped"]


def test_input_output_and_config_are_as_given(report: Report, plan: Plan) -> None:
    assert (report.input.path, report.input.kind, report.input.sha256) == ("in.meta", "meta_graph", "ab" * 32)
    assert (report.output, report.mode, report.config) == ("out.meta", "train", plan.config)
    assert (report.plan.tool_version, report.plan.outputs) == ("0.0.9", ("net/out:0",))
    assert report.shared == ("fqrewrite/constant/one",)
    assert report.outputs == ("net/out:0",)


def test_a_dry_run_says_the_same_without_edits(report: Report, dry_report: Report) -> None:
    edits = {"nodes_inserted": None, "rewired": None, "averages": ()}
    assert dry_report.inserted == tuple(msgspec.structs.replace(item, **edits) for item in report.inserted)
    edits = {"inserted": None, "replaced": None, "rewired": None}
    assert dry_report.folds == tuple(msgspec.structs.replace(fold, **edits) for fold in report.folds)
    assert dry_report.summary.layers_quantized == report.summary.layers_quantized
    assert (dry_report.mode, dry_report.output, dry_report.shared) == (None, None, None)
    assert (dry_report.changes, dry_report.outputs) == (None, None)
    assert (dry_report.summary.nodes_inserted, dry_report.summary.variables_created) == (None, None)


def test_an_item_that_was_not_realised_is_an_error(plan: Plan, log: EditLog, rewritten: Rewritten) -> None:
    del log.items["quantize:net/conv/act_quant"]
    with pytest.raises(GraphError, match="quantize:net/conv/act_quant") as raised:
        build(plan, rewritten)
    assert raised.value.code == "broken-invariant"


def test_edits_of_no_item_are_an_error(plan: Plan, log: EditLog, rewritten: Rewritten) -> None:
    log.items["quantize:elsewhere"] = ItemEdits()
    with pytest.raises(GraphError, match="quantize:elsewhere") as raised:
        build(plan, rewritten)
    assert raised.value.code == "broken-invariant"


@pytest.mark.parametrize(
    ("item", "name"),
    [
        ("quantize:net/conv/act_quant", "net/conv/act_quant/FakeQuantWithMinMaxVars"),
        ("quantize:net/conv/act_quant", "net/conv/act_quant/min"),
        ("fold:net/conv/bn:0", "net/conv/mul_fold_1"),
    ],
)
def test_a_name_that_was_not_inserted_is_an_error(
    plan: Plan, log: EditLog, rewritten: Rewritten, item: str, name: str
) -> None:
    log.items[item].inserted.remove(name)
    with pytest.raises(GraphError, match=f"did not insert '{name}'") as raised:
        build(plan, rewritten)
    assert raised.value.code == "broken-invariant"


def test_shared_edits_stand_under_the_editors_own_id(plan: Plan, log: EditLog, rewritten: Rewritten) -> None:
    log.items[SHARED].inserted[:] = ["step", "zero"]
    assert build(plan, rewritten).shared == ("step", "zero")


def test_a_report_needs_no_graph_no_click_and_no_rich() -> None:
    modules = "build, explain, layers, markdown, records, render, text"
    code = f"import sys; from fqrewrite.report import {modules}; print(*sys.modules, sep='\\n')"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    prefixes = (
        "fqrewrite.ir",
        "fqrewrite.match",
        "fqrewrite.rules",
        "fqrewrite.proto",
        "click",
        "rich",
        "numpy",
    )
    assert [name for name in loaded if name.startswith(prefixes)] == []
    assert "fqrewrite.report.build" in loaded
