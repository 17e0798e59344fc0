"""Reads a dense block in whatever form it was stored (docs/format.md 4.1).

cpp/src/dense_block.cpp does the same several times as fast for the forms and codecs that large models are made of. What
it leaves, rare forms and everything damaged, comes here: this is what says what is wrong.
"""

from __future__ import annotations

from functools import lru_cache

from tersor import _core
from tersor.errors import CorruptError, NewerFormatError
from tersor.layouts.base import Context
from tersor.layouts.float_max import Columns
from tersor.layouts.forms import DECODERS
from tersor.layouts.forms.parts import Bytes, Reader, Scope
from tersor.layouts.tables import (
    FLOAT_ROW_CLASSES,
    ROW_PROFILES,
    TRAILING_ZEROS,
    TableSet,
    compile_tables,
    find_tables,
)

_KINDS = ("float12", "float8", "float12max", "side")
_COMPILED_CODECS = {"constant": 1, "raw": 2, "huffman": 3, "rans": 4}  # others: 0


def decode_block(
    payload: memoryview, out: Bytes, context: Context, where: str, n_columns: int, columns: Columns | None
) -> None:
    """Fill out, the block's bytes, from its payload.

    n_columns: of the block; columns: their scales and shapes, None if the tensor has no head.
    Raises: CorruptError, NewerFormatError.
    """
    reader = Reader(payload, where)
    form = reader.u8()
    if form not in DECODERS:
        raise NewerFormatError(
            f"{where}: form {form} of a dense block; this tersor knows 0 to {max(DECODERS)}"
        )
    DECODERS[form](reader, out, Scope(context, where, n_columns, columns))
    reader.expect_end()


def compiled_tables(context: Context) -> _core.DenseTables:
    """Return what the blocks of a file share, as the compiled decoder takes it."""
    return _compile(tuple(find_tables(context.table_sets, kind) for kind in _KINDS), tuple(context.codecs))


@lru_cache(maxsize=64)
def _compile(sets: tuple[TableSet | None, ...], codecs: tuple[str, ...]) -> _core.DenseTables:
    balanced, fast, maximal, side = (_sound_tables(tables) for tables in sets)
    return _core.DenseTables(
        balanced,
        fast,
        maximal,
        side,
        codecs=[_COMPILED_CODECS.get(name, 0) for name in codecs],
        class_table=FLOAT_ROW_CLASSES,
        profile_table=ROW_PROFILES,
        zeros_table=TRAILING_ZEROS,
    )


def _sound_tables(tables: TableSet | None) -> _core.TableSet | None:
    """Return a compiled set; None of a damaged one, so that blocks that need it are left to `decode_block`."""
    try:
        return None if tables is None else compile_tables(tables)
    except CorruptError:
        return None
