"""Markdown: the order a reviewer needs, and names that cannot break a table."""

from __future__ import annotations

import re

import msgspec

from fqrewrite.plans.items import Plan
from fqrewrite.report.build import build_report
from fqrewrite.report.markdown import render_markdown
from fqrewrite.report.records import Report


def rows(text: str, header: str) -> list[list[str]]:
    """The cells of the table that starts with this header cell; a bar behind a backslash is no border."""
    lines = text.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"| {header} |"))
    body = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        body.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return body


def test_what_is_left_out_comes_before_what_was_done(report: Report) -> None:
    text = render_markdown(report, verbose=False)
    headings = [
        "### fqrewrite train: `in.meta` to `out.meta`",
        "**3 of 5 layers quantized**",
        "#### Left out",
    ]
    headings += [
        "#### Notes",
        "<summary>5 fake quantizers</summary>",
        "<summary>1 folded batch norm</summary>",
    ]
    places = [text.index(heading) for heading in headings]
    assert places == sorted(places)
    assert text.count("<details") == text.count("</details>") == 2


def test_what_was_done_beside_is_a_list(eval_report: Report) -> None:
    text = render_markdown(eval_report, verbose=False)
    listed = [line for line in text.partition("#### Left out")[0].splitlines() if line.startswith("* ")]
    assert [line.partition(":")[0] for line in listed] == [
        "* bound", "* bound", "* inference", "* frozen", "* ranges from", "* removed", "* outputs",
    ]  # fmt: skip
    assert listed[0].startswith(r"* bound: is\_training = false, recognised")


def test_left_out_has_code_reason_and_remedy(report: Report) -> None:
    body = rows(render_markdown(report, verbose=False), "left out")
    assert body[0] == [
        "`net/deconv [x]/Conv2DBackpropInput`",
        "layer",
        "`Conv2DBackpropInput`",
        "`layer-not-quantizable`",
        "a transposed convolution has no quantizer",
        "Keep it float, or use `Conv2D`.",
    ]
    assert body[2][1] == "batch norm"


def test_odd_names_are_escaped(report: Report) -> None:
    body = rows(render_markdown(report, verbose=False), "left out")
    assert body[1][0] == r"`` net/odd\|`name` ``"
    assert body[1][4] == r"kept \<float\> for now! (`c.yaml:12`)"


def test_quantizers_and_folds_are_tables(report: Report) -> None:
    text = render_markdown(report, verbose=False)
    quantizers = rows(text, "fake quantizer")
    assert len(quantizers) == 5
    assert quantizers[0][1:] == [
        "weights",
        "`net/conv/mul_fold_1:0`",
        "4 bits, symmetric, narrow range",
        "last value",
        "`activation` (`c.yaml:9`)",
    ]
    assert rows(text, "layer") == [
        [
            "`net/conv/Conv2D`",
            "`net/conv/bn`",
            "`net/conv/add_fold_1:0`",
            "fused, batch statistics, frozen from step 7",
        ]
    ]


def test_many_quantizers_start_closed(plan: Plan, report: Report) -> None:
    many = msgspec.structs.replace(plan, quantizers=plan.quantizers * 5)
    made = build_report(model_path="m", model_kind="graph_def", plan=many, mode=None, rewritten=None, output=None)
    assert "<details open>" in render_markdown(report, verbose=False)
    assert "<details open>" not in render_markdown(made, verbose=False)


def test_nothing_at_all_makes_no_empty_tables(plan: Plan) -> None:
    empty = msgspec.structs.replace(plan, quantizers=(), folds=(), left_out=(), notes=(), layers=1)
    made = build_report(model_path="m", model_kind="graph_def", plan=empty, mode=None, rewritten=None, output=None)
    text = render_markdown(made, verbose=False)
    assert "**0 of 1 layer quantized**: 0 fake quantizers, 0 batch norms folded, nothing left out.\n" in text
    assert "|" not in text and "<details" not in text


def _large(plan: Plan, quantizers: int, folds: int, left_out: int) -> Report:
    large = msgspec.structs.replace(
        plan,
        quantizers=plan.quantizers * quantizers,
        folds=plan.folds * folds,
        left_out=plan.left_out * left_out,
    )
    return build_report(model_path="m", model_kind="graph_def", plan=large, mode=None, rewritten=None, output=None)


def test_a_long_report_fits_into_a_comment(plan: Plan) -> None:
    for sizes, missing in (((100, 1, 1), 1), ((100, 1000, 1), 2), ((100, 1000, 1000), 3)):
        made = _large(plan, *sizes)
        text = render_markdown(made, verbose=False)
        assert len(text) < 60_000
        assert text.count("Not listed here, to fit into a comment on a pull request") == missing
        assert f"<summary>{5 * sizes[0]} fake quantizers</summary>" in text
        assert "Not listed" not in render_markdown(made, verbose=True)
    assert ["`excluded-by-config`", "1000"] in rows(text, "code")


def test_functions_have_a_column_where_there_are_any(report: Report) -> None:
    assert "| function |" not in render_markdown(report, verbose=True)
    placed = [msgspec.structs.replace(item, function="f|g") for item in report.inserted[:1]]
    changed = msgspec.structs.replace(report, inserted=(*placed, *report.inserted[1:]))
    cells = rows(render_markdown(changed, verbose=True), "fake quantizer")
    assert [row[-1] for row in cells] == [r"`f\|g`"] + [""] * (len(report.inserted) - 1)
    assert len(rows(render_markdown(changed, verbose=True), "layer")[0]) == 4
