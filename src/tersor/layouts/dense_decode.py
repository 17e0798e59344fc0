"""Reads a dense block in whatever form it was stored (docs/format.md 4.1)."""

from __future__ import annotations

from tersor.errors import NewerFormatError
from tersor.layouts.base import Context
from tersor.layouts.float_max import Columns
from tersor.layouts.forms import DECODERS
from tersor.layouts.forms.parts import Bytes, Reader, Scope


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
