"""`python -m fqrewrite`, and the `fqrewrite` command."""

import gc

# A run builds its objects once and ends. Looking for cycles meanwhile costs 6 ms of imports and doubles the rest.
gc.disable()

from fqrewrite.cli import main  # noqa: E402

if __name__ == "__main__":
    main()
