"""Level max: tensors with scales of rows and columns come back bit for bit; damage is an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from damage import contents
from tersor import _core
from tersor.errors import CorruptError, NewerFormatError
from tersor.layouts import make_layout
from tersor.layouts.base import Context, Dense, EncodedBlock, matrix_shape
from tersor.layouts.float_max import (
    Columns,
    decode_head,
    decode_words,
    encode_head,
    flat_columns,
    word_matrix,
)
from tersor.layouts.float_tables import float_context
from tersor.layouts.tables import find_tables
from tersor.packing import pack, unpack
from tersor.types import TensorSpec

Array = npt.NDArray[Any]
FLOATS = ("BF16", "F16", "F32")


def skewed(dtype: str, rows: int, columns: int, seed: int = 0) -> Array:
    """Weights whose rows and columns have scales, and whose columns lean to one side or the other."""
    rng = np.random.default_rng(seed)
    means = np.linspace(-3, 3, columns)
    scales = np.exp2(rng.uniform(-8, -3, (rows, 1)) + rng.uniform(-2, 2, columns))
    return ((rng.standard_normal((rows, columns)) + means) * scales).astype(
        TensorSpec("w", dtype, ()).numpy_dtype
    )


def embedding(dtype: str, rows: int, columns: int, seed: int = 0) -> Array:
    """Half of the rows follow a common mean vector, the others do not."""
    rng = np.random.default_rng(seed)
    rows_of = rng.standard_normal((rows, columns))
    rows_of[: rows // 2] += 2 * rng.standard_normal(columns)
    return np.asarray(rows_of * 0.05).astype(TensorSpec("w", dtype, ()).numpy_dtype)


def spec_of(array: Array, dtype: str) -> TensorSpec:
    return TensorSpec("w", dtype, array.shape)


def context_of(array: Array, dtype: str, level: str = "max") -> Context:
    return float_context(lambda: [(spec_of(array, dtype), array)], level, "auto")


class Packed:
    """A tensor as level max writes it, and what a reader needs."""

    def __init__(self, array: Array, dtype: str, context: Context | None = None) -> None:
        self.array, self.spec = array, spec_of(array, dtype)
        context = context or context_of(array, dtype)
        self.encoded = make_layout("dense/1").encode(self.spec, Dense(array), context)
        self.blocks = [job() for job in self.encoded.blocks]
        self.context = Context(list(context.codecs), context.table_sets)

    @property
    def n_bytes(self) -> int:
        return len(self.encoded.head) + sum(len(block.payload) for block in self.blocks)

    def decode(self, blocks: list[EncodedBlock] | None = None, head: bytes | None = None) -> Array:
        layout, encoded = make_layout("dense/1"), self.encoded
        head = encoded.head if head is None else head
        decoder = layout.decoder(self.spec, None, memoryview(head), encoded.head_crc, self.context)
        out = np.zeros(matrix_shape(self.spec), self.spec.numpy_dtype)
        remaining = iter(self.blocks if blocks is None else blocks)
        for row in range(0, len(out) if out.size else 0, encoded.block_rows or 1):
            for column in range(0, out.shape[1], encoded.block_columns or 1):
                block = next(remaining)
                target = out[row : row + encoded.block_rows, column : column + encoded.block_columns]
                decoder.decode(memoryview(block.payload), block.crc, row, column, target)
        return out

    def check(self) -> Packed:
        assert self.decode().tobytes() == self.array.tobytes()
        return self


def coder_of(block: EncodedBlock) -> int:
    """The number of the float coder of a 16-bit block in form 2."""
    assert block.payload[0] == 2
    return block.payload[2]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    "shape",
    [(), (1,), (7,), (1, 5), (2, 1), (33, 7), (300, 48), (64, 64), (0, 5), (5, 0), (3, 4, 5), (40, 3, 3, 8)],
)
def test_weights_of_any_shape_return(dtype: str, shape: tuple[int, ...]) -> None:
    weights = np.random.default_rng(1).standard_normal(shape) * 0.1
    Packed(np.asarray(weights).astype(TensorSpec("w", dtype, ()).numpy_dtype), dtype).check()


@given(st.sampled_from(FLOATS), st.integers(1, 70), st.integers(1, 70), st.integers(0, 99))
def test_any_bit_patterns_return(dtype: str, rows: int, columns: int, seed: int) -> None:
    spec = TensorSpec("w", dtype, (rows, columns))
    data = np.random.default_rng(seed).bytes(spec.n_bytes)
    Packed(np.frombuffer(data, spec.numpy_dtype).reshape(rows, columns), dtype).check()


@pytest.mark.parametrize("dtype", FLOATS)
def test_weights_with_nan_infinity_zeros_and_subnormals_return(dtype: str) -> None:
    array = skewed(dtype, 80, 33)
    words = array.view(f"<u{array.dtype.itemsize}")
    top = 1 << 8 * array.dtype.itemsize - 1
    infinity = int(np.array(np.inf, array.dtype).view(words.dtype))
    for row, pattern in enumerate((0, 1, infinity - 1, infinity, infinity + 1, top - 1)):
        words[3 * row, row], words[3 * row + 1, :] = pattern | top, pattern
    words[:, 5] = 0
    Packed(array, dtype).check()


@pytest.mark.parametrize("word", [0, 0x8000, 0x3F80, 0x7F80, 0x7FC0, 0xFFFF, 1])
def test_tensors_of_one_value_return(word: int) -> None:
    array = np.full((300, 5), word, np.uint16).view(TensorSpec("w", "BF16", ()).numpy_dtype)
    Packed(array, "BF16").check()
    array.reshape(-1).view(np.uint16)[7] ^= 5
    Packed(array, "BF16").check()


@pytest.mark.parametrize("dtype", FLOATS)
def test_blocks_and_column_tiles_use_their_part_of_the_model(
    dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("dense", "float_tables"):
        monkeypatch.setattr(f"tersor.layouts.{module}.DENSE_BLOCK_ELEMENTS", 1024)
    assert len(Packed(embedding(dtype, 300, 48), dtype).check().blocks) > 9
    tiled = Packed(skewed(dtype, 40, 2100), dtype).check()
    assert tiled.encoded.block_columns < 2100
    assert tiled.encoded.head


@pytest.mark.parametrize("dtype", FLOATS)
def test_max_is_smaller_than_balanced_where_columns_differ(dtype: str) -> None:
    array = skewed(dtype, 400, 128)
    sizes = [
        Packed(array, dtype, context_of(array, dtype, level)).check().n_bytes for level in ("balanced", "max")
    ]
    assert sizes[1] < 0.97 * sizes[0]


def test_skewed_columns_have_signs_and_an_embedding_two_profiles() -> None:
    context = context_of(skewed("BF16", 400, 32), "BF16")
    model = context.float_models["w"]
    assert {8, 9} <= set(model.column_shape.tolist())
    model = context_of(embedding("BF16", 600, 64), "BF16").float_models["w"]
    assert model.profiles == 2
    assert (model.row_profile == np.repeat([1, 0], 300)).mean() > 0.97


def test_words_of_float32_are_the_upper_halves_without_a_copy() -> None:
    array = skewed("F32", 10, 7)
    words = word_matrix("F32", array)
    np.testing.assert_array_equal(words, array.view(np.uint32) >> 16)
    assert np.shares_memory(words, array)


def test_models_of_float32_and_of_its_upper_halves_agree() -> None:
    array = skewed("F32", 100, 40)
    strided = word_matrix("F32", array)
    of_strided, of_copy = (
        _core.fit_float_model(words, 0) for words in (strided, np.ascontiguousarray(strided))
    )
    for name in ("row_class", "row_profile", "column_scale", "column_shape"):
        np.testing.assert_array_equal(getattr(of_strided, name), getattr(of_copy, name))


def test_alike_columns_need_no_head() -> None:
    array = np.random.default_rng(0).standard_normal((20, 40)).astype(np.float16)
    packed = Packed(array, "F16").check()
    assert packed.encoded.head == b""
    assert coder_of(packed.blocks[0]) == 2


def test_rows_too_short_for_a_class_each_are_coded_as_balanced_does() -> None:
    array = (np.random.default_rng(3).standard_normal((400, 3)) * 0.1).astype(np.float16)
    packed = Packed(array, "F16").check()
    assert packed.n_bytes <= Packed(array, "F16", context_of(array, "F16", "balanced")).n_bytes


def test_head_round_trips() -> None:
    context = context_of(embedding("BF16", 600, 64), "BF16")
    side = find_tables(context.table_sets, "side")
    assert side is not None
    model = context.float_models["w"]
    head, crc = encode_head(model, side)
    columns = decode_head(memoryview(head), crc, 64, side, "here")
    np.testing.assert_array_equal(columns.scale.reshape(-1), model.column_scale)
    np.testing.assert_array_equal(columns.shape.reshape(-1), model.column_shape)
    tile = columns.tile(32, 16)
    np.testing.assert_array_equal(tile.scale, columns.scale[:, 32:48])
    assert not flat_columns(5).shape.any()


def flips(data: bytes) -> list[bytes]:
    return [
        data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :]
        for bit in range(8 * len(data))
    ]


def survives(packed: Packed, **damage: Any) -> bool:
    """Whether what is damaged reads as the original. Fails if it reads as anything else."""
    try:
        found = packed.decode(**damage)
    except (CorruptError, NewerFormatError):
        return False
    assert found.tobytes() == packed.array.tobytes()
    return True


@pytest.mark.parametrize("dtype", FLOATS)
def test_every_flipped_bit_of_head_and_block_is_found(dtype: str) -> None:
    packed = Packed(skewed(dtype, 40, 9), dtype).check()
    assert packed.encoded.head
    (block,) = packed.blocks
    assert not any(survives(packed, head=head) for head in flips(packed.encoded.head))
    for payload in flips(block.payload):
        survives(packed, blocks=[EncodedBlock(payload, block.crc)])


@pytest.mark.parametrize("dtype", FLOATS)
def test_every_truncation_and_extra_byte_is_corrupt(dtype: str) -> None:
    packed = Packed(skewed(dtype, 40, 9), dtype)
    (block,), head = packed.blocks, packed.encoded.head
    for payload in [block.payload[:n] for n in range(len(block.payload))] + [block.payload + b"\0"]:
        with pytest.raises(CorruptError, match="tensor 'w', block at row 0, column 0"):
            packed.decode(blocks=[EncodedBlock(payload, block.crc)])
    for damaged in [head[:n] for n in range(1, len(head))] + [head + b"\0"]:
        with pytest.raises(CorruptError, match="tensor 'w', head"):
            packed.decode(head=damaged)


def test_a_missing_head_is_found() -> None:
    packed = Packed(skewed("BF16", 400, 32), "BF16")
    with pytest.raises(CorruptError, match="tensor 'w', block at row 0"):
        packed.decode(head=b"")


def test_a_head_with_three_profiles_is_corrupt() -> None:
    packed = Packed(skewed("BF16", 40, 9), "BF16")
    with pytest.raises(CorruptError, match="3 column profiles; needs 1 or 2"):
        packed.decode(head=b"\3" + packed.encoded.head[1:])


@pytest.mark.parametrize("kind", ["float12max", "side"])
def test_blocks_without_their_tables_are_corrupt(kind: str) -> None:
    packed = Packed(skewed("BF16", 40, 9), "BF16")
    packed.context = Context(
        packed.context.codecs, [tables for tables in packed.context.table_sets if tables.kind != kind]
    )
    with pytest.raises(CorruptError, match="tables"):
        packed.decode()


def test_coder_max_in_a_block_of_bytes_is_refused_or_harmless() -> None:
    packed = Packed(skewed("BF16", 40, 9), "BF16")
    (block,) = packed.blocks
    spec = TensorSpec("w", "U8", (719,))
    decoder = make_layout("dense/1").decoder(spec, None, memoryview(b""), 0, packed.context)
    with pytest.raises(CorruptError, match="block of bytes"):
        decoder.decode(memoryview(block.payload), block.crc, 0, 0, np.empty((1, 719), np.uint8))


@pytest.mark.parametrize(
    ("scale", "shape", "message"),
    [
        (1 << 15, 0, "column scale"),
        (0, 10, "column shape"),
        (0, -1, "column shape"),
        (-(1 << 15) - 1, 0, "column scale"),
    ],
)
def test_the_core_refuses_columns_outside_the_format(scale: int, shape: int, message: str) -> None:
    context = context_of(skewed("BF16", 40, 9), "BF16")
    tables, side = (find_tables(context.table_sets, kind) for kind in ("float12max", "side"))
    assert tables is not None
    assert side is not None
    columns = Columns(np.full((1, 4), scale, np.int32), np.full((1, 4), shape, np.int32))
    with pytest.raises(ValueError, match=message):
        decode_words(np.zeros(9, np.uint8), 0, columns, tables, side, np.empty((2, 4), np.uint16))


def small_checkpoint(root: Path) -> Path:
    root.mkdir()
    tensors = {"skewed": skewed("F32", 40, 9), "half": skewed("F16", 33, 20), "bias": np.ones(7, np.float32)}
    save_file(tensors, root / "model.safetensors")
    return root


def test_a_checkpoint_round_trips_with_the_same_bytes_whatever_the_threads(tmp_path: Path) -> None:
    source = small_checkpoint(tmp_path / "source")
    for threads in (1, 3):
        pack(source, tmp_path / f"packed{threads}", level="max", threads=threads)
    one, three = (tmp_path / f"packed{threads}" / "model.tersor.safetensors" for threads in (1, 3))
    assert one.read_bytes() == three.read_bytes()
    unpack(tmp_path / "packed1", tmp_path / "back")
    assert (tmp_path / "back" / "model.safetensors").read_bytes() == (
        source / "model.safetensors"
    ).read_bytes()


def test_no_damaged_byte_of_a_small_archive_passes(tmp_path: Path) -> None:
    pack(small_checkpoint(tmp_path / "source"), tmp_path / "packed", level="max")
    data = (tmp_path / "packed" / "model.tersor.safetensors").read_bytes()
    chance = np.random.default_rng(5)
    for place in chance.choice(len(data), min(len(data), 1500), replace=False).tolist():
        damaged = bytearray(data)
        damaged[place] ^= 1 << int(chance.integers(8))
        with pytest.raises((CorruptError, NewerFormatError)):
            contents(bytes(damaged))
    for length in chance.choice(len(data), 500, replace=False).tolist():
        with pytest.raises(CorruptError):
            contents(data[:length])
