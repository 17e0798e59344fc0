"""Damage on purpose: every checksum is right, but the index claims what it should not."""

from __future__ import annotations

import copy
import resource
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archives import every_dtype, small_lossy, write_archive
from damage import Parts, contents, open_bytes
from low_rank_archives import low_rank_values
from tersor.archive.restore import tensor_bytes
from tersor.errors import CorruptError, NewerFormatError, TersorError

WRONG_VALUES = [
    -1,
    0,
    1,
    7,
    255,
    1 << 20,
    (1 << 31) - 1,
    1 << 47,
    (1 << 48) - 1,
    1 << 63,
    None,
    True,
    0.5,
    "x",
    b"",
    b"\xff" * 9,
    [],
    [0],
    {},
]


@pytest.fixture(
    scope="module", params=[small_lossy, every_dtype, low_rank_values], ids=["lossy", "dense", "low-rank"]
)
def original(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("hostile") / "a.tersor.safetensors"
    write_archive(path, request.param())
    return path.read_bytes()


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    path = tmp_path_factory.mktemp("parts") / "a.tersor.safetensors"
    write_archive(path, small_lossy())
    return Parts.of(path.read_bytes())


def places(value: Any, path: tuple[int, ...] = ()) -> Iterator[tuple[int, ...]]:
    """The path of every element of nested arrays."""
    for number, item in enumerate(value):
        yield (*path, number)
        if isinstance(item, list):
            yield from places(item, (*path, number))


def read_everything(data: bytes) -> None:
    with open_bytes(data) as archive:
        assert archive.provenance
        assert list(archive.values())


def replaced(index: Any, path: tuple[int, ...], value: Any) -> Any:
    result = copy.deepcopy(index)
    holder = result
    for number in path[:-1]:
        holder = holder[number]
    holder[path[-1]] = value
    return result


def with_tensor(parts: Parts, number: int, element: int, value: Any) -> bytes:
    return Parts(parts.header, replaced(parts.index, (4, number, element), value), parts.streams).join()


def test_parts_join_to_the_same_content(original: bytes) -> None:
    assert contents(Parts.of(original).join()) == contents(original)


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_any_wrong_value_raises_a_tersor_error_or_reads(original: bytes, data: st.DataObject) -> None:
    parts = Parts.of(original)
    for _ in range(data.draw(st.integers(1, 2))):
        path = data.draw(st.sampled_from(list(places(parts.index))))
        try:
            parts.index = replaced(parts.index, path, data.draw(st.sampled_from(WRONG_VALUES)))
        except (TypeError, LookupError):  # the first change has removed the place of the second
            continue
    try:
        contents(parts.join())
    except TersorError:
        return


@settings(max_examples=200, deadline=None)
@given(packed=st.binary(max_size=200))
def test_any_bytes_as_index_raise_a_tersor_error(original: bytes, packed: bytes) -> None:
    parts = Parts.of(original)
    parts.index = packed
    with pytest.raises(TersorError):
        contents(parts.join())


@pytest.mark.parametrize(
    ("element", "value", "message"),
    [
        (1, [1 << 24, 1 << 24], "2\\*\\*48 elements or more"),
        (1, [1] * 33, "breaks the format"),
        (1, [12, 9], "alias"),
        (2, 9, "layout 9 of"),
        (4, b"\0" * 15, "breaks the format"),
        (5, 1 << 40, "do not fill|checksums"),
        (6, 1 << 30, "needs 1 to"),
        (7, 3, "needs 1 to"),
        (7, 0, "needs 1 to"),
        (8, b"", "lengths"),
        (8, b"\xff" * 8 + b"\x7f", "shortest form|numbers|do not fill"),
        (9, b"\0" * 3, "bytes of checksums"),
        (9, b"", "bytes of checksums"),
    ],
)
def test_wrong_tensor_entry_raises_corrupt(parts: Parts, element: int, value: Any, message: str) -> None:
    with pytest.raises(CorruptError, match=message):
        contents(with_tensor(parts, 0, element, value))


@pytest.mark.parametrize("target", [-1, 4, 3, 99, None, "embed"])
def test_alias_of_nothing_or_of_another_shape_raises_corrupt(parts: Parts, target: Any) -> None:
    with pytest.raises(CorruptError, match="alias"):
        contents(with_tensor(parts, 4, 3, target))


def test_index_that_unpacks_to_too_much_is_refused_before_it_is_unpacked(parts: Parts) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    bomb = Parts(parts.header, b"\xc0" * (1 << 27), parts.streams).join()
    after_making = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CorruptError, match="needs version 1, 0, and 1 to"):
        contents(bomb)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - max(before, after_making) < 1 << 15  # KB


