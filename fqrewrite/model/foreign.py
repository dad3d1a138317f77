"""Files that are no graph, recognised so that the error can say what they are and what to do.

Only asked after a file could not be read as a graph: a graph may start with any of these bytes (a node
named TFL3...).
"""

from __future__ import annotations

import re

from fqrewrite.errors import InputError

_GRAPH_NEEDED = "give the GraphDef (.pb, .pbtxt) or MetaGraphDef (.meta) that was exported from TensorFlow"
_META_NEEDED = "give the .meta file of the checkpoint: it holds the graph, this file holds only values"
_EXPORT = "export the model's graph from TensorFlow as .meta or .pb and give that"

# What the file starts with, what it is, what to do.
_PREFIXES: tuple[tuple[bytes, str, str], ...] = (
    (b"\x89PNG", "a PNG picture", _GRAPH_NEEDED),
    (b"\xff\xd8\xff", "a JPEG picture", _GRAPH_NEEDED),
    (b"GIF8", "a GIF picture", _GRAPH_NEEDED),
    (b"%PDF", "a PDF document", _GRAPH_NEEDED),
    (b"\x89HDF", "an HDF5 file, such as Keras writes", _EXPORT),
    (b"PK\x03\x04", "a zip archive, such as a .keras, .npz or PyTorch file", _EXPORT),
    (b"\x1f\x8b", "a gzip archive", "unpack it and give the graph in it"),
    (b"BZh", "a bzip2 archive", "unpack it and give the graph in it"),
    (b"\xfd7zXZ", "an xz archive", "unpack it and give the graph in it"),
    (b"\x93NUMPY", "a numpy array", _GRAPH_NEEDED),
    (b"\x7fELF", "a program or shared library", _GRAPH_NEEDED),
    (b"\x80\x02", "a Python pickle", _GRAPH_NEEDED),
    (b"\x80\x03", "a Python pickle", _GRAPH_NEEDED),
    (b"\x80\x04", "a Python pickle", _GRAPH_NEEDED),
    (b"\x80\x05", "a Python pickle", _GRAPH_NEEDED),
    (b"\xff\xfe", "UTF-16 text", "save it as UTF-8"),
    (b"\xfe\xff", "UTF-16 text", "save it as UTF-8"),
    (b"version https://git-lfs", "a Git LFS pointer and not the file itself", "run `git lfs pull`"),
    (b"model_checkpoint_path", "a list of checkpoints", "give the .meta file beside it"),
    (b"<", "HTML or XML, as a failed download leaves", "download the file again"),
)
_TABLE_MAGIC = b"\x57\xfb\x80\x8b\x24\x75\x47\xdb"  # end of a LevelDB table, which a checkpoint's .index is
_CHECKPOINT_DATA = re.compile(r"\.data-\d{5}-of-\d{5}$")


def foreign_error(raw: bytes, where: str) -> InputError | None:
    """Returns the error for a file of a known other format, None when the format is not recognised."""
    found = _recognise(raw, where)
    if found is None:
        return None
    description, remedy = found
    return InputError("file-foreign", f"this is {description}, not a TensorFlow graph", where=where, remedy=remedy)


def _recognise(raw: bytes, where: str) -> tuple[str, str] | None:
    if raw[4:8] == b"TFL3":
        return (
            "a TFLite model",
            "give the TensorFlow graph that it was converted from: TFLite cannot be converted back",
        )
    if raw.endswith(_TABLE_MAGIC):
        return "the index of a checkpoint", _META_NEEDED
    if _CHECKPOINT_DATA.search(where):
        return "the data of a checkpoint", _META_NEEDED
    start = raw[:4096].removeprefix(b"\xef\xbb\xbf").lstrip()
    if re.match(rb"\{|\[\s*[\[{\"\d-]", start):
        return _json(start)
    for prefix, description, remedy in _PREFIXES:
        if raw.startswith(prefix) or start.startswith(prefix):
            return description, remedy
    if raw[8:10] == b'{"':
        return "a safetensors file", _GRAPH_NEEDED
    # An ONNX ModelProto: ir_version (field 1, varint), then producer_name (field 2, text). A SavedModel has
    # 1 there.
    if re.match(rb"\x08[\x02-\x1f]\x12[\x01-\x7f][\w. -]+", raw):
        return "an ONNX model", _EXPORT
    return None


def _json(start: bytes) -> tuple[str, str]:
    if b'"modelTopology"' in start or b'"graph-model"' in start or b'"layers-model"' in start:
        return "the JSON of a TensorFlow.js model", _EXPORT
    if b'"class_name"' in start:
        return "the JSON of a Keras model", _EXPORT
    if b'"model_type"' in start or b'"architectures"' in start:
        return "the JSON configuration of a Hugging Face model", _EXPORT
    return "JSON", _GRAPH_NEEDED
