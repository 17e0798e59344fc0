"""The safetensors header parser, by property against the official library and rule by rule."""

from __future__ import annotations

import json

import pytest
import safetensors
from hypothesis import given
from hypothesis import strategies as st

from tersor.errors import CorruptError, NewerFormatError
from tersor.sources.header import Header, header_length, parse_header
from tersor.types import DTYPES, TensorSpec

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8).filter(
    lambda name: name != "__metadata__"
)
SHAPES = st.lists(st.integers(0, 5), max_size=4)


def entry(dtype: str, shape: list[int], begin: int, end: int) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def parse(entries: object, n_data_bytes: int) -> Header:
    return parse_header(json.dumps(entries).encode(), n_data_bytes, "file")


@st.composite
def valid_headers(draw: st.DrawFn) -> tuple[bytes, int]:
    """JSON and the number of data bytes that it describes; tensors in any order of names, no gaps."""
    entries: dict[str, object] = {}
    position = 0
    for name in draw(st.lists(NAMES, unique=True, max_size=5)):
        spec = TensorSpec(name, draw(st.sampled_from(list(DTYPES))), tuple(draw(SHAPES)))
        if spec.is_sub_byte and spec.n_elements % 8:
            continue  # the official library refuses what does not end on a byte
        entries[name] = entry(spec.dtype, list(spec.shape), position, position + spec.n_bytes)
        position += spec.n_bytes
    if draw(st.booleans()):
        entries["__metadata__"] = draw(st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=2))
    shuffled = {name: entries[name] for name in draw(st.permutations(list(entries)))}
    text = json.dumps(shuffled, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
    return text + b" " * draw(st.integers(0, 8)), position


def official(text: bytes, n_data_bytes: int) -> dict[str, tuple[str, tuple[int, ...]]] | None:
    """What the safetensors package reads, or None if it refuses."""
    try:
        tensors = safetensors.deserialize(len(text).to_bytes(8, "little") + text + bytes(n_data_bytes))
    except safetensors.SafetensorError:
        return None
    return {name: (info["dtype"], tuple(info["shape"])) for name, info in tensors}


@given(valid_headers())
def test_valid_header_is_read_as_the_official_library_reads_it(case: tuple[bytes, int]) -> None:
    header = parse_header(*case, "file")
    ours = {spec.name: (spec.dtype, spec.shape) for spec in header.specs}
    theirs = official(*case)
    assert theirs is not None
    assert ours == theirs


@given(valid_headers(), st.data())
def test_mutated_header_is_refused_or_means_what_the_official_library_says(
    case: tuple[bytes, int], data: st.DataObject
) -> None:
    text, n_data_bytes = case
    mutated = bytearray(text)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(mutated) - 1))
        mutated[place : place + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
        if not mutated:
            break
    try:
        header = parse_header(bytes(mutated), n_data_bytes, "file")
    except (CorruptError, NewerFormatError):
        return
    covered = sum(spec.n_bytes for spec in header.specs)
    for spec, (begin, end) in zip(header.specs, header.offsets, strict=True):
        assert 0 <= begin <= end <= n_data_bytes
        assert end - begin == spec.n_bytes
    theirs = official(bytes(mutated), n_data_bytes)
    if covered == n_data_bytes and theirs is not None:
        assert {spec.name: (spec.dtype, spec.shape) for spec in header.specs} == theirs


@given(st.binary(max_size=200))
def test_any_bytes_are_parsed_or_refused(text: bytes) -> None:
    try:
        parse_header(text, 100, "file")
    except (CorruptError, NewerFormatError):
        return


def test_specs_come_in_data_order_whatever_the_header_order() -> None:
    header = parse({"b": entry("U8", [2], 1, 3), "a": entry("U8", [1], 0, 1), "e": entry("U8", [0], 0, 0)}, 3)
    assert [spec.name for spec in header.specs] == ["e", "a", "b"]
    assert header.offsets == ((0, 0), (0, 1), (1, 3))


def test_sub_byte_tensors_are_counted_in_whole_bytes() -> None:
    header = parse({"a": entry("F4", [3], 0, 2), "b": entry("F6_E2M3", [4], 2, 5)}, 5)
    assert [spec.n_bytes for spec in header.specs] == [2, 3]


OK = entry("U8", [2], 0, 2)
BROKEN: list[tuple[bytes, str]] = [
    (b'{"a":' + json.dumps(OK).encode() + b',"a":' + json.dumps(OK).encode() + b"}", "'a' appears twice"),
    (b'{"a":{"dtype":"U8","dtype":"U8","shape":[2],"data_offsets":[0,2]}}', "'dtype' appears twice"),
    (b"[]", "needs '{'"),
    (b' {"a":1}', "needs '{'"),
    (b"{", "not valid JSON"),
    (b'{"a":NaN}', "NaN is not JSON"),
    (b'{"\xff":1}', "not valid JSON"),
    (b'{"a":' + b"[" * 100_000 + b"}", "not valid JSON"),
    (b'{"a":' + b"9" * 5000 + b"}", "not valid JSON"),
    (b'{"\\ud800":' + json.dumps(OK).encode() + b"}", "surrogate"),
    (b'{"__metadata__":{"a":1}}', "__metadata__ is not an object of strings"),
    (b'{"__metadata__":[]}', "__metadata__ is not an object of strings"),
    (b'{"a":1}', "needs dtype, shape and data_offsets"),
    (b'{"a":{"dtype":"U8","shape":[2]}}', "needs dtype, shape and data_offsets"),
    (json.dumps({"a": entry(7, [2], 0, 2)}).encode(), "dtype needs a string"),  # type: ignore[arg-type]
    (json.dumps({"a": entry("U8", [2.0], 0, 2)}).encode(), "shape needs"),  # type: ignore[list-item]
    (json.dumps({"a": entry("U8", [True, 2], 0, 2)}).encode(), "shape needs"),
    (json.dumps({"a": entry("U8", [-2], 0, 2)}).encode(), "shape needs"),
    (json.dumps({"a": entry("U8", [1] * 65, 0, 1)}).encode(), "shape needs a list of at most 64"),
    (json.dumps({"a": entry("U8", [2**63], 0, 2)}).encode(), "shape needs"),
    (json.dumps({"a": entry("U8", [0, 2**62, 2**62], 0, 0)}).encode(), "does not fit a 64-bit size"),
    (json.dumps({"a": entry("U8", [2**62, 2**62], 0, 2)}).encode(), "does not fit a 64-bit size"),
    (json.dumps({"a": entry("F32", [2], 0, 2)}).encode(), "is 8 bytes, data_offsets give 2"),
    (json.dumps({"a": entry("U8", [2], 9, 11)}).encode(), "end <= 10"),
    (json.dumps({"a": entry("U8", [2], 2, 0)}).encode(), "begin <= end"),
    (json.dumps({"a": {**OK, "data_offsets": [0]}}).encode(), "data_offsets needs"),
    (json.dumps({"a": OK, "b": entry("U8", [2], 1, 3)}).encode(), "'a' and 'b' overlap at data offset 1"),
    (json.dumps({"a": OK, "b": entry("U8", [0], 1, 1)}).encode(), "'a' and 'b' overlap at data offset 1"),
]


@pytest.mark.parametrize(("text", "message"), BROKEN, ids=[message for _, message in BROKEN])
def test_broken_rule_raises_corrupt_and_names_it(text: bytes, message: str) -> None:
    with pytest.raises(CorruptError, match="file: safetensors header: ") as caught:
        parse_header(text, 10, "file")
    assert message in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_message_about_a_huge_name_stays_short() -> None:
    with pytest.raises(CorruptError) as caught:
        parse({"n" * 1_000_000: 1}, 0)
    assert len(str(caught.value)) < 1000


def test_unknown_dtype_raises_newer_format() -> None:
    with pytest.raises(NewerFormatError, match="unknown dtype 'F3'"):
        parse({"a": entry("F3", [8], 0, 3)}, 3)


@pytest.mark.parametrize("length", [0, 1, 93, 100_000_001, 2**64 - 1])
def test_header_length_outside_the_file_raises_corrupt(length: int) -> None:
    with pytest.raises(CorruptError, match=f"header length is {length}, .*allows 2 to 92"):
        header_length(length.to_bytes(8, "little"), 100, "file")


def test_header_over_the_formats_limit_raises_corrupt_even_if_the_file_is_large() -> None:
    with pytest.raises(CorruptError, match="allows 2 to 100000000"):
        header_length((100_000_001).to_bytes(8, "little"), 1 << 40, "file")
