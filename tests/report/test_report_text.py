"""Plain text: complete, one fact a line, aligned."""

from __future__ import annotations

import re

import msgspec

from fqrewrite.plans.items import Changes, LeftOut, Plan
from fqrewrite.report.build import build_report
from fqrewrite.report.records import Report
from fqrewrite.report.text import render_text


def test_the_summary_comes_first(report: Report) -> None:
    lines = render_text(report, verbose=False).splitlines()
    assert lines[0].endswith(" (train): in.meta -> out.meta")
    assert [line.split(maxsplit=2) for line in lines[1:3]] == [
        ["layers", "quantized", "3 of 5"],
        ["fake", "quantizers", "5 (weights 2, activation 1, bypass input 1, elementwise 1)"],
    ]
    assert lines[3].endswith("1 folded")
    assert lines[4].endswith("22 nodes inserted, 10 variables created")
    assert lines[5].split("  ")[-1].startswith("2 layers and 1 batch norm (")


def test_the_summary_says_what_was_done_beside(eval_report: Report) -> None:
    lines = render_text(eval_report, verbose=False).splitlines()
    assert [re.split(r"\s{2,}", line.strip()) for line in lines[5:13]] == [
        ["bound", "is_training = false, recognised as the switch between training and inference"],
        ["bound", "keep = 1.0"],
        ["inference", "3 conditionals resolved, 1 batch norm to moving averages, 2 dropouts removed"],
        ["frozen", "1 variable"],
        ["ranges from", "checkpoint 1, weights 1"],
        ["removed", "42 nodes (gradients 40, queues 2)"],
        ["outputs", "net/out:0, net/aux:0"],
        ["left out", lines[12].split("  ")[-1]],
    ]


def test_the_summary_of_a_thawed_training_graph(thawed_report: Report) -> None:
    lines = [re.split(r"\s{2,}", line.strip()) for line in render_text(thawed_report, verbose=False).splitlines()]
    assert lines[5:7] == [["prepared", "1 conditional resolved"], ["thawed", "2 constants"]]


def test_everything_left_out_is_one_line_with_reason_and_remedy(report: Report) -> None:
    lines = [line for line in render_text(report, verbose=False).splitlines() if line.startswith("left out: ")]
    assert len(lines) == 3
    assert "net/deconv [x]/Conv2DBackpropInput  Conv2DBackpropInput  layer-not-quantizable" in lines[0]
    assert lines[0].endswith("a transposed convolution has no quantizer. Keep it float, or use `Conv2D`.")
    assert lines[1].endswith("kept <float> for now! (c.yaml:12). Change the rule.")
    assert lines[2].startswith("left out: batch_norm  net/conv9/bn ")


def test_columns_are_aligned(report: Report) -> None:
    lines = [line for line in render_text(report, verbose=False).splitlines() if line.startswith("left out: ")]
    codes = [entry.code for entry in report.left_out]
    assert len({line.index(f"  {code}") for line, code in zip(lines, codes, strict=True)}) == 1


def test_long_lists_are_complete(plan: Plan) -> None:
    entry = plan.left_out[0]
    many = tuple(msgspec.structs.replace(entry, name=f"layer{number}") for number in range(500))
    long = msgspec.structs.replace(plan, left_out=many)
    made = build_report(model_path="m", model_kind="graph_def", plan=long, mode=None, rewritten=None, output=None)
    text = render_text(made, verbose=False)
    assert all(f"  layer{number} " in text for number in range(500))


def test_notes_have_their_codes(report: Report) -> None:
    assert "note  selector-matches-nothing  c.yaml:3: matches no layer\n" in render_text(report, verbose=False)


def test_quantizers_and_folds_need_verbose(report: Report) -> None:
    assert "fake quant: " not in render_text(report, verbose=False)
    text = render_text(report, verbose=True)
    quantizers = [line for line in text.splitlines() if line.startswith("fake quant: ")]
    assert len(quantizers) == 5
    assert "net/conv/mul_fold_1:0" in quantizers[0] and quantizers[0].endswith("activation (c.yaml:9)")
    assert "4 bits, symmetric, narrow range  " in quantizers[0]
    assert "4 bits, symmetric, per channel, narrow range  constant, 2 channels" in quantizers[3]
    assert "  moving average (0.99)  " in quantizers[1]
    assert text.splitlines()[-1].startswith("fold  net/conv/Conv2D  net/conv/bn  net/conv/add_fold_1:0  fused, batch")
    assert text.endswith("frozen from step 7\n")


def test_a_dry_run_says_so_and_names_no_output(dry_report: Report) -> None:
    text = render_text(dry_report, verbose=False)
    assert text.splitlines()[0].endswith(" (plan, nothing is changed): in.meta")
    assert "inserted" not in text


def test_a_rewrite_that_was_given_up_does_not_claim_an_output(plan: Plan) -> None:
    empty = msgspec.structs.replace(plan, quantizers=(), folds=(), left_out=(), notes=())
    made = build_report(
        model_path="in.pb", model_kind="graph_def", plan=empty, mode="eval", rewritten=None, output="out.pb"
    )
    text = render_text(made, verbose=True)
    assert text.splitlines()[0].endswith(" (eval, nothing is changed): in.pb")
    assert text.splitlines()[-1].split() == ["left", "out", "nothing"]


def test_control_characters_in_names_reach_no_terminal(plan: Plan) -> None:
    entry = LeftOut(kind="layer", name="a\x1b[2Jb\nc", op="Conv2D", code="outside-scope", reason="x", remedy="y.")
    made = build_report(
        model_path="m",
        model_kind="graph_def",
        plan=msgspec.structs.replace(plan, left_out=(entry,)),
        mode=None,
        rewritten=None,
        output=None,
    )
    text = render_text(made, verbose=True)
    assert "\x1b" not in text
    assert r"left out: layer  a\x1b[2Jb\nc  Conv2D" in text


def test_functions_are_named(report: Report) -> None:
    changed = msgspec.structs.replace(
        report,
        inserted=tuple(msgspec.structs.replace(item, function="f") for item in report.inserted),
        folds=tuple(msgspec.structs.replace(fold, function="g") for fold in report.folds),
        left_out=tuple(msgspec.structs.replace(entry, function="h") for entry in report.left_out),
        changes=Changes(inlined=3),
    )
    lines = render_text(changed, verbose=True).splitlines()
    for start, function in (("fake quant", "f"), ("fold ", "g"), ("left out: ", "h")):
        listed = [line for line in lines if line.startswith(start)]
        assert listed
        assert all(f", in the function {function}" in line for line in listed)
    assert "  inlined           3 function calls" in lines


def test_what_is_written_anew_is_counted(report: Report) -> None:
    assert "written anew" not in render_text(report, verbose=False)
    lines = render_text(msgspec.structs.replace(report, respelled=("y",)), verbose=False).splitlines()
    (line,) = [line for line in lines if "written anew" in line]
    assert line.endswith("1 operation that had no integer kernel")
