"""`encode_smallest` picks by size, breaks ties towards the cheaper decoder, and says when nothing applies."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tersor.codec import make_codec
from tersor.codec.auto import encode_smallest
from tersor.errors import UnknownNameError, UsageError

NAMES = ("lzw", "zstd", "huffman", "raw", "constant")


@given(st.one_of(st.binary(max_size=600), st.lists(st.sampled_from(b"ab"), max_size=600).map(bytes)))
def test_choice_is_never_larger_than_any_other(data: bytes) -> None:
    name, payload = encode_smallest(data, NAMES)
    assert payload == make_codec(name).encode(data)
    assert all(len(payload) <= len(make_codec(other).encode(data)) for other in NAMES if other != "constant")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "constant"),
        (b"x", "constant"),
        (b"x" * 5000, "constant"),
        (bytes(range(256)), "raw"),
        (np.random.default_rng(1).geometric(0.4, 20_000).astype(np.uint8).tobytes(), "huffman"),
        (b"".join(b"line %d of a text with repeats\n" % k for k in range(300)), "zstd"),
    ],
)
def test_data_goes_to_the_codec_that_suits_it(data: bytes, expected: str) -> None:
    assert encode_smallest(data, NAMES)[0] == expected


def test_tie_goes_to_the_codec_that_decodes_faster_whatever_the_order_of_names() -> None:
    assert encode_smallest(b"", ("lzw", "huffman", "raw"))[0] == "raw"


def test_only_the_named_codecs_are_tried() -> None:
    assert encode_smallest(b"abc", ("lzw",))[0] == "lzw"


def test_constant_alone_on_other_data_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="no codec applies"):
        encode_smallest(b"ab", ("constant",))


def test_unknown_name_is_an_error_before_any_work() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'zstd'"):
        encode_smallest(b"ab", ("raw", "zsd"))
