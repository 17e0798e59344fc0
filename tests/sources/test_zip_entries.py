"""Zip files: entries where zipfile finds them, and no number believed."""

from __future__ import annotations

import io
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tersor.sources.extents import StructureError
from tersor.sources.zip_entries import read_entries


def zipped(files: dict[str, bytes], compression: int = 0, *, wide: bool = False) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in files.items():
            with archive.open(name, "w", force_zip64=wide) as file:
                file.write(content)
    return buffer.getvalue()


@given(
    st.dictionaries(st.text("abc/é", min_size=1), st.binary(max_size=50), max_size=4),
    st.booleans(),
)
def test_stored_entries_are_found_where_they_lie(files: dict[str, bytes], wide: bool) -> None:
    data = zipped(files, wide=wide)
    found = {entry.name: data[entry.begin : entry.end] for entry in read_entries(memoryview(data))}
    assert found == files


def test_compressed_entries_are_marked() -> None:
    (entry,) = read_entries(memoryview(zipped({"a": b"0" * 99}, zipfile.ZIP_DEFLATED)))
    assert not entry.is_stored


def test_many_entries_use_the_wide_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 2)
    files = {name: name.encode() for name in "abcde"}
    data = zipped(files)
    assert b"PK\x06\x06" in data
    assert [entry.name for entry in read_entries(memoryview(data))] == list(files)


def patched(field: int, value: bytes, magic: bytes) -> bytes:
    data = bytearray(zipped({"name": b"content"}))
    at = data.rindex(magic) + field
    data[at : at + len(value)] = value
    return bytes(data)


END, ENTRY, LOCAL = b"PK\x05\x06", b"PK\x01\x02", b"PK\x03\x04"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "end of a zip at -1"),
        (b"PK\x05\x06", "outside the file"),
        (zipped({"a": b""}) + b"x", "bytes follow"),
        (patched(4, b"\1", END), "in several"),
        (patched(10, b"\2", END), "in several"),
        (patched(8, b"\xff\xff\xff\xff", END), "does not fit"),
        (patched(12, b"\xff\xff", END), "does not fit"),
        (patched(16, b"\x01", END), "no directory entry"),
        (patched(8, b"\1", ENTRY), "encrypted"),
        (patched(20, b"\1", ENTRY), "two sizes"),
        (patched(20, b"\xfe\xff\xff\x0f\xfe\xff\xff\x0f", ENTRY), "lies outside"),
        (patched(20, b"\xff\xff\xff\xff", ENTRY), "zip64 extra field is missing"),
        (patched(28, b"\xff\xff", ENTRY), "lies outside"),
        (patched(42, b"\xf0\xff\xff\x0f", ENTRY), "local header at 268435440 lies outside"),
        (patched(42, b"\x02", ENTRY), "no local header"),
        (patched(30, b"N", LOCAL), "says otherwise"),
        (patched(8, b"\x08", LOCAL), "says otherwise"),
        (patched(46, b"\xff", ENTRY), "not UTF-8"),
    ],
)
def test_numbers_that_lie_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(StructureError, match=message):
        read_entries(memoryview(data))


def test_two_entries_of_one_name_are_refused() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a", b"1")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a", b"2")
    with pytest.raises(StructureError, match="one name"):
        read_entries(memoryview(buffer.getvalue()))
