"""The report as tables for a terminal. The only module that uses rich, whose import costs 40 ms.

Names are folded over lines, never cut: a name that cannot be copied is of no use. All text goes in as `Text`,
which knows no markup, because names may hold brackets.
"""

from __future__ import annotations

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from fqrewrite.plans.items import LeftOut
from fqrewrite.report import words
from fqrewrite.report.escape import printable
from fqrewrite.report.layers import LayerRow, layer_rows
from fqrewrite.report.records import FakeQuant, Fold, Report


def render_table(report: Report, *, verbose: bool, width: int | None = None) -> str:
    """Layers, what is left out, notes, summary; with `verbose` every fake quantizer and fold, too.

    Args:
        report: what to show.
        verbose: whether to show every fake quantizer and fold.
        width: of the terminal in columns; found out when None.

    Returns:
        Text with ANSI escape sequences.
    """
    console = Console(force_terminal=True, highlight=False, markup=False, emoji=False, width=width)
    with console.capture() as capture:
        for part in _parts(report, verbose, console.width):
            console.print(part)
    return capture.get()


def _parts(report: Report, verbose: bool, width: int) -> list[RenderableType]:
    parts: list[RenderableType] = []
    layers = [_layer(row) for row in layer_rows(report)]
    if layers:
        table = _table("Layers", ("layer", "weights", "activations", "batch norm"), layers, lines=False)
        # Words wrap better than names, where there is room for the names.
        table.columns[0].no_wrap = max(len(row[0]) for row in layers) <= width // 2
        parts.append(table)
    if verbose and report.inserted:
        quantizers = [_quantizer(item) for item in report.inserted]
        parts.append(_table("Fake quantizers", ("node, and what it quantizes", "how, and by which rule"), quantizers))
    if verbose and report.folds:
        folds = [_fold(item) for item in report.folds]
        parts.append(_table("Folded batch norms", ("layer, and its batch norm", "result, and how"), folds))
    if report.left_out:
        entries = [_left_out(alike) for alike in _by_reason(report.left_out)]
        parts.append(_table("Left out", ("what", "why, and what to do"), entries))
    parts += [_text(("note ", "yellow"), (note.code, "bold"), (f" {note.text}", "")) for note in report.notes]
    parts.append(_text((words.title(report), "bold")))
    parts += [_text((f"  {label:<18}", "dim"), (text, "")) for label, text in words.summary_lines(report)]
    return parts


def _layer(row: LayerRow) -> tuple[Text, ...]:
    weights = ("float", "yellow") if row.weights is None else (words.short_scheme(row.weights), "")
    others = "\n".join(f"{item.role.replace('_', ' ')}: {words.short_scheme(item)}" for item in row.others)
    return _text((row.layer, "")), _text(weights), Text(others), Text("folded" if row.fold else "")


def _quantizer(item: FakeQuant) -> tuple[Text, ...]:
    how = (f"{item.role.replace('_', ' ')}: {words.scheme(item)}, {words.range_source(item.range)}", "")
    return _lines((item.node, ""), (item.quantized, "dim")), _lines(
        how, (words.decided_by(item) + words.place(item.function), "dim")
    )


def _fold(item: Fold) -> tuple[Text, ...]:
    return _lines((item.layer, ""), (item.batch_norm, "dim")), _lines(
        (item.result, ""), (words.fold_kind(item) + words.place(item.function), "dim")
    )


def _by_reason(left_out: tuple[LeftOut, ...]) -> list[list[LeftOut]]:
    """Entries that say the same about different names, together; in the order of each first one."""
    alike: dict[tuple[str, ...], list[LeftOut]] = {}
    for entry in left_out:
        key = (entry.kind, entry.code, entry.reason, entry.remedy, entry.because or "", entry.function)
        alike.setdefault(key, []).append(entry)
    return list(alike.values())


def _left_out(alike: list[LeftOut]) -> tuple[Text, ...]:
    entry = alike[0]
    origin = f" ({entry.because})" if entry.because else ""
    reason = (words.sentence(f"{entry.reason}{origin}"), "")
    kind = entry.kind.replace("_", " ")
    kinds = kind if len(alike) == 1 else words.count(len(alike), kind)
    ops = ", ".join(dict.fromkeys(other.op for other in alike))
    names = _lines(*((other.name, "") for other in alike), (f"{kinds}, {ops}{words.place(entry.function)}", "dim"))
    return names, _lines((entry.code, "yellow"), reason, (entry.remedy, "green"))


def _table(title: str, header: tuple[str, ...], rows: list[tuple[Text, ...]], *, lines: bool = True) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", show_lines=lines)
    for name in header:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def _text(*parts: tuple[str, str]) -> Text:
    """Text of (what, style) pairs, folded rather than cut."""
    return Text.assemble(*((printable(what), style) for what, style in parts), overflow="fold")


def _lines(*parts: tuple[str, str]) -> Text:
    """A line for each (what, style) pair."""
    return Text("\n").join(_text(part) for part in parts)
