"""The variables of a SavedModel whose graph has got new ones: the old checkpoint's values, and theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from fqrewrite.ir.graph import Node
from fqrewrite.model.saved_model import VARIABLES_PREFIX
from fqrewrite.model.saver_keys import Key
from fqrewrite.proto.attrs import get_str

if TYPE_CHECKING:
    from fqrewrite.plans.constants import Array
    from fqrewrite.source.restore import Restorer


class Extended(NamedTuple):
    """A checkpoint.

    Attributes:
        files: contents by path in the SavedModel's directory.
        keys: where each variable of the graph is in it, by the variable's name; those without any are not in it.
    """

    files: dict[str, bytes]
    keys: dict[str, Key]


def extend_checkpoint(old: Restorer | None, variables: Sequence[Node], values: Mapping[str, Array]) -> Extended:
    """Makes the checkpoint of a graph's variables. Imports TensorFlow.

    Everything that the old checkpoint holds stays in it under its key, for whoever else reads it.

    Args:
        old: the checkpoint that there is; None for none.
        variables: of the graph.
        values: of those that get their value from here, by the variable's name.

    Raises:
        InputError: see `model.values` and `model.checkpoint_write`.
    """
    from fqrewrite.model.checkpoint_write import checkpoint_files

    contents = {key: old.values.read(key) for key in old.values} if old else {}
    keys: dict[str, Key] = {}
    for node in variables:
        if node.name in values:
            name = _free(node.name, contents)
            keys[node.name], contents[name] = Key(name), values[node.name]
        elif old and (key := old.key(node.name, get_str(node.proto, "shared_name", ""))) is not None:
            keys[node.name] = key
    made = checkpoint_files(contents, Path("/") / VARIABLES_PREFIX) if contents else []
    return Extended({path.relative_to("/").as_posix(): data for path, data in made}, keys)


def _free(name: str, taken: Mapping[str, Array]) -> str:
    """The name, or the first of its kind that is no key yet."""
    found, number = name, 0
    while found in taken:
        number += 1
        found = f"{name}_{number}"
    return found
