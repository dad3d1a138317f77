"""A YAML text as plain Python values, with the line of every one of them.

Only what a config needs: one document, mappings with distinct text keys, lists, text, numbers, booleans and
null. Tags, dates and merge keys mean nothing here.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct

from fqrewrite.errors import ConfigError, path_text

if TYPE_CHECKING:
    import yaml

# Far more than any config has.
_MAX_DEPTH = 50

KeyPath: TypeAlias = "tuple[str | int, ...]"


class Source(Struct, frozen=True):
    """A YAML file that was read.

    Attributes:
        name: the file as the user named it.
        data: its content; None for an empty file.
        root: the YAML node of `data`, which knows the lines.
    """

    name: str
    data: object
    root: yaml.Node | None

    def where(self, path: KeyPath, *, key: bool = False) -> str:
        """``file:line: dotted.key[0]`` of a place in the data.

        Args:
            path: keys and list indexes from the root, followed as far as the file goes.
            key: whether the line of the key is wanted, and not that of its value.
        """
        dotted = dotted_key(path)
        return f"{self.name}:{self.line(path, key=key)}" + (f": {dotted}" if dotted else "")

    def line(self, path: KeyPath, *, key: bool = False) -> int:
        """Line number, from 1, of a place in the data; arguments as for `where`."""
        node, line = self.root, 1 if self.root is None else _line(self.root)
        for step in path:
            if node is None:
                break
            found = _child(node, step)
            if found is None:
                break
            key_node, node = found
            line = _line(key_node if key else node)
        return line


def dotted_key(path: KeyPath) -> str:
    """A path as text: ``rules[1].weights.bits``."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".")


def read_source(path: Path) -> Source:
    """Reads a YAML file.

    Raises:
        ConfigError: config-not-found, config-unreadable (no plain file, no permission, not UTF-8),
            config-syntax, config-duplicate-key, config-value (a value of a kind that no config has).
    """
    name = path_text(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError("config-not-found", "there is no such config file", where=name) from None
    except IsADirectoryError:
        raise ConfigError("config-unreadable", "this is a folder, not a config file", where=name) from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            "config-unreadable",
            f"not a text file in UTF-8 (byte {error.start} is {error.object[error.start]:#04x})",
            where=name,
        ) from None
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise ConfigError("config-unreadable", f"cannot be read: {reason}", where=name) from None
    return parse_source(text, name)


def parse_source(text: str, name: str) -> Source:
    """Parses YAML text; `name` is what messages call it. Errors as for `read_source`."""
    import yaml

    # Wheels of PyYAML without libyaml exist.
    kind: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        _check_depth(yaml.parse(text, Loader=kind), name)
        loader = kind(text)
        root = loader.get_single_node()
        if root is None:
            return Source(name, None, None)
        return Source(name, _Builder(loader, name).build(root, ()), root)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = (error.problem or error.context or "not YAML").strip()
        if error.context_mark is not None and mark is not None and error.context_mark.line != mark.line:
            what += f" {error.context} that begins in line {error.context_mark.line + 1}"
        if mark is not None and "\t" in "".join(text.splitlines()[mark.line : mark.line + 1]):
            what += " (YAML allows no tabs for indentation)"
        where = f"{name}:{mark.line + 1}" if mark is not None else name
        raise ConfigError("config-syntax", what, where=where) from None
    except yaml.YAMLError as error:
        # The reader's errors (characters that YAML forbids) span lines and have no mark.
        raise ConfigError("config-syntax", " ".join(str(error).split()), where=name) from None


def _check_depth(events: Iterable[yaml.Event], name: str) -> None:
    """Refuses deep nesting before nodes are built: PyYAML does that by recursion, in C without a limit."""
    import yaml

    depth = 0
    for event in events:
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _MAX_DEPTH:
                mark = event.start_mark
                where = f"{name}:{mark.line + 1}" if mark is not None else name
                raise ConfigError("config-syntax", "nested too deeply for a config", where=where)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


class _Builder:
    """Turns nodes into values. An aliased node is built once, so that nested aliases cannot explode."""

    def __init__(self, loader: yaml.SafeLoader, name: str) -> None:
        self._loader = loader
        self._name = name
        self._built: dict[int, object] = {}
        self._open: set[int] = set()

    def build(self, node: yaml.Node, path: KeyPath) -> object:
        key = id(node)
        if key in self._open:
            raise self._error("config-syntax", "an alias that contains itself", node, path)
        if key not in self._built:
            self._open.add(key)
            self._built[key] = self._value(node, path)
            self._open.remove(key)
        return self._built[key]

    def _value(self, node: yaml.Node, path: KeyPath) -> object:
        import yaml

        kind = str(node.tag).removeprefix("tag:yaml.org,2002:")
        if isinstance(node, yaml.MappingNode) and kind == "map":
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode) and kind == "seq":
            return [self.build(child, (*path, index)) for index, child in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode):
            # A date is text here: only YAML's implicit typing made it anything else.
            if kind in ("str", "timestamp", "value", "merge"):
                return str(node.value)
            if kind in ("int", "float", "bool", "null"):
                try:
                    value: object = self._loader.construct_object(node)
                except (ValueError, KeyError):
                    what = f'"{node.value}" is not of the kind {kind} that it is said to be'
                    raise self._error("config-value", what, node, path) from None
                return value
        raise self._error("config-value", f"the tag {node.tag} has no meaning in a config", node, path)

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, object]:
        result: dict[str, object] = {}
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node.value, str):
                raise self._error("config-value", "a key that is a list or a mapping", key_node, path)
            key = str(key_node.value)
            if key in lines:
                what = f"the key {key} is given twice, first in line {lines[key]}"
                raise self._error("config-duplicate-key", what, key_node, (*path, key))
            lines[key] = _line(key_node)
            result[key] = self.build(value_node, (*path, key))
        return result

    def _error(self, code: str, what: str, node: yaml.Node, path: KeyPath) -> ConfigError:
        dotted = dotted_key(path)
        return ConfigError(code, what, where=f"{self._name}:{_line(node)}" + (f": {dotted}" if dotted else ""))


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _child(node: yaml.Node, step: str | int) -> tuple[yaml.Node, yaml.Node] | None:
    """The node of a key (that of the value, in a list) and the node of its value."""
    import yaml

    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step], node.value[step]
    if isinstance(node, yaml.MappingNode):
        for key_node, value_node in node.value:
            if key_node.value == step:
                return key_node, value_node
    return None
