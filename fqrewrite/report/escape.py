"""Names in renderings: a GraphDef may hold any string, and none may break a line, a table or a terminal."""

from __future__ import annotations

from collections.abc import Sequence

_MARKDOWN = str.maketrans({mark: f"\\{mark}" for mark in "\\`*_[]<>|~&"})


def printable(text: str) -> str:
    """The text on one line, with control characters (escape sequences, newlines) written as ``\\x1b``."""
    if text.isprintable():
        return text
    return "".join(mark if mark.isprintable() else ascii(mark)[1:-1] for mark in text)


def code(text: str) -> str:
    """A name as Markdown code; the fence is longer than any run of backticks inside."""
    text = printable(text)
    fence = "`"
    while fence in text:
        fence += "`"
    space = " " if "`" in (text[:1], text[-1:]) else ""
    return f"{fence}{space}{text}{space}{fence}"


def code_cell(text: str) -> str:
    """`code` for a table, where a bar ends the cell even inside code."""
    return code(text).replace("|", "\\|")


def plain(text: str) -> str:
    """Plain text for Markdown, where it must look as it is."""
    return printable(text).translate(_MARKDOWN)


def prose_cell(markdown: str) -> str:
    """Markdown of our own (a remedy, a rule's summary) for a table; ``<scope>`` outside code is no HTML."""
    parts = printable(markdown).split("`")
    parts[::2] = [part.replace("<", "&lt;") for part in parts[::2]]
    return "`".join(parts).replace("|", "\\|")


def table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A Markdown table of cells that are escaped already, with a newline at its end."""
    lines = [header, ("---",) * len(header), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
