"""What is in a converted model: its ops, the types of their tensors, and float islands among them."""

from __future__ import annotations

from typing import Any, NamedTuple

_FLOATS = frozenset({"FLOAT16", "FLOAT32", "FLOAT64", "BFLOAT16"})
_BOUNDARY = frozenset({"QUANTIZE", "DEQUANTIZE"})
_SIZES_ONLY = frozenset({"SHAPE", "RANK"})
"""They read no number of their input, of whatever type that is, and give integers."""


class LiteOperation(NamedTuple):
    """One op of a TFLite model.

    Attributes:
        name: builtin op, or CUSTOM:name.
        inputs, outputs: types of its tensors, "-" for one left out.
        tensors: names of its outputs.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    tensors: tuple[str, ...]

    @property
    def is_island(self) -> bool:
        """Whether it computes in float; QUANTIZE and DEQUANTIZE only convert."""
        return self.name not in _BOUNDARY | _SIZES_ONLY and not _FLOATS.isdisjoint(self.inputs + self.outputs)


class LiteModel(NamedTuple):
    """A TFLite model.

    Attributes:
        operations: of all subgraphs, in order.
        output_scales: of the signature's outputs by key, or else by position: one step of the integers behind each;
            None for an output that has none.
    """

    operations: tuple[LiteOperation, ...]
    output_scales: dict[str, float | None]


def read_model(data: bytes) -> LiteModel:
    """Takes a model apart. Needs TensorFlow (its flatbuffer schema), imported before with `tensorflow()`."""
    from fqrewrite.model.tensorflow_import import lite_schema

    schema = lite_schema()
    names, types = _names(schema.BuiltinOperator), _names(schema.TensorType)
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    operations = tuple(
        _operation(operator, subgraph, model.operatorCodes, names, types)
        for subgraph in model.subgraphs
        for operator in subgraph.operators
    )
    return LiteModel(operations, _output_scales(model))


def _names(enum: Any) -> dict[int, str]:
    return {number: name for name, number in vars(enum).items() if isinstance(number, int)}


def _operation(operator: Any, subgraph: Any, codes: Any, names: dict[int, str], types: dict[int, str]) -> LiteOperation:
    code = codes[operator.opcodeIndex]
    name = names.get(max(code.builtinCode, code.deprecatedBuiltinCode), "?")
    if name == "CUSTOM":
        name = f"CUSTOM:{(code.customCode or b'').decode('utf-8', 'replace')}"

    def type_of(index: int) -> str:
        return "-" if index < 0 else types.get(subgraph.tensors[index].type, "?")

    return LiteOperation(
        name,
        tuple(type_of(index) for index in _list(operator.inputs)),
        tuple(type_of(index) for index in _list(operator.outputs)),
        tuple(subgraph.tensors[index].name.decode("utf-8", "replace") for index in _list(operator.outputs)),
    )


def _list(indices: Any) -> list[int]:
    return [] if indices is None else [int(index) for index in indices]


def _output_scales(model: Any) -> dict[str, float | None]:
    subgraph = model.subgraphs[0]
    before = {
        int(operator.outputs[0]): int(operator.inputs[0])
        for operator in subgraph.operators
        if len(_list(operator.outputs)) == 1 and len(_list(operator.inputs)) == 1
    }

    def scale(index: int) -> float | None:
        for tensor in (index, before.get(index, index)):
            quantization = subgraph.tensors[tensor].quantization
            if quantization is not None and quantization.scale is not None and len(quantization.scale) == 1:
                return float(quantization.scale[0])
        return None

    if model.signatureDefs:
        maps = model.signatureDefs[0].outputs
        return {entry.name.decode(): scale(int(entry.tensorIndex)) for entry in maps}
    return {str(position): scale(int(index)) for position, index in enumerate(_list(subgraph.outputs))}
