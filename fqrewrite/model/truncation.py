"""Telling a truncated message from a foreign file: what can still be read of one that was cut off."""

from __future__ import annotations

from typing import Any

from fqrewrite.model.wire import BYTES, FIXED32, FIXED64, VARINT, encode_varint, read_varint


def salvage(data: bytes, descriptor: Any) -> bytes | None:
    """Returns a complete serialised message made of what is left of one that was cut off.

    Whole fields are kept. Of the last field, when it is text or a message itself, what is left is kept in
    the same way; anything else is dropped. Cost: one step for each field on the way to the cut, not for
    nested whole fields.

    Args:
        data: the first bytes of a serialised message.
        descriptor: the message's protobuf Descriptor.

    Returns:
        Bytes that end at a field's end; None when the data is not cut off, or is no protobuf message.
    """
    position = 0
    while position < len(data):
        start = position
        tag, position = read_varint(data, position)
        if tag is None:
            return data[:start]
        number, wire_type = tag >> 3, tag & 7
        if number == 0:
            return None
        if wire_type == VARINT:
            value, position = read_varint(data, position)
            if value is None:
                return data[:start]
        elif wire_type == FIXED64:
            position += 8
        elif wire_type == FIXED32:
            position += 4
        elif wire_type == BYTES:
            length, content = read_varint(data, position)
            if length is None:
                return data[:start]
            position = content + length
            if position > len(data):
                field = descriptor.fields_by_number.get(number)
                return data[:start] + _salvage_field(data[content:], tag, field)
        else:  # groups: TensorFlow has none
            return None
        if position > len(data):
            return data[:start]
    return None


def _salvage_field(content: bytes, tag: int, field: Any) -> bytes:
    """Returns tag, length and content of a cut message or text field; nothing for a field of another type."""
    if field is None:
        return b""
    if field.type == field.TYPE_STRING:
        inner = content.decode("utf-8", "ignore").encode("utf-8")
    elif field.message_type is not None:
        salvaged = salvage(content, field.message_type)
        inner = content if salvaged is None else salvaged
    else:
        return b""
    return encode_varint(tag) + encode_varint(len(inner)) + inner
