"""The child process: converts, loads and runs a model. `python -m fqrewrite.check.child DIRECTORY`.

The converter and the kernels can take their process down, so that whatever is known is written before each step.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec

from fqrewrite.check import request as files
from fqrewrite.check.compare import compare_outputs
from fqrewrite.check.flatbuffer import read_model
from fqrewrite.check.request import Request, Result
from fqrewrite.check.samples import read_samples
from fqrewrite.errors import FqrewriteError
from fqrewrite.model.tensorflow_import import tensorflow


def work(directory: Path) -> None:
    """Does what the request in a directory asks for, and leaves the result there."""
    request = msgspec.json.decode((directory / files.REQUEST).read_bytes(), type=Request)
    result = Result()
    try:
        for result in _steps(directory, request):
            (directory / files.RESULT).write_bytes(msgspec.json.encode(result))
    except FqrewriteError as error:
        failed = msgspec.structs.replace(result, error=error.what, code=error.code)
        (directory / files.RESULT).write_bytes(msgspec.json.encode(failed))
    except Exception as error:  # TensorFlow raises whatever it likes, and all of it is the answer
        failed = msgspec.structs.replace(result, error=_message(error))
        (directory / files.RESULT).write_bytes(msgspec.json.encode(failed))


def _steps(directory: Path, request: Request) -> Any:
    def stage(name: str) -> None:
        (directory / files.STAGE).write_text(name, encoding="ascii")

    stage("converting")
    samples = read_samples(request, directory / files.DATA)
    tf = tensorflow()
    result = Result(tensorflow=str(tf.__version__))
    yield result
    data = _convert(tf, directory, request)
    (directory / files.MODEL).write_bytes(data)
    stage("inspecting")
    model = read_model(data)
    result = msgspec.structs.replace(result, operations=tuple(tuple(operation) for operation in model.operations))
    yield result
    stage("loading")
    interpreter = load_interpreter(tf, data)
    interpreter.allocate_tensors()
    stage("running")
    with tf.compat.v1.Session(graph=load_graph(tf, directory)) as session:
        outputs = compare_outputs(session, interpreter, model, request, samples)
    yield msgspec.structs.replace(result, outputs=outputs, samples=len(samples))
    stage("done")


def load_interpreter(tf: Any, data: bytes) -> Any:
    """An interpreter of TFLite's builtin kernels, without delegates (XNNPACK rounds in other ways)."""
    kernels = tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    return tf.lite.Interpreter(model_content=data, experimental_op_resolver_type=kernels)


def _convert(tf: Any, directory: Path, request: Request) -> bytes:
    if request.integer == "int8":
        converter = tf.lite.TFLiteConverter.from_saved_model(str(directory))
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        return bytes(converter.convert())
    graph = load_graph(tf, directory)
    inputs = [graph.get_tensor_by_name(item.tensor) for item in request.inputs]
    outputs = [graph.get_tensor_by_name(tensor) for tensor in request.outputs.values()]
    converter = tf.compat.v1.lite.TFLiteConverter(graph.as_graph_def(), inputs, outputs)
    converter.inference_type = tf.uint8
    # (mean, std): real = (integer - mean) / std
    stats = ((item, (item.high - item.low) / 255) for item in request.inputs)
    converter.quantized_input_stats = {
        item.tensor.partition(":")[0]: (float(round(-item.low / scale)), 1 / scale) for item, scale in stats
    }
    return bytes(converter.convert())


def load_graph(tf: Any, directory: Path) -> Any:
    """The graph of the SavedModel in a directory, imported."""
    from fqrewrite.proto import SavedModel

    saved_model = SavedModel.FromString((directory / files.GRAPH).read_bytes())
    content = saved_model.meta_graphs[0].graph_def.SerializeToString()
    graph = tf.Graph()
    with graph.as_default():
        tf.import_graph_def(tf.compat.v1.GraphDef.FromString(content), name="")
    return graph


def _message(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for line in lines if "error:" in line] or lines
    return (told[0] if told else type(error).__name__)[:_LONGEST]


_LONGEST = 500

if __name__ == "__main__":
    work(Path(sys.argv[1]))
