"""A place of the schema in plain words: what is expected there, and what was found.

All of it is read off the types of `schema`, so that a message cannot contradict what is checked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import inspect
from msgspec.inspect import Type

if TYPE_CHECKING:
    from fqrewrite.config.source import KeyPath


def fields(kind: type[msgspec.Struct]) -> dict[str, Type]:
    """The keys of a schema record and the type of each."""
    info = inspect.type_info(kind)
    if not isinstance(info, inspect.StructType):
        raise TypeError(f"{kind} is no record")
    return {field.encode_name: field.type for field in info.fields}


def structs(expected: Type) -> list[type[msgspec.Struct]]:
    """The records that are allowed at a place, seen through unions and annotations but not into lists."""
    if isinstance(expected, inspect.Metadata):
        return structs(expected.type)
    if isinstance(expected, inspect.UnionType):
        return [kind for member in expected.types for kind in structs(member)]
    return [expected.cls] if isinstance(expected, inspect.StructType) else []


def items(expected: Type) -> Type | None:
    """The type of the entries where a list is allowed at a place; None where none is."""
    if isinstance(expected, inspect.Metadata):
        return items(expected.type)
    if isinstance(expected, inspect.UnionType):
        return next((found for member in expected.types if (found := items(member)) is not None), None)
    return expected.item_type if isinstance(expected, inspect.ListType) else None


def at(kind: type[msgspec.Struct], path: KeyPath) -> Type:
    """The type at a path that the schema has."""
    place = inspect.type_info(kind)
    for step in path:
        if isinstance(step, int):
            entry = items(place)
            if entry is None:
                raise KeyError(path)
            place = entry
        else:
            place = next(fields(record)[step] for record in structs(place) if step in fields(record))
    return place


def expected_words(expected: Type) -> str:
    """What may stand at a place, for a message that begins with "expected"."""
    if isinstance(expected, inspect.Metadata):
        words = (expected.extra or {}).get("words")
        return str(words) if words else expected_words(expected.type)
    if isinstance(expected, inspect.UnionType):
        return ", or ".join(expected_words(member) for member in expected.types)
    if isinstance(expected, inspect.StructType):
        return f"a mapping with some of the keys {', '.join(fields(expected.cls))}"
    if isinstance(expected, inspect.ListType):
        entry = "mappings" if structs(expected.item_type) else f"entries, each {expected_words(expected.item_type)}"
        return f"a list of {entry}"
    if isinstance(expected, inspect.LiteralType):
        return " or ".join(str(value) for value in expected.values)
    if isinstance(expected, inspect.IntType):
        return f"an integer from {expected.ge} to {expected.le}"
    if isinstance(expected, inspect.FloatType):
        return f"a number of at least {expected.ge} and less than {expected.lt}"
    if isinstance(expected, inspect.BoolType):
        return "true or false"
    if isinstance(expected, inspect.NoneType):
        return "null"
    return "text"


def found_words(value: object) -> str:
    """What was found at a place, for a message that goes on with "got"."""
    if value is None:
        return "null (nothing)"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        shown = value if len(value) <= 60 else value[:57] + "..."
        # In YAML 1.1 numbers such as 1e-3 are text, which nobody expects.
        return f'"{shown}"' + (" (text: in YAML write numbers unquoted, as 8 or 0.001)" if _is_number(value) else "")
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    if isinstance(value, dict):
        return "a mapping" if value else "an empty mapping"
    return str(value)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
