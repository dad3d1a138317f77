"""The errors a user can meet, and nothing else.

Every error carries a stable code from `fqrewrite.codes`; the code decides the exit status and is what
`fqrewrite explain` explains. A message says what is wrong, where, and what to do about it.
"""

from __future__ import annotations

import os


def path_text(path: str | os.PathLike[str]) -> str:
    """A path as text for messages and reports: bytes of a file name that are no UTF-8 become ``\\xff``."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


class FqrewriteError(Exception):
    """One clear error for the user.

    Args:
        code: a code of kind "error" in `fqrewrite.codes.CODES`.
        what: one sentence, no trailing full stop: what is wrong.
        where: the file, key, line, node or tensor that it is wrong in.
        remedy: what to do; the code's own remedy when left out.
    """

    def __init__(self, code: str, what: str, *, where: str | None = None, remedy: str | None = None) -> None:
        self.code = code
        self.what = what
        self.where = where
        self.remedy = remedy
        super().__init__(f"{where}: {what} [{code}]" if where else f"{what} [{code}]")


class InputError(FqrewriteError):
    """A model file that cannot be read, or an output that cannot be written (exit status 3)."""


class GraphError(InputError):
    """A graph that breaks TensorFlow's own rules: a dangling input, a duplicate name, a cycle (exit status 3)."""


class ConfigError(FqrewriteError):
    """A wrong configuration file or command line (exit status 2)."""


class Refusal(FqrewriteError):
    """A sound graph that this tool must not, or cannot yet, rewrite (exit status 1)."""
