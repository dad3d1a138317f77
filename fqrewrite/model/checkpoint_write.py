"""Writing checkpoints that a TF1 Saver restores, with TensorFlow itself."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fqrewrite.errors import InputError, path_text
from fqrewrite.model.atomic import write_all
from fqrewrite.model.checkpoint import shard_name
from fqrewrite.model.tensorflow_import import first_line, tensorflow

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]


def write_checkpoint(values: Mapping[str, Array], prefix: str | os.PathLike[str]) -> None:
    """Writes a checkpoint, whole or not at all; see `checkpoint_files`.

    Raises:
        ConfigError: code tensorflow-missing.
        InputError: code output-unwritable.
    """
    write_all(checkpoint_files(values, prefix))


def checkpoint_files(values: Mapping[str, Array], prefix: str | os.PathLike[str]) -> list[tuple[Path, bytes]]:
    """Makes the files of a checkpoint that a TF1 `Saver.restore(session, prefix)` reads.

    The same values give the same bytes. All of it is held in memory, for a caller who writes other files together
    with it.

    Args:
        values: arrays by key, at least one; each keeps its dtype and shape. Strings are objects (bytes).
        prefix: of the files; text that ends with a slash for an empty last component.

    Returns:
        Path and content of the data and, last, the index: `atomic.write_all` completes them in this order.

    Raises:
        ConfigError: code tensorflow-missing.
        InputError: they cannot be written to the directory for temporary files (code output-unwritable).
    """
    tf = tensorflow()
    names = (shard_name("", 0, 1), ".index")
    try:
        with tempfile.TemporaryDirectory(prefix="fqrewrite-") as directory:
            temporary = f"{directory}/ckpt"
            _save(tf, values, temporary)
            return [(Path(f"{os.fspath(prefix)}{name}"), Path(f"{temporary}{name}").read_bytes()) for name in names]
    except (OSError, tf.errors.OpError) as error:
        what = f"the checkpoint cannot be written: {first_line(error)}"
        raise InputError("output-unwritable", what, where=path_text(prefix)) from error


def _save(tf: Any, values: Mapping[str, Array], prefix: str) -> None:
    """Runs SaveV2 in a graph of its own, which works whether or not the caller switched eager execution off."""
    keys = sorted(values)
    # Values are fed: as constants they would have to fit into a GraphDef. No GPU: they go from memory to a file.
    config = tf.compat.v1.ConfigProto(device_count={"GPU": 0})
    with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph, config=config) as session:
        inputs = [tf.compat.v1.placeholder(values[key].dtype, values[key].shape) for key in keys]
        slices = [""] * len(keys)
        save = tf.raw_ops.SaveV2(prefix=prefix, tensor_names=keys, shape_and_slices=slices, tensors=inputs)
        session.run(save, {tensor: values[key] for tensor, key in zip(inputs, keys, strict=True)})
