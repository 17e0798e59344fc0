"""The float-row payload inside forms 2 and 3: 16-bit words by any float coder (docs/format.md 5.5)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tersor import _core
from tersor.errors import CorruptError, NewerFormatError
from tersor.layouts import float_max
from tersor.layouts.base import Context
from tersor.layouts.float_max import PlacedModel
from tersor.layouts.float_words import WORD_FORMAT, row_length_of
from tersor.layouts.forms.parts import Bytes, Scope
from tersor.layouts.geometry import choose_lanes, choose_streams
from tersor.layouts.tables import FLOAT_ROW_CLASSES, compile_tables, find_tables

_HASTE = {"balanced": 4, "fast": 4, "max": 1}  # of streams, see choose_streams: 0.0001 to 0.0002 of the ratio
_CODER = {"balanced": 0, "fast": 1, "max": 0}  # at level max only tensors with a model use its own coder


def haste_of(level: str) -> int:
    """How much shorter than at level max a block's streams are, see choose_streams."""
    return _HASTE[level]


def coder_of(level: str) -> int:
    """The number of the float coder of blocks without a model."""
    return _CODER[level]


def has_float_tables(context: Context) -> bool:
    """Whether the file has tables for blocks without a model."""
    return find_tables(context.table_sets, float_kind(context.level)) is not None


def float_kind(level: str) -> str:
    """The kind of the tables of blocks without a model."""
    return "float8" if level == "fast" else "float12"


def encode_words(
    words: npt.NDArray[np.uint16], unit: int, context: Context, placed: PlacedModel | None
) -> bytes:
    """Return the float-row payload of a block of words (rows, columns)."""
    side = find_tables(context.table_sets, "side")
    tables = find_tables(context.table_sets, float_kind(context.level) if placed is None else "float12max")
    assert tables is not None and side is not None
    if placed is not None:
        n_streams = float_max.N_STREAMS
        return float_max.encode_words(
            words, unit, placed, n_streams, choose_lanes(words.size, n_streams), tables, side
        )
    n_streams = choose_streams(words.size, _HASTE[context.level])
    lanes = choose_lanes(words.size, n_streams)
    return _core.encode_float_rows(
        words.reshape(-1),
        WORD_FORMAT[unit],
        _CODER[context.level],
        row_length_of(*words.shape),
        n_streams,
        lanes,
        compile_tables(tables),
        compile_tables(side),
        FLOAT_ROW_CLASSES,
    )


def decode_words(payload: Bytes, unit: int, out: Bytes, scope: Scope) -> None:
    """Fill out, the bytes of 16-bit words. Raises: CorruptError, NewerFormatError."""
    if len(payload) and payload[0] > float_max.CODER:
        raise NewerFormatError(
            f"{scope.where}: float coder {payload[0]}; this tersor knows 0 (balanced), 1 (fast) and 2 (max)"
        )
    aligned = out if out.ctypes.data % 2 == 0 else np.empty_like(out)
    is_max = len(payload) and payload[0] == float_max.CODER
    try:
        (_decode_max if is_max else _decode_rows)(payload, unit, aligned.view(np.uint16), scope)
    except CorruptError as exc:
        raise CorruptError(f"{scope.where}: {exc}; the file is damaged") from exc
    if aligned is not out:
        out[...] = aligned


def _decode_rows(payload: Bytes, unit: int, words: npt.NDArray[np.uint16], scope: Scope) -> None:
    table_sets = scope.context.table_sets
    balanced, fast, side = (find_tables(table_sets, kind) for kind in ("float12", "float8", "side"))
    if side is None or side.n_tables == 0 or (balanced is None and fast is None):
        raise CorruptError("the index lacks the tables of float rows")
    _core.decode_float_rows(
        payload,
        WORD_FORMAT[unit],
        None if balanced is None else compile_tables(balanced),
        None if fast is None else compile_tables(fast),
        compile_tables(side),
        FLOAT_ROW_CLASSES,
        words,
    )


def _decode_max(payload: Bytes, unit: int, words: npt.NDArray[np.uint16], scope: Scope) -> None:
    tables, side = (find_tables(scope.context.table_sets, kind) for kind in ("float12max", "side"))
    if tables is None or side is None or scope.n_columns == 0 or words.size % scope.n_columns:
        raise CorruptError("coder max without its tables or in a block of bytes")
    columns = scope.columns or float_max.flat_columns(scope.n_columns)
    float_max.decode_words(payload, unit, columns, tables, side, words.reshape(-1, scope.n_columns))
