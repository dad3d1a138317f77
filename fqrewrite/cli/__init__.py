"""The command line: options in, verbs called. Thin on purpose; errors become exit statuses in `__main__`.

Everything that a command needs is imported in that command, so that `--help` answers at once.
"""

from __future__ import annotations

import click

from fqrewrite import __version__
from fqrewrite.cli.calibrating import calibrate, compare
from fqrewrite.cli.checking import check
from fqrewrite.cli.checkpoints import warm_start
from fqrewrite.cli.looking import config, explain, rules, show
from fqrewrite.cli.rewriting import eval_, plan, train


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(prog)s %(version)s")
def cli() -> None:
    """Rewrite serialized TensorFlow graphs for quantization-aware training, and for eval.

    \b
    fqrewrite train model.meta -o train.meta   add an optimizer to this, and train
    fqrewrite eval  ckpt-1000  -o eval.pb      the trained checkpoint, ready for the converter
    """


for _command in (train, eval_, calibrate, check, compare, plan, warm_start, show, rules, explain, config):
    cli.add_command(_command)
