"""Sample data in the dtype of the placeholder that takes it, if that is what it means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fqrewrite.errors import InputError
from fqrewrite.model.tensorflow_import import tensorflow
from fqrewrite.run.inputs import GraphInput

if TYPE_CHECKING:
    import numpy

    Array = numpy.ndarray[Any, Any]

_WHOLE = "iu"
_TEXT = "SUO"


def check_dtype(dtype: Any, wanted: GraphInput, where: str) -> None:
    """Refuses numbers of another kind: whole numbers for a float placeholder are pixels that nobody has scaled yet.

    Args:
        dtype: of numpy.
        wanted: who takes the data.
        where: the data, for messages.

    Raises:
        InputError: `data-dtype`.
    """
    if wanted.dtype == "string":
        fits = dtype.kind in _TEXT
    elif wanted.dtype in ("float32", "float64", "float16", "bfloat16"):
        fits = dtype.kind == "f"
    elif wanted.dtype == "bool":
        fits = dtype.kind == "b"
    else:
        fits = dtype.kind in _WHOLE
    if not fits:
        what = f"this is {dtype}, and the placeholder {wanted.name!r} takes {wanted.dtype}"
        raise InputError("data-dtype", what, where=where)


def converted(array: Array, wanted: GraphInput, where: str, first: int = 0) -> Array:
    """Data in the dtype of a placeholder.

    Args:
        array: of a dtype that `check_dtype` accepts.
        wanted: who takes it.
        where: the data, for messages.
        first: the number of the first sample in it, for messages.

    Raises:
        InputError: `data-not-finite`; `data-dtype` for whole numbers that the placeholder's dtype cannot hold.
    """
    import numpy as np

    if wanted.dtype == "string":
        return array
    dtype = np.dtype(tensorflow().as_dtype(wanted.dtype).as_numpy_dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        result: Array = array.astype(dtype, copy=False)
    if array.dtype.kind == "f":
        finite = np.isfinite(result)
        if not finite.all():
            sample = first + int(np.argwhere(~finite)[0][0]) if array.ndim else first
            raise InputError("data-not-finite", f"sample {sample} holds NaN or infinity", where=where)
    elif not np.array_equal(result, array):
        raise InputError("data-dtype", f"a number in it does not fit into {wanted.dtype}", where=where)
    return result
