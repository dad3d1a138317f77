"""`python -m fqrewrite`, and the `fqrewrite` command: runs it, and turns errors into messages and exit statuses.

Exit status 0: done. 1: the graph is refused, or nothing would be quantized. 2: a wrong command line, config or plan.
3: a file that cannot be read or written, or a damaged graph. 4: a bug of fqrewrite.
"""

from __future__ import annotations

import gc
import io
import os
import sys
from typing import NoReturn

from fqrewrite.errors import FqrewriteError, InputError, Refusal

_INTERNAL_ERROR = 4


def main() -> NoReturn:
    """Runs a command and exits."""
    # A run builds its objects once and ends. Looking for cycles meanwhile costs 6 ms of imports and doubles the rest.
    gc.disable()
    from fqrewrite.cli import cli

    for stream in (sys.stdout, sys.stderr):
        # A name that the terminal's encoding lacks is shown with escapes.
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            cli(prog_name="fqrewrite")
        except SystemExit as end:
            if end.code:
                raise
        _leave()
    except FqrewriteError as error:
        _complain(error)
        sys.exit(_exit_status(error))
    except OSError as error:  # those of files are InputErrors by now
        what = f"standard output cannot be written: {error.strerror or error}"
        failed = InputError("output-unwritable", what, remedy="send it somewhere else, or use --quiet")
        _complain(failed)
        os._exit(_exit_status(failed))  # an ordinary exit would try to write the rest
    except Exception as error:
        if os.environ.get("FQREWRITE_DEBUG"):
            raise
        what = f"{type(error).__name__}: {error}"
        _complain(FqrewriteError("internal-error", what, where="a bug of fqrewrite"))
        _say("  FQREWRITE_DEBUG=1 shows where")
        sys.exit(_INTERNAL_ERROR)


def _exit_status(error: FqrewriteError) -> int:
    if isinstance(error, Refusal):
        return 1
    return 3 if isinstance(error, InputError) else 2


def _complain(error: FqrewriteError) -> None:
    from fqrewrite.codes import CODES

    remedy = error.remedy or CODES[error.code].remedy
    _say(f"error: {error}")
    _say(f"  what to do: {remedy[:1].upper()}{remedy[1:].rstrip('.')}.")


def _say(text: str) -> None:
    if sys.stderr is not None:  # None when it was closed from outside
        print(text, file=sys.stderr)


def _leave() -> NoReturn:
    """Ends the process without taking down the graph object by object, which would cost as long as rewriting it."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
