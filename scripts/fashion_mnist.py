"""Fashion-MNIST from Debian's package `dataset-fashion-mnist`: finding it and reading its idx files.

Shared by the scripts that train, calibrate or evaluate the model in examples/fashion_mnist.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
CLASSES = 10

# The prefix that the original MNIST files gave each split; Fashion-MNIST kept it.
_PREFIX = {"train": "train", "test": "t10k"}


class DataError(Exception):
    """The data set is missing or damaged; the message says what to do."""


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Reads one gzipped idx file of unsigned bytes.

    The format: two zero bytes, 0x08 for uint8, the rank, then one big-endian uint32 per dimension, then the
    values in row-major order.

    Returns:
        uint8 of the shape that the header states.

    Raises:
        DataError: the file is not gzip, not idx of uint8, or its length disagrees with its header.
    """
    try:
        raw = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read as gzip: {error}") from error
    if len(raw) < 4 or raw[:3] != b"\0\0\x08" or len(raw) < 4 + 4 * raw[3]:
        raise DataError(f"{path}: not an idx file of unsigned bytes")
    rank = raw[3]
    shape = struct.unpack_from(f">{rank}I", raw, 4)
    values = np.frombuffer(raw, np.uint8, offset=4 + 4 * rank)
    if values.size != np.prod(shape, dtype=np.int64):
        raise DataError(f"{path}: {values.size} values where the header {shape} wants another number")
    return values.reshape(shape)


def load(split: Literal["train", "test"], folder: Path | None = None) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Loads one split.

    Args:
        split: "train" (60,000 images) or "test" (10,000).
        folder: holds the four `*-ubyte.gz` files; Debian's folder when None.

    Returns:
        images uint8[N, 28, 28], 0 to 255, and labels int64[N], 0 to 9.

    Raises:
        DataError: a file is missing or damaged, or images and labels disagree.
    """
    where = folder or DEBIAN_FOLDER
    images_path = where / f"{_PREFIX[split]}-images-idx3-ubyte.gz"
    labels_path = where / f"{_PREFIX[split]}-labels-idx1-ubyte.gz"
    for path in (images_path, labels_path):
        if not path.is_file():
            raise DataError(
                f"{path} not found. Install the data with `apt-get update && apt-get install "
                "dataset-fashion-mnist`, or name the folder that holds the four idx files with --data DIR"
            )
    images, labels = read_idx(images_path), read_idx(labels_path)
    if images.shape[1:] != (28, 28) or labels.shape != images.shape[:1]:
        raise DataError(f"{where}: images {images.shape} and labels {labels.shape} are not Fashion-MNIST's")
    return images, labels.astype(np.int64)


def to_input(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Turns uint8[N, 28, 28] into the model's `images`: float32[N, 28, 28, 1] in [0, 1]."""
    return (images.astype(np.float32) / 255.0)[..., np.newaxis]
