"""`python -m fqrewrite`."""

from fqrewrite.cli import main

main()
