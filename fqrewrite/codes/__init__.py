"""Every stable code a user can meet, what it means and what to do: README's table and `fqrewrite explain`.

Kinds: an "error" ends the run; "left-out" is the reason for which a layer or tensor stays as it is; a "note" is worth
knowing; a "finding" is one of `fqrewrite check`. Codes are never renamed.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from fqrewrite.codes.errors import ERRORS
from fqrewrite.codes.findings import FINDINGS
from fqrewrite.codes.left_out import LEFT_OUT
from fqrewrite.codes.notes import NOTES
from fqrewrite.codes.running import RUNNING
from fqrewrite.codes.saved_models import SAVED_MODELS

Kind = Literal["error", "left-out", "note", "finding"]


class Code(msgspec.Struct, frozen=True):
    """One stable code.

    Attributes:
        name: as it stands in messages and reports.
        kind: "error", "left-out", "note" or "finding".
        meaning: one or two sentences, Markdown.
        remedy: what to do, one sentence.
    """

    name: str
    kind: Kind
    meaning: str
    remedy: str


def _codes(kind: Kind, table: dict[str, tuple[str, str]]) -> dict[str, Code]:
    return {name: Code(name, kind, meaning, remedy) for name, (meaning, remedy) in table.items()}


CODES: dict[str, Code] = {
    **_codes("error", ERRORS),
    **_codes("error", RUNNING),
    **_codes("error", SAVED_MODELS),
    **_codes("left-out", LEFT_OUT),
    **_codes("note", NOTES),
    **_codes("finding", FINDINGS),
}
