"""The entries of a zip file, from its central directory, every number checked against the file's size."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from tersor.sources.extents import StructureError, short

STORED = 0
MAX_ENTRIES = 1 << 18
MAX_COMMENT_BYTES = 0xFFFF
_END = struct.Struct("<4sHHHHIIH")
_END_64 = struct.Struct("<4sQHHIIQQQQ")
_LOCATOR_64 = struct.Struct("<4sIQI")
_ENTRY = struct.Struct("<4sHHHHHHIIIHHHHHII")
_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_END_MAGIC, _END_64_MAGIC, _LOCATOR_64_MAGIC = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07"
_ENTRY_MAGIC, _LOCAL_MAGIC = b"PK\x01\x02", b"PK\x03\x04"
_ENCRYPTED = 1
_ZIP64_EXTRA = 1
_IN_EXTRA = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class ZipEntry:
    """One file inside the zip. begin..end: its bytes as they stand, compressed unless is_stored."""

    name: str
    begin: int
    end: int
    is_stored: bool


def read_entries(data: memoryview) -> list[ZipEntry]:
    """Return the entries in the order of the central directory.

    Guarantee: 0 <= begin <= end <= len(data); names differ; local headers agree on name and method.
    Raises: StructureError, for zips in several parts, encrypted entries and bytes in front of the first, too.
    """
    n_entries, begin, n_bytes = _directory(data)
    if n_entries > MAX_ENTRIES:
        raise StructureError(f"the zip has {n_entries} entries, at most {MAX_ENTRIES} are allowed")
    position = begin
    entries: list[ZipEntry] = []
    for _ in range(n_entries):
        entry, position = _read_entry(data, position)
        entries.append(entry)
    if position > begin + n_bytes:
        raise StructureError("the central directory is longer than it says")
    if len({entry.name for entry in entries}) != len(entries):
        raise StructureError("two entries have one name")
    return entries


def _unpack(
    layout: struct.Struct, magic: bytes, data: memoryview, position: int, what: str
) -> tuple[int, ...]:
    """Return the fields of a record after its magic number."""
    if position < 0 or position + layout.size > len(data):
        raise StructureError(f"the {what} at {position} lies outside the file")
    found, *fields = layout.unpack_from(data, position)
    if found != magic:
        raise StructureError(f"there is no {what} at {position}")
    return tuple(fields)


def _directory(data: memoryview) -> tuple[int, int, int]:
    """Return (number of entries, first byte, number of bytes) of the central directory."""
    n_tail = min(len(data), _END.size + MAX_COMMENT_BYTES)
    tail = bytes(data[len(data) - n_tail :])
    end = len(data) - n_tail + tail.rfind(_END_MAGIC) if _END_MAGIC in tail else -1
    fields = _unpack(_END, _END_MAGIC, data, end, "end of a zip")
    disk, directory_disk, n_here, n_entries, n_bytes, begin, n_comment = fields
    if end + _END.size + n_comment != len(data):
        raise StructureError("bytes follow the end of the zip")
    if data[max(end - _LOCATOR_64.size, 0) : end][:4] == _LOCATOR_64_MAGIC:
        _, place, _ = _unpack(_LOCATOR_64, _LOCATOR_64_MAGIC, data, end - _LOCATOR_64.size, "zip64 locator")
        wide = _unpack(_END_64, _END_64_MAGIC, data, place, "zip64 end")
        _, _, _, disk, directory_disk, n_here, n_entries, n_bytes, begin = wide
    if disk or directory_disk or n_here != n_entries:
        raise StructureError("it is one part of a zip in several")
    if begin + n_bytes > end or n_entries * _ENTRY.size > n_bytes:
        raise StructureError(
            f"a central directory of {n_entries} entries, {n_bytes} bytes at {begin} does not fit"
        )
    return n_entries, begin, n_bytes


def _read_entry(data: memoryview, position: int) -> tuple[ZipEntry, int]:
    """Return the entry described at `position`, and where the next is described."""
    fields = _unpack(_ENTRY, _ENTRY_MAGIC, data, position, "directory entry")
    _, _, flags, method, _, _, _, n_stored, n_plain, n_name, n_extra, n_comment, *_, local = fields
    name_begin = position + _ENTRY.size
    extra_begin = name_begin + n_name
    following = extra_begin + n_extra + n_comment
    if following > len(data):
        raise StructureError(f"the directory entry at {position} lies outside the file")
    name = _decode(data[name_begin:extra_begin])
    extra = bytes(data[extra_begin : extra_begin + n_extra])
    n_plain, n_stored, local = _wide_sizes(extra, [n_plain, n_stored, local])
    if flags & _ENCRYPTED or (method == STORED and n_plain != n_stored):
        raise StructureError(f"entry {short(name)} is encrypted or has two sizes")
    begin = _data_begin(data, local, name, method)
    if begin + n_stored > len(data):
        raise StructureError(f"entry {short(name)} lies outside the file")
    return ZipEntry(name, begin, begin + n_stored, method == STORED), following


def _decode(name: memoryview) -> str:
    try:
        return bytes(name).decode("utf-8")
    except UnicodeDecodeError as exc:
        raise StructureError("an entry's name is not UTF-8") from exc


def _wide_sizes(extra: bytes, sizes: list[int]) -> list[int]:
    """Return the sizes with those that are marked so replaced by the zip64 extra field's."""
    if _IN_EXTRA not in sizes:
        return sizes
    wide = memoryview(_extra_field(extra, _ZIP64_EXTRA))
    result = []
    for size in sizes:
        if size == _IN_EXTRA:
            if len(wide) < 8:
                raise StructureError("a zip64 extra field is too short")
            size, wide = int.from_bytes(wide[:8], "little"), wide[8:]
        result.append(size)
    return result


def _extra_field(extra: bytes, kind: int) -> bytes:
    position = 0
    while position + 4 <= len(extra):
        found, n_bytes = struct.unpack_from("<HH", extra, position)
        if found == kind:
            return extra[position + 4 : position + 4 + n_bytes]
        position += 4 + n_bytes
    raise StructureError("a zip64 extra field is missing")


def _data_begin(data: memoryview, position: int, name: str, method: int) -> int:
    """Return where an entry's bytes begin, from its local header at `position`."""
    fields = _unpack(_LOCAL, _LOCAL_MAGIC, data, position, "local header")
    n_name, n_extra = fields[-2:]
    name_begin = position + _LOCAL.size
    if fields[2] != method or _decode(data[name_begin : name_begin + n_name]) != name:
        raise StructureError(f"entry {short(name)} has a local header that says otherwise")
    return name_begin + n_name + n_extra