def test_index_length_other_than_the_frame_says_raises_corrupt(parts: Parts) -> None:
    with pytest.raises(CorruptError, match="zstd frame holds"):
        contents(Parts(parts.header, parts.index, parts.streams, index_length=99).join())


def test_huge_tensor_in_a_small_file_raises_instead_of_allocating(parts: Parts) -> None:
    with pytest.raises(CorruptError, match="in a matrix of 1 x 1099511627776"):
        contents(with_tensor(parts, 3, 1, [1 << 40]))


def test_greater_format_version_raises_newer_and_names_it(parts: Parts) -> None:
    with pytest.raises(NewerFormatError, match="format version 2"):
        contents(Parts(parts.header, parts.index, parts.streams, version=2).join())


def test_reserved_byte_raises_corrupt(parts: Parts) -> None:
    with pytest.raises(CorruptError, match="reserved byte 1"):
        contents(Parts(parts.header, parts.index, parts.streams, reserved=1).join())


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../b", "a//b", "", ".", "a\0b", "a/."])
def test_path_that_leaves_the_folder_raises_corrupt(parts: Parts, path: str) -> None:
    record = [path, 0, b"\0" * 32, []]
    with pytest.raises(CorruptError, match="path"):
        contents(Parts(parts.header, replaced(parts.index, (5,), [record]), parts.streams).join())


def test_file_of_a_tensor_that_is_not_there_raises_corrupt(parts: Parts) -> None:
    record = ["a", 0, b"\0" * 32, [5]]
    with pytest.raises(CorruptError, match="tensor 5 of 5"):
        contents(Parts(parts.header, replaced(parts.index, (5,), [record]), parts.streams).join())


def test_further_elements_of_arrays_are_ignored(parts: Parts) -> None:
    index = copy.deepcopy(parts.index)
    index.extend([None] * (9 - len(index)))  # up to the last element that this version knows
    index.append("from a later minor version")
    for record in index[4]:
        record.append(7)
    joined = Parts(parts.header, index, parts.streams).join()
    assert contents(joined) == contents(parts.join())


def test_unknown_layout_fails_by_name_and_only_for_its_tensors(parts: Parts) -> None:
    index = copy.deepcopy(parts.index)
    index[1].append("future/1")
    index[4][3][2] = len(index[1]) - 1
    with open_bytes(Parts(parts.header, index, parts.streams).join()) as archive:
        assert archive["embed"].shape == (12, 8)
        with pytest.raises(NewerFormatError, match="'norm' is stored in layout 'future/1'"):
            archive["norm"]


def test_unknown_codec_fails_by_name_and_only_for_its_tensors(parts: Parts) -> None:
    index = copy.deepcopy(parts.index)
    index[2] = [f"{name}-2" for name in index[2]]
    with open_bytes(Parts(parts.header, index, parts.streams).join()) as archive:
        assert archive["embed"].shape == (12, 8)
        with pytest.raises(NewerFormatError, match=r"'norm'.*unknown codec 'raw-2'"):
            archive["norm"]


def test_unknown_dtype_fails_by_name_and_only_for_its_tensors(parts: Parts) -> None:
    index = replaced(parts.index, (4, 3, 0), "F8_NEW")
    with open_bytes(Parts(parts.header, index, parts.streams).join()) as archive:
        assert archive["embed"].shape == (12, 8)
        assert "norm" not in archive.specs
        with pytest.raises(NewerFormatError, match="'norm' has dtype 'F8_NEW'"):
            archive["norm"]


def test_tensor_without_a_recorded_hash_reads_and_restores(parts: Parts) -> None:
    joined = with_tensor(parts, 0, 4, None)
    assert contents(joined) == contents(parts.join())
    with open_bytes(joined) as archive:
        assert b"".join(tensor_bytes(archive.files[0], 0)) == archive["embed"].tobytes()


@pytest.mark.parametrize("depth", [65, 500, 100_000])
def test_deeply_nested_provenance_and_meta_raise_corrupt(parts: Parts, depth: int) -> None:
    marker = b"<<deep>>"
    for place in ((6,), (4, 3, 3), (4, 4, 3)):
        packed = msgspec.msgpack.encode(replaced(parts.index, place, marker))
        packed = packed.replace(b"\xc4\x08" + marker, b"\x91" * depth + b"\xc0")
        joined = Parts(parts.header, packed, parts.streams).join()
        with pytest.raises(CorruptError):
            read_everything(joined)
