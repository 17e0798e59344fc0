"""The forms 3 to 6 of a dense block: each is chosen where it pays, survives, and refuses damage."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tersor import _core
from tersor.errors import CorruptError, NewerFormatError
from tersor.layouts import Context, Dense, make_layout
from tersor.layouts.dense_decode import decode_block
from tersor.layouts.float_tables import float_context
from tersor.layouts.forms import DECODERS, codes, differences, fields
from tersor.layouts.forms.parts import (
    FORM_CODES,
    FORM_DIFFERENCES,
    FORM_FIELDS,
    FORM_NARROW_ROWS,
    Reader,
    Scope,
)
from tersor.types import DTYPES, TensorSpec

Array = npt.NDArray[Any]
RNG = np.random.default_rng


def encode(array: Array, dtype: str, level: str = "balanced") -> tuple[bytes, Context]:
    """The payload of the only block of a matrix, checked to come back, and the context that reads it."""
    spec = TensorSpec("w", dtype, array.shape)
    context = float_context(lambda: [(spec, array)], level, "auto")
    encoded = make_layout("dense/1").encode(spec, Dense(array), context)
    (block,) = [job() for job in encoded.blocks]
    decoder = make_layout("dense/1").decoder(
        spec, None, memoryview(encoded.head), encoded.head_crc, Context(context.codecs, context.table_sets)
    )
    out = np.empty(array.shape, array.dtype)
    decoder.decode(memoryview(block.payload), block.crc, 0, 0, out)
    assert out.tobytes() == array.tobytes()
    assert len(block.payload) <= array.nbytes + 2
    return block.payload, context


def weights(rows: int, columns: int, seed: int = 0) -> Array:
    rng = RNG(seed)
    return (rng.standard_normal((rows, columns)) * np.exp2(rng.uniform(-9, -6, (rows, 1)))).astype(np.float32)


def half_exact(rows: int, columns: int) -> Array:
    """F32 weights whose even rows are exact in F16."""
    array = weights(rows, columns)
    array[::2] = array[::2].astype(np.float16)
    return array


def record_bytes(n: int) -> Array:
    """Records of a scale, a minimum about -8 times it, and 16 bytes of two halves each."""
    rng = RNG(1)
    scale = (0.01 * np.exp2(rng.uniform(-2, 2, n))).astype("<f2")
    least = (-scale.astype(np.float32) * rng.uniform(7, 8, n)).astype("<f2")
    halves = np.clip(rng.normal(8, 3, (n, 32)), 0, 15).astype(np.uint8)
    steps = (part.view(np.uint8).reshape(n, 2) for part in (scale, least))
    return np.concatenate((*steps, halves[:, :16] | halves[:, 16:] << 4), axis=1)


def scaled_codes(rows: int, columns: int, greatest: int) -> Array:
    """Codes of rows of different scale, the last row the widest."""
    scale = greatest / 4 * np.exp2(np.linspace(-2, 0, rows))[:, None]
    return np.clip(np.rint(RNG(2).standard_normal((rows, columns)) * scale), -greatest, greatest).astype(
        np.int64
    )


def float_codes() -> Array:
    """Rows of two scales, four octaves apart."""
    scale = np.where(np.arange(400) % 2, 1.0, 16.0)[:, None]
    return np.asarray(RNG(7).standard_normal((400, 1200)) * scale, np.float32)


def pack(halves: Array) -> Array:
    return ((halves[:, ::2] & 15) | (halves[:, 1::2] & 15) << 4).astype(np.uint8)


CASES: dict[str, tuple[int, str, Array]] = {
    "narrow": (FORM_NARROW_ROWS, "F32", half_exact(64, 96)),
    "fields": (FORM_FIELDS, "U8", record_bytes(4000)),
    "I8": (FORM_CODES, "I8", scaled_codes(256, 300, 127).astype(np.int8)),
    "U8": (FORM_CODES, "U8", (scaled_codes(256, 300, 127) + 128).astype(np.uint8)),
    "INT4": (FORM_CODES, "U8", pack(scaled_codes(256, 600, 7))),
    "UINT4": (FORM_CODES, "U8", pack(scaled_codes(256, 600, 7) + 8)),
    "E4M3": (FORM_CODES, "F8_E4M3", float_codes().astype(ml_dtypes.float8_e4m3fn)),
    "E5M2": (FORM_CODES, "F8_E5M2", float_codes().astype(ml_dtypes.float8_e5m2)),
    "I64": (FORM_DIFFERENCES, "I64", np.cumsum(RNG(3).integers(0, 99, (1, 900)), axis=1)),
    "I32": (FORM_DIFFERENCES, "I32", RNG(4).integers(-40, 40, (20, 50)).astype(np.int32)),
    "U16": (
        FORM_DIFFERENCES,
        "U16",
        (70 * np.arange(800) + RNG(5).integers(0, 9, 800)).astype(np.uint16)[None],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_form_is_chosen_where_it_pays(name: str) -> None:
    form, dtype, array = CASES[name]
    payload, _ = encode(array, dtype)
    assert payload[0] == form


def test_every_form_has_a_case_here_or_among_the_dense_tests() -> None:
    assert {form for form, _, _ in CASES.values()} == set(DECODERS) - {0, 1, 2}


@pytest.mark.parametrize("level", ["fast", "balanced", "max"])
def test_rows_exact_in_half_precision_save_most_of_their_low_bits(level: str) -> None:
    narrow, _ = encode(half_exact(256, 384), "F32", level)
    full, _ = encode(weights(256, 384), "F32", level)
    assert len(full) - len(narrow) > 0.9 * 128 * 384 * 13 / 8


def test_trailing_zeros_are_those_of_the_whole_row() -> None:
    low = np.array([[0, 0], [0x2000, 0x8000], [1, 0], [0x8000, 0]], np.uint32)
    zeros = np.empty(4, np.uint8)
    _core.trailing_zeros((low | 0x3F810000).view("<u2"), zeros)
    assert zeros.tolist() == [16, 13, 0, 15]


@pytest.mark.parametrize("unit", range(6))
def test_all_bytes_survive_as_codes_of_every_unit(unit: int) -> None:
    data = np.arange(256, dtype=np.uint8).reshape(4, 64)
    values = codes.codes_of(data, unit)
    assert values.min() >= (-8 if unit in (codes.INT4, codes.UINT4) else -128)
    assert values.max() <= (7 if unit in (codes.INT4, codes.UINT4) else 127)
    assert codes.bytes_of(values, unit).tobytes() == data.tobytes()


@pytest.mark.parametrize("order", [differences.VALUES, differences.DIFFERENCES])
@pytest.mark.parametrize("dtype", ["<i2", "<u2", "<i4", "<u4", "<i8", "<u8"])
@given(data=st.data())
def test_integers_of_any_width_survive_their_transformation(
    dtype: str, order: int, data: st.DataObject
) -> None:
    values = data.draw(hnp.arrays(dtype, st.integers(1, 20)))
    assert differences.restore(differences.transform(values, order), order).tobytes() == values.tobytes()


@settings(max_examples=60)
@given(
    st.sampled_from(["I8", "U8", "F8_E4M3", "F8_E5M2", "I16", "U32", "I64", "F32"]),
    st.tuples(st.integers(1, 60), st.integers(1, 300)),
    st.integers(1, 8),
    st.integers(0, 99),
)
def test_any_matrix_survives_and_never_grows(
    dtype: str, shape: tuple[int, int], bits: int, seed: int
) -> None:
    element = DTYPES[dtype][1]
    data = RNG(seed).integers(0, 1 << bits, (shape[0], shape[1] * element.itemsize)).astype(np.uint8)
    encode(np.ascontiguousarray(data).view(element), dtype)


def test_fields_learn_groups_and_the_minimum_that_follows_its_scale() -> None:
    groups, share = fields.learn_groups(record_bytes(4000).reshape(-1), 20)
    assert list(range(4, 20)) in [group.positions for group in groups]
    assert [(group.positions, group.reference) for group in groups if group.reference is not None] == [
        ([3], 1)
    ]
    assert share < 0.9


def test_long_records_end_in_few_groups() -> None:
    data = (RNG(6).integers(0, 1 + np.arange(250), (600, 250))).astype(np.uint8).reshape(-1)
    groups, _ = fields.learn_groups(data, 250)
    assert len(groups) <= fields.MAX_GROUPS
    assert sorted(position for group in groups for position in group.positions) == list(range(250))


@pytest.mark.parametrize("n_tail", [0, 7])
def test_fields_keep_the_bytes_behind_the_last_record(n_tail: int) -> None:
    data = np.concatenate([record_bytes(50).reshape(-1), np.arange(n_tail, dtype=np.uint8)])
    context = Context()
    payload = fields.encode(data, 20, fields.learn_groups(data, 20)[0], context)
    out = np.empty_like(data)
    decode_block(memoryview(payload), out, context, "here", 20, None)
    assert out.tobytes() == data.tobytes()


SMALL = {
    "narrow": ("F32", half_exact(8, 64)),
    "fields": ("U8", record_bytes(200)),
    "I8": ("I8", scaled_codes(64, 80, 20).astype(np.int8)),
    "I64": ("I64", np.cumsum(RNG(3).integers(0, 99, (1, 60)), axis=1)),
}


@pytest.mark.parametrize("name", SMALL)
def test_damage_is_an_error_or_harmless(name: str) -> None:
    dtype, array = SMALL[name]
    payload, context = encode(array, dtype)
    scope = Scope(context, "here", array.shape[1], None)
    out = np.empty(array.nbytes, np.uint8)
    step = max(len(payload) // 400, 1)
    for place in range(0, len(payload), step):
        damaged = bytearray(payload)
        damaged[place] ^= 1 << place % 8
        try:
            decode_block(memoryview(damaged), out, context, "here", array.shape[1], None)
        except (CorruptError, NewerFormatError):
            continue
    for length in range(0, len(payload), step):
        reader = Reader(memoryview(payload[:length]), "here")
        with pytest.raises(CorruptError, match="here"):
            DECODERS[reader.u8()](reader, out, scope)
    with pytest.raises(CorruptError, match="here"):
        decode_block(memoryview(payload + b"\0"), out, context, "here", array.shape[1], None)
