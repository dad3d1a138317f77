"""Tables on a terminal: nothing cut, nothing taken for markup."""

from __future__ import annotations

import re

import msgspec
import pytest

from fqrewrite.plans.items import Plan
from fqrewrite.report.build import build_report
from fqrewrite.report.records import Report
from fqrewrite.report.table import render_table


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def first_column(text: str) -> str:
    """What stands in the first column, put together again over folded lines."""
    lines = [line.split("│") for line in text.splitlines() if line.startswith("│")]
    return "".join(cells[1].strip() for cells in lines)


def test_layers_then_what_is_left_out_then_the_summary(report: Report) -> None:
    text = plain(render_table(report, verbose=False, width=120))
    assert text.index("Layers") < text.index("Left out") < text.index("layers quantized  3 of 5")
    conv = next(line for line in text.splitlines() if "net/conv/Conv2D" in line)
    assert [cell.strip() for cell in conv.split("│")[1:-1]] == [
        "net/conv/Conv2D",
        "4 bits, symmetric",
        "activation: 8 bits",
        "folded",
    ]
    shared = [line for line in text.splitlines() if "MatMul" in line]
    assert len(shared) == 2 and all("4 bits, symmetric, per channel" in line for line in shared)


def test_names_with_brackets_are_no_markup(report: Report) -> None:
    assert "net/deconv [x]/Conv2DBackpropInput" in plain(render_table(report, verbose=False, width=120))


@pytest.mark.parametrize("width", [40, 80])
def test_wide_names_are_folded_and_not_cut(plan: Plan, width: int) -> None:
    name = "MobilenetV1/" * 12 + "Conv2d_0/depthwise"
    entry = msgspec.structs.replace(plan.left_out[0], name=name)
    made = build_report(
        model_path="m",
        model_kind="graph_def",
        plan=msgspec.structs.replace(plan, left_out=(entry,), quantizers=(), folds=()),
        mode=None,
        rewritten=None,
        output=None,
    )
    text = plain(render_table(made, verbose=False, width=width))
    assert name in first_column(text)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width


def test_quantizers_and_folds_need_verbose(report: Report) -> None:
    short = plain(render_table(report, verbose=False, width=120))
    long = plain(render_table(report, verbose=True, width=120))
    node = "net/conv/conv_quant/FakeQuantWithMinMaxVars"
    assert node not in short and node in long
    assert "net/conv/add_fold_1:0" not in short and "net/conv/add_fold_1:0" in long
    assert "add/activation_Add_quant/FakeQuantWithMinMaxVars" in long


def test_reasons_remedies_and_notes_are_shown(report: Report) -> None:
    text = plain(render_table(report, verbose=False, width=120))
    for part in (
        "layer-not-quantizable",
        "it follows Relu.",
        "Keep it float, or use `Conv2D`.",
        "(c.yaml:12)",
    ):
        assert part in text
    assert "note selector-matches-nothing c.yaml:3: matches no layer" in text


def test_control_characters_in_names_reach_no_terminal(plan: Plan) -> None:
    entry = msgspec.structs.replace(plan.left_out[0], name="a\x1b[2Jb")
    made = build_report(
        model_path="m",
        model_kind="graph_def",
        plan=msgspec.structs.replace(plan, left_out=(entry,)),
        mode=None,
        rewritten=None,
        output=None,
    )
    text = render_table(made, verbose=True, width=120)
    assert "\x1b[2J" not in text and r"a\x1b[2Jb" in text


def test_names_left_out_for_the_same_reason_share_it(plan: Plan) -> None:
    first = plan.left_out[0]
    alike = [msgspec.structs.replace(first, name=name, op=op) for name, op in (("a/x", "Conv3D"), ("b/x", "Einsum"))]
    other = msgspec.structs.replace(first, name="c/x", reason="of another kind")
    made = build_report(
        model_path="m",
        model_kind="graph_def",
        plan=msgspec.structs.replace(plan, left_out=(alike[0], other, alike[1])),
        mode=None,
        rewritten=None,
        output=None,
    )
    text = plain(render_table(made, verbose=False, width=120))
    table = text[text.index("Left out") : text.index("note ")]
    assert table.count(first.reason) == 1
    assert "2 layers, Conv3D, Einsum" in table
    names = [line.split("│")[1].strip() for line in table.splitlines() if "/x" in line]
    assert names == ["a/x", "b/x", "c/x"]


def test_settings_wrap_before_names_do(report: Report) -> None:
    text = plain(render_table(report, verbose=False, width=60))
    assert "│ net/conv/Conv2D " in text
