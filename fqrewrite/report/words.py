"""The report in words: phrases that several renderings share."""

from __future__ import annotations

from collections import Counter

from fqrewrite.report.records import FakeQuant, Fold, Range, Report


def is_dry(report: Report) -> bool:
    """Whether nothing was changed: `fqrewrite plan`, or a rewrite given up because it would be empty."""
    return report.summary.nodes_inserted is None


def run(report: Report) -> str:
    """What was run: ``train``, ``plan, nothing is changed``; for a heading before the paths."""
    mode = report.mode or "plan"
    return f"{mode}, nothing is changed" if is_dry(report) else mode


def title(report: Report) -> str:
    """One line: the tool, what was run, and on what."""
    target = "" if report.output is None or is_dry(report) else f" -> {report.output}"
    return f"fqrewrite {report.tool_version} ({run(report)}): {report.input.path}{target}"


def count(number: int, thing: str) -> str:
    """``1 layer``, ``2 layers``."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def by_name(counts: dict[str, int]) -> str:
    """``weights 3, bypass input 2``."""
    return ", ".join(f"{name.replace('_', ' ')} {number}" for name, number in counts.items())


def left_out_kinds(report: Report) -> str:
    """``1 layer, 3 tensors and 2 batch norms``; "nothing" when nothing is left out."""
    kinds = [count(number, kind.replace("_", " ")) for kind, number in report.summary.left_out_kinds.items()]
    if len(kinds) < 2:
        return kinds[0] if kinds else "nothing"
    return f"{', '.join(kinds[:-1])} and {kinds[-1]}"


def summary_lines(report: Report) -> list[tuple[str, str]]:
    """The summary as pairs of label and text."""
    summary = report.summary
    quantizers = sum(summary.fake_quants.values())
    lines = [("layers quantized", f"{summary.layers_quantized} of {summary.layers}")]
    lines += [("fake quantizers", str(quantizers) + _brackets(by_name(summary.fake_quants)))]
    lines += [("batch norms", f"{summary.folds} folded")]
    if summary.nodes_inserted is not None and summary.variables_created is not None:
        nodes, variables = count(summary.nodes_inserted, "node"), count(summary.variables_created, "variable")
        lines += [("graph", f"{nodes} inserted, {variables} created")]
    if report.respelled:
        lines += [("written anew", f"{count(len(report.respelled), 'operation')} that had no integer kernel")]
    lines += change_lines(report)
    lines += [("left out", left_out_kinds(report) + _brackets(by_name(summary.left_out_codes)))]
    return lines


def change_lines(report: Report) -> list[tuple[str, str]]:
    """What was done beside folding and quantizing, as pairs of label and text; nothing for what was not done."""
    changes = report.changes
    if changes is None:
        return []
    lines = [("bound", f"{name} = {literal(value)}{_known(name, report)}") for name, value in changes.bound.items()]
    counts = [
        (changes.conditionals, "conditional", "resolved"),
        (len(changes.batch_norms), "batch norm", "to moving averages"),
        (len(changes.dropouts), "dropout", "removed"),
    ]
    done = ", ".join(f"{count(number, thing)} {how}" for number, thing, how in counts if number)
    lines += [("inference" if report.mode == "eval" else "prepared", done)] if done else []
    if changes.inlined:
        lines.append(("inlined", count(changes.inlined, "function call")))
    if changes.thawed:
        lines.append(("thawed", count(len(changes.thawed), "constant")))
    if changes.frozen:
        lines.append(("frozen", count(changes.frozen, "variable")))
    origins = Counter(item.range.origin for item in report.inserted if item.range.origin)
    if origins:
        lines.append(("ranges from", by_name(dict(sorted(origins.items())))))
    if changes.removed:
        lines.append(("removed", count(sum(changes.removed.values()), "node") + _brackets(by_name(changes.removed))))
    if report.mode == "eval" and report.outputs:
        lines.append(("outputs", ", ".join(report.outputs)))
    return lines


def _known(name: str, report: Report) -> str:
    recognised = report.changes is not None and name in report.changes.phases
    return ", recognised as the switch between training and inference" if recognised else ""


def literal(value: object) -> str:
    """A value as it is written on the command line: ``false``, ``0.5``."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def short_scheme(quantizer: FakeQuant) -> str:
    """``8 bits, symmetric, per channel``; what is not said is the opposite."""
    symmetric = ", symmetric" if quantizer.symmetric else ""
    per_channel = ", per channel" if quantizer.granularity == "per_channel" else ""
    return f"{quantizer.bits} bits{symmetric}{per_channel}"


def scheme(quantizer: FakeQuant) -> str:
    """`short_scheme`, and whether the range is narrow."""
    return short_scheme(quantizer) + (", narrow range" if quantizer.narrow_range else "")


def range_source(source: Range) -> str:
    """``last value``, ``moving average (0.999)``, ``constant [-1.5, 1.5]`` or ``constant, 32 channels``."""
    if source.minimum is not None and source.maximum is not None:
        if len(source.minimum) > 1:
            return f"constant, {len(source.minimum)} channels"
        return f"constant [{source.minimum[0]:g}, {source.maximum[0]:g}]"
    return "last value" if source.decay is None else f"moving average ({source.decay:g})"


def decided_by(quantizer: FakeQuant) -> str:
    """The rule, and the config rule that shaped it."""
    return quantizer.rule + _brackets(quantizer.because or "")


def fold_kind(fold: Fold) -> str:
    """``fused, batch statistics, frozen from step 100``."""
    frozen = "" if fold.freeze_delay is None else f", frozen from step {fold.freeze_delay}"
    return f"{fold.form}, {fold.statistics} statistics{frozen}"


def place(function: str) -> str:
    """``, in the function f``; nothing for the main graph."""
    return f", in the function {function}" if function else ""


def sentence(text: str) -> str:
    """With a full stop."""
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _brackets(text: str) -> str:
    return f" ({text})" if text else ""
