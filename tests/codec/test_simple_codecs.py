"""`raw`, `constant` and the checks of buffers that all codecs share."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from tersor.codec import CODECS, make_codec
from tersor.codec.base import input_bytes, output_bytes
from tersor.codec.constant import Constant, is_constant
from tersor.codec.raw import Raw
from tersor.errors import CorruptError, UnknownNameError, UsageError


def test_raw_payload_is_the_data() -> None:
    assert Raw().encode(b"some bytes") == b"some bytes"


def test_raw_of_another_length_names_both_lengths() -> None:
    with pytest.raises(CorruptError, match="raw payload: has 2 bytes, needs 3"):
        Raw().decode(b"ab", memoryview(bytearray(3)))


def test_constant_payload_is_one_byte() -> None:
    assert Constant().encode(b"\x09" * 1000) == b"\x09"


def test_constant_refuses_other_data_and_names_the_first_difference() -> None:
    with pytest.raises(UsageError, match="byte 2 is 98, byte 0 is 97"):
        Constant().encode(b"aab")


@pytest.mark.parametrize(("data", "expected"), [(b"", True), (b"a", True), (b"aa", True), (b"ab", False)])
def test_is_constant(data: bytes, expected: bool) -> None:
    assert is_constant(data) is expected


def test_unknown_codec_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'huffman'"):
        make_codec("hufman")


def test_registry_lists_the_ids_of_the_format() -> None:
    assert {"raw", "constant", "zstd", "huffman", "lzw", "rans"} <= set(CODECS.names())


@pytest.mark.parametrize(
    "array", [np.zeros((), np.float32), np.zeros((2, 3), ml_dtypes.bfloat16), np.zeros((0, 4))]
)
def test_input_bytes_views_arrays_of_any_rank_and_type(array: np.ndarray) -> None:
    assert input_bytes(array).shape == (array.nbytes,)


@pytest.mark.parametrize("data", [np.zeros((4, 4))[:, ::2], memoryview(b"abcdef")[::2]])
def test_input_that_is_not_contiguous_is_a_usage_error(data: memoryview) -> None:
    with pytest.raises(UsageError, match="contiguous"):
        input_bytes(data)


@pytest.mark.parametrize("out", [memoryview(b"read-only"), memoryview(bytearray(8))[::2]])
def test_output_that_cannot_be_filled_is_a_usage_error(out: memoryview) -> None:
    with pytest.raises(UsageError, match="writable and contiguous"):
        output_bytes(out)
