"""The wire format of protocol buffers, walked without a schema: field numbers, numbers, and byte ranges."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tersor.sources.extents import StructureError

MAX_FIELDS = 1 << 22
_VARINT, _BYTES = 0, 2
_FIXED_BYTES = {1: 8, 5: 4}
_MAX_VARINT_BYTES = 10


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message. value: of a varint, else 0. begin..end: its payload in the data.

    is_bytes: whether it has a length (a message, a string, bytes, packed numbers).
    """

    number: int
    value: int
    begin: int
    end: int
    is_bytes: bool


class ProtobufReader:
    """Walks the messages in a file.

    Guarantee: at most MAX_FIELDS fields and packed numbers are walked, which bounds the time.
    Raises: StructureError.
    """

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._n_walked = 0

    def fields(self, begin: int, end: int) -> Iterator[Field]:
        """Yield the fields of the message in bytes begin..end, in order; groups (long deprecated) are refused.

        Guarantee: begin <= field.begin <= field.end <= end.
        """
        position = begin
        while position < end:
            self._count()
            field = self._field(position, end)
            position = field.end
            if position > end or not field.number:
                raise StructureError(
                    f"field {field.number} at {field.begin} does not fit into its message, which ends at {end}"
                )
            yield field

    def varints(self, field: Field) -> Iterator[int]:
        """Yield the numbers of a repeated field, packed or not."""
        if not field.is_bytes:
            yield field.value
            return
        position = field.begin
        while position < field.end:
            self._count()
            value, position = self._varint(position, field.end)
            yield value

    def _count(self) -> None:
        self._n_walked += 1
        if self._n_walked > MAX_FIELDS:
            raise StructureError(f"it has more than {MAX_FIELDS} fields")

    def _field(self, position: int, end: int) -> Field:
        tag, start = self._varint(position, end)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == _VARINT:
            value, following = self._varint(start, end)
            return Field(number, value, start, following, False)
        if wire_type == _BYTES:
            length, start = self._varint(start, end)
            return Field(number, 0, start, start + length, True)
        if wire_type not in _FIXED_BYTES:
            raise StructureError(f"field {number} at {start} has wire type {wire_type}")
        return Field(number, 0, start, start + _FIXED_BYTES[wire_type], False)

    def _varint(self, position: int, end: int) -> tuple[int, int]:
        """Return the number at `position`, and the position after it."""
        value = 0
        for index in range(min(_MAX_VARINT_BYTES, end - position)):
            byte = self._data[position + index]
            value |= (byte & 127) << 7 * index
            if byte < 128:
                return value & (1 << 64) - 1, position + index + 1
        raise StructureError(f"there is no whole number at {position}")
