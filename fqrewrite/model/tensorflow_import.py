"""Importing TensorFlow, which takes seconds and is needed for checkpoints and for running graphs only."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any

from fqrewrite.errors import ConfigError


def tensorflow() -> Any:
    """Returns the module `tensorflow`, imported now if it is not yet.

    oneDNN and TensorFlow's log are switched off in the environment, unless somebody decided otherwise before:
    oneDNN shifts numbers and its kernels crash on some graphs.

    Raises:
        ConfigError: it is not installed, or does not load (code tensorflow-missing).
    """
    if "tensorflow" not in sys.modules:
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        with _quiet():
            return _imported()
    return _imported()


def lite_schema() -> Any:
    """Returns TensorFlow's module of TFLite's flatbuffer schema.

    Raises:
        ConfigError: as `tensorflow`.
    """
    tensorflow()
    from tensorflow.lite.python import schema_py_generated

    return schema_py_generated


def variable_from_proto(serialized: bytes) -> Any:
    """Makes the Python object of a variable whose nodes are in the default graph, as `import_meta_graph` does.

    Args:
        serialized: VariableDef.

    Raises:
        ConfigError: as `tensorflow`.
    """
    tensorflow()
    from tensorflow.core.framework import variable_pb2
    from tensorflow.python.framework import ops

    # A reference variable or a resource variable; the public `Variable.from_proto` knows the former only.
    return ops.get_from_proto_function("variables")(variable_pb2.VariableDef.FromString(serialized))


def first_line(error: Exception) -> str:
    """The first line of what TensorFlow says is wrong, without the traces that follow it."""
    lines = str(getattr(error, "message", None) or error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


def _imported() -> Any:
    try:
        import tensorflow
    except ImportError as error:
        reason = " ".join(str(error).split())
        raise ConfigError("tensorflow-missing", f"TensorFlow cannot be imported: {reason}") from error
    return tensorflow


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Standard error goes nowhere: the C++ side writes there about missing GPUs before it knows its log level."""
    sys.stderr.flush()
    try:
        saved = os.dup(2)
    except OSError:  # closed
        yield
        return
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
