"""Deltas: every dtype comes back from its base, what moved little costs little, damage is an error."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archives import random_array
from tersor.codec.auto import ORDER
from tersor.errors import CorruptError, NewerFormatError, UsageError
from tersor.layouts import Context, Delta, Dense, make_layout
from tersor.layouts.base import EncodedBlock
from tersor.layouts.delta_words import (
    DIFFERENCE,
    EQUAL,
    EXPONENTS,
    XOR,
    apply_differences,
    as_words,
    differences,
)
from tersor.types import DTYPES, TensorSpec

KINDS = (DIFFERENCE, XOR)
DIGEST = b"d" * 16
Array = npt.NDArray[Any]


def any_pair(dtype: str, shape: tuple[int, ...], seed: int) -> tuple[TensorSpec, Array, Array]:
    """Any bytes as a tensor and its base."""
    spec = TensorSpec("t", dtype, shape)
    rng = np.random.default_rng(seed)
    if dtype == "BOOL":
        pair = [rng.integers(0, 2, shape).astype(np.bool_) for _ in range(2)]
    else:
        pair = [
            np.frombuffer(rng.bytes(spec.n_bytes), spec.numpy_dtype).reshape(spec.numpy_shape)
            for _ in range(2)
        ]
    return spec, pair[0], pair[1]


def moved(
    dtype: str, shape: tuple[int, int], seed: int = 0, still_rows: int = 0
) -> tuple[TensorSpec, Array, Array]:
    """Weights and their base, from which all but the first rows moved by about a thousandth."""
    spec = TensorSpec("t", dtype, shape)
    base = random_array(spec, seed)
    update = np.random.default_rng(seed + 1).standard_normal(shape) * 5e-5
    update[:still_rows] = 0
    return spec, (base.astype(np.float64) + update).astype(spec.numpy_dtype), base


def context() -> Context:
    return Context(codecs=list(ORDER))


def encode(spec: TensorSpec, array: Array, base: Array, kind: int) -> tuple[list[EncodedBlock], Any]:
    encoded = make_layout("delta/1").encode(spec, Delta(array, base, kind, None, DIGEST), context())
    return [job() for job in encoded.blocks], encoded.meta


def decode_one(spec: TensorSpec, base: Array, kind: int, payload: bytes, crc: int) -> Array:
    """Decode a tensor of one block."""
    matrix = base.reshape(make_layout("delta/1").matrix_shape(spec, None))
    reader = context()
    reader.base = lambda row, column, shape: matrix[row : row + shape[0], column : column + shape[1]]
    decoder = make_layout("delta/1").decoder(spec, [kind, None, DIGEST], memoryview(b""), 0, reader)
    out = np.empty(matrix.shape, spec.numpy_dtype)
    decoder.decode(memoryview(payload), crc, 0, 0, out)
    return out.reshape(base.shape)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=10)
@given(rows=st.integers(1, 9), columns=st.integers(1, 40), seed=st.integers(0, 99))
def test_any_bytes_come_back_from_any_base(dtype: str, kind: int, rows: int, columns: int, seed: int) -> None:
    spec, array, base = any_pair(dtype, (rows, columns), seed)
    [block], _ = encode(spec, array, base, kind)
    assert decode_one(spec, base, kind, block.payload, block.crc).tobytes() == array.tobytes()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", EXPONENTS)
def test_differences_of_all_sign_and_exponent_patterns_are_undone(dtype: str, kind: int) -> None:
    width = TensorSpec("t", dtype, ()).numpy_dtype.itemsize
    edges = np.array(
        [0, 1, (1 << (8 * width - 1)) - 1, 1 << (8 * width - 1), (1 << 8 * width) - 1], f"<u{width}"
    )
    words, base = (side.reshape(-1) for side in np.meshgrid(edges, edges))
    stored = differences(kind, dtype, words, base)
    assert apply_differences(kind, dtype, stored, base).tolist() == words.tolist()


def test_a_step_away_from_zero_is_one_for_either_sign() -> None:
    base = np.array([0.5, -0.5], np.float32)
    away = np.nextafter(base, np.float32([1, -1]))
    assert differences(DIFFERENCE, "F32", as_words(away), as_words(base)).tolist() == [1, 1]


@pytest.mark.parametrize(("dtype", "bits"), [("F32", 19.5), ("BF16", 4.0), ("F16", 6.5)])
def test_small_updates_cost_little_more_than_their_noise(dtype: str, bits: float) -> None:
    spec, array, base = moved(dtype, (256, 256))
    blocks, _ = encode(spec, array, base, DIFFERENCE)
    assert 8 * sum(len(block.payload) for block in blocks) / array.size < bits


def test_rows_that_did_not_move_cost_next_to_nothing() -> None:
    spec, array, base = moved("F32", (256, 256), still_rows=192)
    whole = len(encode(*moved("F32", (256, 256)), DIFFERENCE)[0][0].payload)
    assert len(encode(spec, array, base, DIFFERENCE)[0][0].payload) < 0.29 * whole


def test_equal_has_no_blocks_and_no_hash() -> None:
    spec, _, base = moved("F32", (8, 8))
    assert encode(spec, base, base, EQUAL) == ([], [EQUAL, None, None])


def test_encoding_is_deterministic_and_keeps_its_input() -> None:
    spec, array, base = moved("F32", (100, 70))
    before = array.tobytes(), base.tobytes()
    assert encode(spec, array, base, DIFFERENCE) == encode(spec, array, base, DIFFERENCE)
    assert before == (array.tobytes(), base.tobytes())


def test_encode_refuses_other_values_and_shapes() -> None:
    spec, array, base = moved("F32", (8, 8))
    with pytest.raises(UsageError, match="encodes Delta, got Dense"):
        make_layout("delta/1").encode(spec, Dense(array), context())
    with pytest.raises(UsageError, match="needs float32"):
        make_layout("delta/1").encode(spec, Delta(array, base[:4], XOR, None, DIGEST), context())


@pytest.mark.parametrize(
    ("meta", "error", "message"),
    [
        (None, CorruptError, "needs .kind, base name, base hash"),
        ([1], CorruptError, "needs .kind, base name, base hash"),
        ([1, None, None], CorruptError, "needs .kind, base name, base hash"),
        ([1, None, b"short"], CorruptError, "needs .kind, base name, base hash"),
        ([0, None, DIGEST], CorruptError, "needs .kind, base name, base hash"),
        ([2, 7, DIGEST], CorruptError, "needs .kind, base name, base hash"),
        ([3, None, DIGEST], NewerFormatError, "kind 3"),
    ],
)
def test_wrong_parameters_are_refused(meta: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make_layout("delta/1").decoder(TensorSpec("t", "F32", (2, 2)), meta, memoryview(b""), 0, context())


def test_a_delta_without_its_base_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="needs its base"):
        make_layout("delta/1").decoder(
            TensorSpec("t", "F32", (2,)), [1, None, DIGEST], memoryview(b""), 0, context()
        )


@pytest.mark.parametrize("kind", KINDS)
def test_truncated_payload_is_corrupt_at_every_byte(kind: int) -> None:
    spec, array, base = moved("F32", (9, 11))
    [block], _ = encode(spec, array, base, kind)
    for end in range(len(block.payload)):
        with pytest.raises(CorruptError):
            decode_one(spec, base, kind, block.payload[:end], block.crc)


@pytest.mark.parametrize("kind", KINDS)
def test_flipped_bits_are_refused_or_harmless_and_other_bytes_corrupt(kind: int) -> None:
    spec, array, base = moved("BF16", (16, 16))
    [block], _ = encode(spec, array, base, kind)
    rng, n_refused = np.random.default_rng(0), 0
    for _ in range(300):
        damaged = bytearray(block.payload)
        damaged[rng.integers(len(damaged))] ^= 1 << int(rng.integers(8))
        try:  # all row classes one higher are the same order, for example
            assert decode_one(spec, base, kind, bytes(damaged), block.crc).tobytes() == array.tobytes()
        except (CorruptError, NewerFormatError):
            n_refused += 1
    assert n_refused > 250
    with pytest.raises(CorruptError, match="left over"):
        decode_one(spec, base, kind, block.payload + b"\0", block.crc)


def test_forged_group_sizes_are_refused_before_anything_is_allocated() -> None:
    spec, _, base = moved("F32", (4, 4))
    raw, constant = ORDER.index("raw"), ORDER.index("constant")
    classes = bytes((constant, 1, 0))
    huge = b"\xff" * 9 + b"\x01"
    for groups in (huge, b"\x01" + huge, b"\x01\x11\x00", b"\x01\x10\x19", b"\x01\x00\x00"):
        with pytest.raises(CorruptError):
            decode_one(spec, base, DIFFERENCE, classes + groups + bytes((raw, 16)) * 4 + bytes(64), 0)
