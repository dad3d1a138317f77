"""What the tool knows, from the tables it works by: codes and rules, for the terminal and for README."""

from __future__ import annotations

from fqrewrite.codes import CODES, Code, Kind
from fqrewrite.errors import ConfigError
from fqrewrite.report.escape import code_cell, prose_cell, table

_KINDS: dict[Kind, str] = {
    "error": "Errors end the run",
    "left-out": "Left out: why a layer, batch norm or tensor stays as it is",
    "note": "Notes are worth knowing",
    "finding": "Findings of `fqrewrite check`",
}
_WIDTH = 100


def explain_text(name: str | None) -> str:
    """The text of ``fqrewrite explain [CODE]``.

    Args:
        name: of a code; None for a list of all, by kind.

    Raises:
        ConfigError: `unknown-code`, with the codes of the nearest names.
    """
    if name is not None:
        found = CODES.get(name)
        if found is None:
            raise _unknown(name)
        return f"{found.name} ({found.kind})\n" + _wrapped(found.meaning) + _wrapped(f"What to do: {found.remedy}")
    blocks = []
    for kind, title in _KINDS.items():
        codes = _codes(kind)
        width = max(len(code.name) for code in codes)
        blocks.append(f"{title}\n" + "".join(f"  {code.name:<{width}}  {code.meaning}\n" for code in codes))
    return "\n".join(blocks)


def codes_markdown() -> str:
    """README's table of codes, by kind and name."""
    rows = [
        (code_cell(code.name), kind, prose_cell(code.meaning), prose_cell(code.remedy))
        for kind in _KINDS
        for code in _codes(kind)
    ]
    return table(("code", "kind", "meaning", "what to do"), rows)


def rules_table(*, markdown: bool = False) -> str:
    """Every rule in the order in which they are tried: for ``fqrewrite rules``, or as README's table."""
    # The rules know the graph, which nothing else in a report needs.
    from fqrewrite.rules import all_rules

    rules = all_rules()
    if markdown:
        rows = [
            (code_cell(rule.name), rule.phase, ", ".join(map(code_cell, rule.ops)), prose_cell(rule.summary))
            for rule in rules
        ]
        return table(("rule", "phase", "tried on", "what it says"), rows)
    blocks = []
    for rule in rules:
        tried = _wrapped(f"Tried on: {', '.join(rule.ops)}")
        blocks.append(f"{rule.name} ({rule.phase})\n{_wrapped(rule.summary)}{tried}")
    return "\n".join(blocks)


def _codes(kind: Kind) -> list[Code]:
    return sorted((code for code in CODES.values() if code.kind == kind), key=lambda code: code.name)


def _wrapped(text: str) -> str:
    import textwrap

    lines = textwrap.wrap(text, _WIDTH - 2, break_long_words=False, break_on_hyphens=False)
    return "".join(f"  {line}\n" for line in lines)


def _unknown(name: str) -> ConfigError:
    import difflib

    near = difflib.get_close_matches(name, CODES, n=3, cutoff=0.5)
    hint = f"; the nearest: {', '.join(near)}" if near else ""
    return ConfigError("unknown-code", f"there is no code {name!r}{hint}")
