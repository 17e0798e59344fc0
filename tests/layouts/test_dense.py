"""Dense blocks: every dtype and shape survives, the smallest form is chosen, damage is an error."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tersor import _core
from tersor.codec import CODECS
from tersor.errors import CorruptError, NewerFormatError, UsageError
from tersor.layouts import Alias, Context, Dense, make_layout
from tersor.layouts.base import Encoded, EncodedBlock
from tersor.layouts.file_tables import FileCounts
from tersor.layouts.float_words import UNITS
from tersor.layouts.forms.parts import FORM_BYTES, FORM_FLOAT_ROWS, FORM_PLANES
from tersor.layouts.tables import TableSet
from tersor.types import DTYPES, TensorSpec

LEVELS = ("fast", "balanced")
Array = npt.NDArray[Any]


def array_of(spec: TensorSpec, seed: int) -> Array:
    """Any bytes that the dtype can hold."""
    rng = np.random.default_rng(seed)
    if spec.dtype == "BOOL":
        return rng.integers(0, 2, spec.shape).astype(np.bool_)
    return np.frombuffer(rng.bytes(spec.n_bytes), spec.numpy_dtype).reshape(spec.numpy_shape)


def weights_of(spec: TensorSpec, seed: int) -> Array:
    """Values like those of weights: rows of bell shape, each with a scale of its own."""
    rng = np.random.default_rng(seed)
    scales = np.exp2(rng.uniform(-8, -3, (*spec.shape[:-1], 1)))
    return np.asarray((rng.standard_normal(spec.shape) * scales).astype(spec.numpy_dtype))


def context_for(spec: TensorSpec, array: Array, level: str = "balanced", codec: str = "auto") -> Context:
    counts = FileCounts()
    counts.add(spec, Dense(array))
    return Context(table_sets=counts.make(level), level=level, codec=codec)


def encode(spec: TensorSpec, array: Array, context: Context) -> tuple[Encoded, list[EncodedBlock]]:
    encoded = make_layout("dense/1").encode(spec, Dense(array), context)
    return encoded, [job() for job in encoded.blocks]


def decode(spec: TensorSpec, encoded: Encoded, blocks: list[EncodedBlock], context: Context) -> Array:
    layout = make_layout("dense/1")
    rows, columns = layout.matrix_shape(spec, encoded.meta)
    decoder = layout.decoder(spec, encoded.meta, memoryview(b""), 0, context)
    out = np.zeros((rows, columns), spec.numpy_dtype)
    remaining = iter(blocks)
    for row in range(0, rows if columns else 0, encoded.block_rows or 1):
        for column in range(0, columns, encoded.block_columns or 1):
            block = next(remaining)
            target = out[row : row + encoded.block_rows, column : column + encoded.block_columns]
            decoder.decode(memoryview(block.payload), block.crc, row, column, target)
    assert next(remaining, None) is None
    return out


def assert_round_trip(spec: TensorSpec, array: Array, context: Context) -> list[EncodedBlock]:
    encoded, blocks = encode(spec, array, context)
    reading = Context(list(context.codecs), context.table_sets)
    assert decode(spec, encoded, blocks, reading).tobytes() == array.tobytes()
    assert sum(len(block.payload) for block in blocks) <= array.nbytes + 2 * len(blocks)
    return blocks


def block_of(array: Array, dtype: str = "U8", **options: str) -> tuple[EncodedBlock, Context]:
    """The only block of a tensor, and the context that reads it."""
    spec = TensorSpec("w", dtype, array.shape)
    context = context_for(spec, array, **options)
    (block,) = assert_round_trip(spec, array, context)
    return block, context


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 0, 2), (7, 5), (33, 64), (2, 3, 130)])
@pytest.mark.parametrize("dtype", list(DTYPES))
def test_every_dtype_survives(dtype: str, shape: tuple[int, ...], level: str) -> None:
    spec = TensorSpec("w", dtype, shape)
    array = array_of(spec, seed=len(shape))
    assert_round_trip(spec, array, context_for(spec, array, level))


@settings(max_examples=60)
@given(
    st.sampled_from(["BF16", "F16", "F32"]),
    st.lists(st.integers(1, 70), max_size=3).map(tuple),
    st.sampled_from(LEVELS),
    st.integers(0, 2**31),
    st.booleans(),
)
def test_floats_of_any_shape_survive(
    dtype: str, shape: tuple[int, ...], level: str, seed: int, like_weights: bool
) -> None:
    spec = TensorSpec("w", dtype, shape)
    array = weights_of(spec, seed) if like_weights and shape else array_of(spec, seed)
    assert_round_trip(spec, array, context_for(spec, array, level))


@settings(max_examples=60)
@given(st.binary(min_size=1, max_size=300), st.integers(1, 40), st.sampled_from(LEVELS))
def test_any_bytes_survive_with_and_without_float_tables(data: bytes, repeats: int, level: str) -> None:
    array = np.frombuffer(data * repeats, np.uint8)
    spec = TensorSpec("data.bin", "U8", array.shape)
    assert_round_trip(spec, array, Context(level=level))
    assert_round_trip(spec, array, Context(table_sets=float_tables(level), level=level))


def float_tables(level: str) -> list[TableSet]:
    spec = TensorSpec("other", "BF16", (64, 256))
    counts = FileCounts()
    counts.add(spec, Dense(weights_of(spec, 1)))
    return counts.make(level)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("codec", [*CODECS.names(), "auto"])
@pytest.mark.parametrize("dtype", ["U8", "I32", "BF16", "F32"])
def test_every_codec_option_survives(dtype: str, codec: str, level: str) -> None:
    spec = TensorSpec("w", dtype, (40, 50))
    array = (
        weights_of(spec, 2)
        if dtype in UNITS
        else (np.arange(2000) % 60).astype(spec.numpy_dtype).reshape(40, 50)
    )
    for values in (array, np.full_like(array, 1)):
        assert_round_trip(spec, values, context_for(spec, values, level, codec))


@pytest.mark.parametrize("codec", ["huffman", "lzw", "zstd"])
def test_a_named_codec_is_the_only_one_beside_raw(codec: str) -> None:
    values = np.random.default_rng(3).geometric(0.4, (50, 100)).astype(np.int32)
    _, context = block_of(values, "I32", codec=codec)
    assert set(context.codecs) == {"raw", codec}


def test_equal_bytes_are_a_constant_of_three_bytes() -> None:
    for dtype in ("U8", "BF16", "F32", "I64"):
        block, context = block_of(np.zeros((30, 64), TensorSpec("w", dtype, ()).numpy_dtype), dtype)
        assert block.payload[0] == FORM_BYTES
        assert context.codecs == ["constant"]
        assert len(block.payload) == 3


def test_noise_is_stored_with_two_bytes_more() -> None:
    block, context = block_of(np.frombuffer(np.random.default_rng(4).bytes(4096), np.uint8))
    assert context.codecs[block.payload[1]] == "raw"
    assert len(block.payload) == 4096 + 2


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(("dtype", "ratio"), [("BF16", 0.70), ("F16", 0.86), ("F32", 0.86)])
def test_weights_become_float_rows(dtype: str, ratio: float, level: str) -> None:
    spec = TensorSpec("w", dtype, (128, 512))
    array = weights_of(spec, 5)
    block, _ = block_of(array, dtype, level=level)
    assert block.payload[:2] == bytes((FORM_FLOAT_ROWS, UNITS[dtype]))
    assert len(block.payload) <= ratio * array.nbytes


def test_repeated_rows_of_floats_are_found() -> None:
    spec = TensorSpec("w", "BF16", (1, 256))
    array = np.repeat(weights_of(spec, 6), 256, axis=0)
    block, context = block_of(array, "BF16")
    assert block.payload[0] != FORM_FLOAT_ROWS
    assert "zstd" in context.codecs
    assert len(block.payload) < array.nbytes / 50


def test_small_integers_become_planes() -> None:
    values = np.random.default_rng(7).integers(0, 1000, (100, 100)).astype(np.int64)
    block, _ = block_of(values, "I64")
    assert block.payload[:2] == bytes((FORM_PLANES, 8))
    assert len(block.payload) < 2 * 10_000 + 100


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", ["BF16", "F32"])
def test_plain_bytes_that_hold_floats_become_float_rows(dtype: str, level: str) -> None:
    floats = TensorSpec("w", dtype, (1, 1 << 16))
    pieces = np.random.default_rng(8).standard_normal((64, 1024))
    pieces *= 2**-5 / np.sqrt(
        np.square(pieces).mean(axis=1, keepdims=True)
    )  # the same scale wherever one looks
    weights = pieces.reshape(floats.shape).astype(floats.numpy_dtype)
    odd = np.concatenate([weights.view(np.uint8).reshape(-1), np.array([7], np.uint8)])
    spec = TensorSpec("model.bin", "U8", odd.shape)
    tables = context_for(floats, weights, level).table_sets
    (block,) = assert_round_trip(spec, odd, Context(table_sets=tables, level=level))
    assert block.payload[:2] == bytes((FORM_FLOAT_ROWS, UNITS[dtype]))
    assert block.payload[-1] == 7


def test_large_tensors_are_cut_into_blocks_and_tiles() -> None:
    for shape in [(3, 600_000), (1500, 700)]:
        spec = TensorSpec("w", "BF16", shape)
        array = weights_of(spec, 9)
        assert len(assert_round_trip(spec, array, context_for(spec, array))) > 1


def test_blocks_do_not_depend_on_the_order_of_the_jobs() -> None:
    spec = TensorSpec("w", "F32", (1500, 700))
    array = weights_of(spec, 10)
    context = context_for(spec, array)
    for name in ("constant", "raw", "huffman", "rans", "zstd", "lzw"):
        context.codec_number(name)
    _, forwards = encode(spec, array, context)
    jobs = list(make_layout("dense/1").encode(spec, Dense(array), context).blocks)
    assert [job() for job in reversed(jobs)][::-1] == forwards


DAMAGED = {
    "raw": (np.frombuffer(np.random.default_rng(11).bytes(40), np.uint8), "U8"),
    "constant": (np.zeros(40, np.uint8), "U8"),
    "huffman or rans": (np.random.default_rng(12).geometric(0.5, 300).astype(np.uint8), "U8"),
    "planes": (np.random.default_rng(13).integers(0, 9, 60).astype(np.int32), "I32"),
    "BF16": (weights_of(TensorSpec("w", "BF16", (4, 64)), 14), "BF16"),
    "F16": (weights_of(TensorSpec("w", "F16", (4, 64)), 15), "F16"),
    "F32": (weights_of(TensorSpec("w", "F32", (4, 64)), 16), "F32"),
}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("kind", DAMAGED)
def test_every_flipped_bit_is_an_error_or_harmless(kind: str, level: str) -> None:
    array, dtype = DAMAGED[kind]
    block, context = block_of(array, dtype, level=level)
    spec = TensorSpec("w", dtype, array.shape)
    decoder = make_layout("dense/1").decoder(spec, None, memoryview(b""), 0, context)
    out = np.empty((1, array.size), array.dtype)
    for bit in range(8 * len(block.payload)):
        damaged = bytearray(block.payload)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            decoder.decode(memoryview(damaged), block.crc, 0, 0, out)
        except (CorruptError, NewerFormatError):
            continue
        assert out.tobytes() == array.tobytes()


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("kind", DAMAGED)
def test_truncated_or_longer_block_is_corrupt_at_every_byte(kind: str, level: str) -> None:
    array, dtype = DAMAGED[kind]
    block, context = block_of(array, dtype, level=level)
    spec = TensorSpec("w", dtype, array.shape)
    decoder = make_layout("dense/1").decoder(spec, None, memoryview(b""), 0, context)
    out = np.empty((1, array.size), array.dtype)
    for payload in [block.payload[:n] for n in range(len(block.payload))] + [block.payload + b"\0"]:
        with pytest.raises(CorruptError, match="tensor 'w', block at row 0, column 0"):
            decoder.decode(memoryview(payload), block.crc, 0, 0, out)


def decode_bytes(payload: bytes, n_bytes: int = 12, **context: Any) -> None:
    """Decode a block of U8 that is given byte by byte; the checksum is that of zeros."""
    decoder = make_layout("dense/1").decoder(
        TensorSpec("w", "U8", (n_bytes,)), None, memoryview(b""), 0, Context(**context)
    )
    crc = _core.crc32c(np.zeros(n_bytes, np.uint8))
    decoder.decode(memoryview(payload), crc, 0, 0, np.empty((1, n_bytes), np.uint8))


def test_planes_leave_the_last_bytes_as_they_are() -> None:
    decode_bytes(bytes((1, 5, *(0, 1) * 5, *(0,) * 5, 0, 0)), codecs=["constant"])


@pytest.mark.parametrize(
    ("payload", "error", "message"),
    [
        (b"", CorruptError, "0 bytes left, needs 1"),
        (b"\7", NewerFormatError, "form 7"),
        (b"\0\1" + bytes(12), CorruptError, "codec 1, the index lists 1"),
        (b"\1\1", CorruptError, "1 planes"),
        (b"\1\0", CorruptError, "0 planes"),
        (b"\1\2\0" + b"\xff" * 12, CorruptError, "varint is too long"),
        (b"\1\2\0\x80\0", CorruptError, "varint is too long"),
        (b"\1\2\0\xff\xff\xff\xff\x7f\0\0", CorruptError, "needs"),
        (b"\2\3", NewerFormatError, "float unit 3"),
        (b"\2\0\3", NewerFormatError, "float coder 3"),
        (b"\2\0\0", CorruptError, "lacks the tables"),
        (b"\0\0" + bytes(11) + b"\1", CorruptError, "CRC-32C"),
    ],
)
def test_impossible_blocks_are_refused(payload: bytes, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        decode_bytes(payload, codecs=["raw"])


def test_unknown_codec_is_named() -> None:
    with pytest.raises(NewerFormatError, match="unknown codec 'brotli'"):
        decode_bytes(b"\0\0abc", codecs=["brotli"])


def test_head_and_parameters_are_refused() -> None:
    spec = TensorSpec("w", "U8", (4,))
    with pytest.raises(NewerFormatError, match="no parameters"):
        make_layout("dense/1").decoder(spec, [1], memoryview(b""), 0, Context())
    with pytest.raises(CorruptError, match="lacks the side tables of its columns"):
        make_layout("dense/1").decoder(spec, None, memoryview(b"xx"), 0, Context())


def test_arrays_that_do_not_fit_are_refused() -> None:
    spec = TensorSpec("w", "F32", (4, 4))
    with pytest.raises(UsageError, match=r"needs float32 \(4, 4\)"):
        make_layout("dense/1").encode(spec, Dense(np.zeros((4, 4), np.float64)), Context())
    with pytest.raises(UsageError, match=r"needs float32 \(4, 4\)"):
        make_layout("dense/1").encode(spec, Dense(np.zeros((2, 8), np.float32)), Context())
    with pytest.raises(UsageError, match="encodes Dense, got Alias"):
        make_layout("dense/1").encode(spec, Alias("v"), Context())
