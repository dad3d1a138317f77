"""A folder of pictures as sample data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from fqrewrite.errors import ConfigError, InputError, path_text
from fqrewrite.model.tensorflow_import import first_line, tensorflow
from fqrewrite.run.inputs import GraphInput

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]

Layout = Literal["NHWC", "NCHW"]

_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif"})
_CHANNELS = (1, 3, 4)


class ImageOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How pictures become samples: (pixel - mean) / std, pixels from 0 to 255.

    Attributes:
        size: (height, width); None for the placeholder's.
        mean, std: one number, or one for each channel.
        layout: None for what the placeholder's shape says.
    """

    size: tuple[int, int] | None = None
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    layout: Layout | None = None


AS_THEY_ARE = ImageOptions()


class ImageColumn:
    """The pictures of a folder and the folders in it, in the order of their names, as a `columns.Column`.

    They are resized to the size asked for, whatever their proportions, bilinearly with antialiasing.

    Args:
        folder: where they are.
        wanted: the placeholder that takes them.
        options: how.

    Raises:
        InputError: `data-empty`, `data-shape` for a placeholder that takes no pictures or others.
        ConfigError: `data-options`.
    """

    def __init__(self, folder: Path, wanted: GraphInput, options: ImageOptions) -> None:
        import numpy as np

        self.where = path_text(folder)
        self._wanted = wanted
        files = (path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES)
        self._files = sorted(files, key=lambda path: path.relative_to(folder).parts)
        if not self._files:
            what = f"the folder holds no picture ({', '.join(sorted(_SUFFIXES))})"
            raise InputError("data-empty", what, where=self.where)
        height, width, channels, self._layout = _geometry(wanted, options, self.where)
        for numbers, flag in ((options.mean, "--mean"), (options.std, "--std")):
            if len(numbers) not in (1, channels):
                what = f"{flag} has {len(numbers)} numbers, and the pictures have {channels} channels"
                raise ConfigError("data-options", what, where=flag)
        self.dtype = np.dtype("float32" if wanted.dtype.startswith(("float", "bfloat")) else wanted.dtype)
        sizes = (height, width, channels) if self._layout == "NHWC" else (channels, height, width)
        self.shape = (len(self._files), *sizes)
        self._mean, self._std = (np.asarray(numbers, np.float32) for numbers in (options.mean, options.std))
        self._decode = _decoder(height, width, channels)
        self._position = 0

    def read(self, count: int) -> Array:
        """As `columns.Column`.

        Raises:
            InputError: `data-unreadable`.
        """
        import numpy as np

        begin, self._position = self._position, min(self._position + count, len(self._files))
        return np.stack([self._picture(path) for path in self._files[begin : self._position]])

    def _picture(self, path: Path) -> Array:
        import numpy as np

        tf = tensorflow()
        try:
            pixels = self._decode(path.read_bytes())
        except (OSError, tf.errors.OpError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else first_line(error)
            what = f"the picture cannot be read: {reason}"
            raise InputError("data-unreadable", what, where=path_text(path)) from None
        picture = (pixels - self._mean) / self._std
        if self.dtype.kind != "f":
            limits = np.iinfo(self.dtype)
            picture = np.clip(np.rint(picture), limits.min, limits.max)
        if self._layout == "NCHW":
            picture = picture.transpose(2, 0, 1)
        result: Array = picture.astype(self.dtype)
        return result


def _geometry(wanted: GraphInput, options: ImageOptions, where: str) -> tuple[int, int, int, Layout]:
    """Height, width, channels and layout of the samples."""
    shape = wanted.shape
    if shape is not None and len(shape) not in (3, 4):
        what = f"the placeholder {wanted.name!r} has {len(shape)} dimensions, and takes no pictures"
        raise InputError("data-shape", what, where=where)
    sizes: Sequence[int] = shape[-3:] if shape is not None else (-1, -1, -1)
    layout = options.layout
    if layout is None:
        layout = "NCHW" if sizes[2] not in _CHANNELS and sizes[0] in _CHANNELS else "NHWC"
    height, width, channels = sizes if layout == "NHWC" else (sizes[1], sizes[2], sizes[0])
    if options.size is not None:
        known = (height, width)
        if any(-1 != size != asked for size, asked in zip(known, options.size, strict=True)):
            what = f"the placeholder {wanted.name!r} takes pictures of {height} x {width}, {layout}"
            raise ConfigError("data-options", what, where="--image-size")
        height, width = options.size
    if height < 1 or width < 1:
        what = f"the placeholder {wanted.name!r} leaves the size of pictures open; say --image-size HEIGHTxWIDTH"
        raise ConfigError("data-options", what, where=where)
    channels = 3 if channels < 0 else channels
    if channels not in _CHANNELS:
        what = f"the placeholder {wanted.name!r} takes {channels} channels with layout {layout}"
        raise InputError("data-shape", what, where=where)
    return height, width, channels, layout


def _decoder(height: int, width: int, channels: int) -> Any:
    """From a file's bytes to float32[height, width, channels], 0 to 255."""
    tf = tensorflow()
    tf1 = tf.compat.v1
    graph = tf1.Graph()
    with graph.as_default():
        content = tf1.placeholder(tf.string, [])
        picture = tf.io.decode_image(content, channels=channels, expand_animations=False)
        resized = tf.image.resize(tf.cast(picture, tf.float32), [height, width], antialias=True)
    session = tf1.Session(graph=graph)
    return lambda data: session.run(resized, {content: data})
