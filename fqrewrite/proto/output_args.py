"""The output arguments of TensorFlow's operations.

A GraphDef numbers a node's outputs (`node:port`); a function body names them (`node:argument:index`), and an argument
may be a list whose length is in an attribute. The names come from `output_args.json` (written by
scripts/build_output_args.py), which is read when first asked for.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from fqrewrite.errors import GraphError


@cache
def _table() -> dict[str, str]:
    path = Path(__file__).with_name("output_args.json")
    return msgspec.json.decode(path.read_bytes(), type=dict[str, str])


def output_arguments(node_def: Any) -> list[tuple[str, int | None]]:
    """(name, length) of every output argument of a NodeDef, in port order; the length is None for a single tensor.

    Raises:
        GraphError: `unknown-output-argument`, its operation is not one of TensorFlow's or has no outputs.
    """
    written = _table().get(node_def.op)
    if written is None:
        what = f"the outputs of {node_def.op} are not known, so they cannot be told apart"
        raise GraphError("unknown-output-argument", what, where=node_def.name)
    parts = (part.partition("*") for part in written.split())
    return [(name, list_length(node_def.attr, key) if key else None) for name, _, key in parts]


def list_length(attributes: Any, key: str) -> int:
    """The length of a list argument: an int attribute's value, or the number of types in a list(type).

    0 when the attribute is absent, which is the only default that TensorFlow's operations have.

    Args:
        attributes: the map of AttrValues.
        key: `number_attr` or `type_list_attr` of the argument.
    """
    if key not in attributes:
        return 0
    value = attributes[key]
    return int(value.i) if value.WhichOneof("value") == "i" else len(value.list.type)


def port_range(arguments: Iterable[tuple[str, int | None]], name: str) -> range | None:
    """The ports that an output argument takes; None if it is not among `arguments` (as of `output_arguments`)."""
    port = 0
    for argument, length in arguments:
        count = 1 if length is None else length
        if argument == name:
            return range(port, port + count)
        port += count
    return None


def flat_port(node_def: Any, argument: str, index: int) -> int:
    """The port that a function body writes ``node:argument:index``.

    Raises:
        GraphError: `unknown-output-argument`.
    """
    ports = port_range(output_arguments(node_def), argument)
    if ports is None or index not in range(len(ports)):
        what = f"{node_def.op} has no output {argument}:{index}"
        raise GraphError("unknown-output-argument", what, where=node_def.name)
    return ports[index]
