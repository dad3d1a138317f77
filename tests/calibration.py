"""The shipped model with sample data, for tests that run graphs on data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from command_line import EXAMPLES
from quantized_training import pictures

from fqrewrite.cli import cli

CHECKPOINT = EXAMPLES / "model"
EVAL_GRAPH = EXAMPLES / "model_eval.meta"
FLOAT_LOGITS = "logits/BiasAdd:0"


def fqrewrite(*args: str | Path) -> None:
    """Runs a command in this process: TensorFlow takes longer to import than all the rest."""
    cli(list(map(str, args)), prog_name="fqrewrite", standalone_mode=False)


def write_pictures(path: Path, first: int = 0, end: int = 64, **more: Any) -> Path:
    """Writes some of the test pictures as an .npz file."""
    np.savez(path, images=pictures(end)[first:], **more)
    return path
