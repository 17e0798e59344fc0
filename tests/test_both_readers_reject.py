"""Archives that break one rule of docs/format.md: tersor and the reference reader both refuse them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from handmade_archives import CODES, RECORDS, archive_bytes, dense_record, grid_record, sample_tensors
from reference_reader import FormatError, UnsupportedError, read_archive
from tersor.archive.verify import verify

Tensors = dict[str, tuple[list[Any], bytes]]
FILE = "model.tersor.safetensors"
FOLDER = [False, [], [], [], False]


def sound_tensors() -> Tensors:
    """Those of the sample that version 1 defines."""
    return {name: tensor for name, tensor in sample_tensors().items() if name != "future"}


def archive(tensors: Tensors, **index: Any) -> bytes:
    return archive_bytes(tensors, [], FOLDER, **index)


def with_element(name: str, number: int, value: Any) -> Callable[[], bytes]:
    """The sample archive with one element of one tensor record changed."""

    def make() -> bytes:
        tensors = sound_tensors()
        record, stream = tensors[name]
        tensors[name] = ([*record[:number], value, *record[number + 1 :]], stream)
        return archive(tensors)

    return make


def with_table_sets(records: list[Any]) -> Callable[[], bytes]:
    return lambda: archive(sound_tensors(), index={3: records})


def changed_set(number: int, element: int, value: Any) -> list[Any]:
    record = [*RECORDS[number][:element], value, *RECORDS[number][element + 1 :]]
    return [*RECORDS[:number], record, *RECORDS[number + 1 :]]


def with_codebook(*levels: float) -> Callable[[], bytes]:
    return lambda: archive({"t": grid_record(np.abs(CODES) % 4, "F32", codebook=levels)})


def infinite_scale() -> bytes:
    codes = CODES[:3, :10].copy()
    record, stream = grid_record(codes, "F32", group_size=5)
    scales = np.repeat(np.arange(1, 4) / 2, 2).astype("<f2").tobytes()
    assert stream.count(scales) == 1
    wrong = scales[:-2] + np.array(np.inf, "<f2").tobytes()
    return archive({"t": (record, stream.replace(scales, wrong))})


def dense_with(stored: bytes) -> Callable[[], bytes]:
    """One U8 tensor of 4 zeros in a block stored as given."""

    def make() -> bytes:
        record, _ = dense_record(np.zeros(4, np.uint8), "U8", 1, 4)
        record[8] = bytes([len(stored)])
        return archive({"t": (record, stored)})

    return make


BROKEN: dict[str, Callable[[], bytes]] = {
    "blocks higher than the matrix": with_element("plain", 6, 8),
    "blocks wider than the matrix": with_element("plain", 7, 96),
    "blocks of 0 rows": with_element("plain", 6, 0),
    "block columns that are no multiple of 32": with_element("dense", 7, 33),
    "rows of blocks of an empty tensor": with_element("empty ∅", 6, 1),
    "columns of blocks of an empty tensor": with_element("empty ∅", 7, 5),
    "head of an empty tensor": with_element("empty ∅", 5, 4),
    "meta of a dense tensor": with_element("dense", 3, 1),
    "layout that the index does not list": with_element("dense", 2, 9),
    "rank 33": with_element("dense", 1, [1] * 33),
    "too short a hash": with_element("dense", 4, bytes(15)),
    "wrong hash": with_element("dense", 4, bytes(16)),
    "too few checksums": with_element("dense", 9, b""),
    "wrong checksum": with_element("scalar", 9, bytes(4)),
    "too few block lengths": with_element("dense", 8, b""),
    "block length in a long form": with_element("scalar", 8, b"\x8a\x00"),
    "alias with a hash": with_element("tied", 4, bytes(16)),
    "alias of itself": with_element("tied", 3, 3),
    "alias of another shape": with_element("tied", 3, 1),
    "alias of nothing": with_element("tied", 3, 99),
    "a codebook for trellis codes": with_element("trellis", 3, [0, 1, 0, "", 4, 3]),
    "trellis runs cut by blocks": with_element("trellis", 6, 4),
    "too long a codebook": with_element("codebook", 3, [0, 1, 0, "", 65537, 0]),
    "grid of integers": with_element("plain", 0, "I32"),
    "unknown grid flags": with_element("plain", 3, [2, 1, 0, "", 0, 0]),
    "grid without its tables": with_element("plain", 3, [0, 9, 0, "", 0, 0]),
    "groups that do not divide the columns": with_element("grouped", 3, [1, 1, 14, "F16", 0, 0]),
    "groups without a scale type": with_element("grouped", 3, [1, 1, 13, "", 0, 0]),
    "a scale type without groups": with_element("plain", 3, [0, 1, 0, "F32", 0, 0]),
    "a codebook with NaN": with_codebook(0.0, 1.0, float("nan"), 2.0),
    "a codebook with infinity": with_codebook(0.0, 1.0, float("inf"), 2.0),
    "a code outside the codebook": with_codebook(0.0, 1.0, 2.0),
    "an infinite scale": infinite_scale,
    "two side sets": with_table_sets([*RECORDS, RECORDS[0]]),
    "side tables that end too early": with_table_sets(changed_set(0, 3, b"")),
    "grid tables of 8 bits": with_table_sets(changed_set(1, 2, 8)),
    "frequencies that are cut off": with_table_sets(changed_set(1, 4, RECORDS[1][4][:-1])),
    "17 raw bits": with_table_sets(changed_set(1, 3, bytes([17, 0]))),
    "a class of a table that is not there": with_table_sets(changed_set(1, 6, b"\0\1\2\0\0\1")),
    "no classes": with_table_sets(changed_set(1, 6, b"")),
    "one plane": dense_with(b"\1\1\0\4" + bytes(4)),
    "codec that the index does not list": dense_with(b"\0\7" + bytes(4)),
    "a byte left over": dense_with(b"\0\0" + bytes(5)),
    "a byte too few": dense_with(b"\0\0" + bytes(3)),
    "float rows without rows": dense_with(b"\2\0\0\0\0\0\1\0\0\0" + bytes(8)),
    "no streams": dense_with(b"\2\0\0\0\0\2\0\0\0\0" + bytes(8)),
    "64 lanes": dense_with(b"\2\0\0\0\0\2\1\6\0\0" + bytes(8)),
    "shape class 4": dense_with(b"\2\0\0\4\0\2\1\0\0\0" + bytes(8)),
    "narrow rows of bytes": dense_with(b"\3\0\0\0\0\0\0"),
    "records of one byte": dense_with(b"\4\1\1\1\0\1\0\4" + bytes(4)),
    "no groups of fields": dense_with(b"\4\2\0"),
    "a byte position in no group": dense_with(b"\4\2\1\1\0\2\0\2" + bytes(2)),
    "a byte position in two groups": dense_with(b"\4\2\2\2\0\1\2\1\1\2\0\4\0\2" + bytes(6)),
    "a byte position twice in a group": dense_with(b"\4\2\1\3\0\1\1\2\0\6" + bytes(6)),
    "a byte position beyond the record": dense_with(b"\4\2\1\2\0\2\2\0\4" + bytes(4)),
    "an empty group of fields": dense_with(b"\4\2\2\2\0\1\2\0\2\0\4\0\0" + bytes(4)),
    "a reference to a later field": dense_with(b"\4\2\2\1\0\1\1\1\2\0\2\0\2" + bytes(4)),
    "codes in rows of none": dense_with(b"\5\0\0\0\0\0\0"),
    "codes in rows that do not fit": dense_with(b"\5\0\3\0\0\0\0"),
    "differences of three bytes": dense_with(b"\6\3\0\0\4" + bytes(4)),
    "differences of order 2": dense_with(b"\6\2\2\0\2\0\2" + bytes(4)),
    "differences that do not fill the block": dense_with(b"\6\10\0" + b"\0\0" * 8 + bytes(4)),
    "codes without their tables": dense_with(b"\5\0\4\0\0\0\0" + bytes(8)),
    "folder record that claims two kinds": lambda: archive_bytes(sound_tensors(), [], [1, [], [], [], False]),
    "provenance with bytes": lambda: archive(sound_tensors(), index={6: {"seed": b"1"}}),
}
UNKNOWN: dict[str, Callable[[], bytes]] = {
    "form 7 of a dense block": dense_with(b"\7"),
    "codes of unit 6": dense_with(b"\5\6\4"),
    "float unit 3": dense_with(b"\2\3"),
    "float coder 3": dense_with(b"\2\0\3" + bytes(12)),
    "dtype": with_element("scalar", 0, "F3"),
}


def folder_of(tmp_path: Path, data: bytes) -> Path:
    (tmp_path / FILE).write_bytes(data)
    return tmp_path


def test_the_sound_archive_passes_both_readers(tmp_path: Path) -> None:
    root = folder_of(tmp_path, archive(sound_tensors()))
    assert set(read_archive(root).tensors) == set(sound_tensors())
    assert verify(root)["problems"] == []


@pytest.mark.parametrize("what", BROKEN)
def test_both_readers_reject(tmp_path: Path, what: str) -> None:
    root = folder_of(tmp_path, BROKEN[what]())
    with pytest.raises(FormatError) as found:
        read_archive(root)
    assert found.type is not UnsupportedError
    assert verify(root)["problems"] != []


@pytest.mark.parametrize("what", UNKNOWN)
def test_both_readers_name_what_they_do_not_know(tmp_path: Path, what: str) -> None:
    root = folder_of(tmp_path, UNKNOWN[what]())
    (reason,) = read_archive(root).unreadable.values()
    assert what in reason
    (problem,) = verify(root)["problems"]
    assert what in problem
