"""What the parent asks of the child process that converts, and what it answers: records as JSON in a directory."""

from __future__ import annotations

import msgspec

from fqrewrite.check.records import OutputDifference

REQUEST, RESULT, STAGE = "request.json", "result.json", "stage"
GRAPH, MODEL, DATA = "saved_model.pb", "model.tflite", "data.npz"


class InputSpec(msgspec.Struct, frozen=True, kw_only=True):
    """An input of the graph.

    Attributes:
        key: in the signature.
        tensor: its placeholder, ``node:0``.
        dtype: TensorFlow's name.
        shape: -1 for an unknown size, None for an unknown rank.
        low, high: the range of its quantizer, or what random numbers are drawn from.
    """

    key: str
    tensor: str
    dtype: str
    shape: tuple[int, ...] | None
    low: float
    high: float


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What to do with the SavedModel in the same directory.

    Attributes:
        integer: "int8" or "uint8".
        inputs: by position.
        outputs: tensors by key of the signature, in order.
        data: whether `DATA` holds the inputs, by node name, first axis = samples; else they are random.
        samples: how many to run at most.
        seed: of random inputs.
    """

    integer: str
    inputs: tuple[InputSpec, ...]
    outputs: dict[str, str]
    data: bool
    samples: int
    seed: int


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it; rewritten at each stage, so that a crash leaves what was known before.

    Attributes:
        error: None when all went well.
        code: of an error that is the user's, such as data that do not fit.
        tensorflow: its version.
        operations: (name, input types, output types, output tensors) of each op of the model.
        outputs: the comparison.
        samples: that were compared.
    """

    error: str | None = None
    code: str | None = None
    tensorflow: str | None = None
    operations: tuple[tuple[str, tuple[str, ...], tuple[str, ...], tuple[str, ...]], ...] = ()
    outputs: tuple[OutputDifference, ...] = ()
    samples: int = 0
