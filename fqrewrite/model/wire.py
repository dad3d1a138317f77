"""Protobuf's wire format, as far as it takes to find fields in bytes without parsing what is in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Wire types. Groups, which TensorFlow does not use, are none of them."""


class Field(NamedTuple):
    """One field of a serialised message.

    Attributes:
        number: of the field.
        start, end: of the whole field in the message's bytes, tag included.
        content: where the content begins, behind tag and length.
    """

    number: int
    start: int
    content: int
    end: int


def length_delimited(data: bytes) -> Iterator[Field]:
    """The fields of a whole message that are texts, bytes or messages, in order.

    Raises:
        ValueError: the bytes are no message.
    """
    position = 0
    while position < len(data):
        start = position
        tag, position = read_varint(data, position)
        wire_type = None if tag is None else tag & 7
        if tag is not None and wire_type == BYTES:
            length, content = read_varint(data, position)
            position = content + (len(data) if length is None else length)
            if position <= len(data):
                yield Field(tag >> 3, start, content, position)
        elif wire_type == VARINT:
            _, position = read_varint(data, position)
        elif wire_type in (FIXED64, FIXED32):
            position += 8 if wire_type == FIXED64 else 4
        else:
            raise ValueError(f"no field at byte {start}")
    if position > len(data):
        raise ValueError("the last field is cut off")


def bytes_field(number: int, content: bytes) -> bytes:
    """A length-delimited field: tag, length and content."""
    return encode_varint(number << 3 | BYTES) + encode_varint(len(content)) + content


def read_varint(data: bytes, position: int) -> tuple[int | None, int]:
    """Returns the varint at a position and the position after it; None for one that is cut off."""
    value = shift = 0
    while position < len(data):
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position += 1
        if byte < 0x80:
            return value, position
        shift += 7
    return None, position


def encode_varint(value: int) -> bytes:
    """The bytes of a varint, a number that is not negative."""
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
