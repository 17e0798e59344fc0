"""Layout `alias/1`: a tied tensor, stored once under another name (docs/format.md 4.3)."""

from __future__ import annotations

from typing import Any

from tersor.errors import CorruptError, UsageError
from tersor.layouts.base import Alias, BlockDecoder, Context, Encoded, matrix_shape
from tersor.types import TensorSpec


class AliasLayout:
    """Stores the number of the tensor that this one equals; the archive resolves it."""

    def encode(self, spec: TensorSpec, value: Any, context: Context) -> Encoded:
        if not isinstance(value, Alias):
            raise UsageError(
                f"tensor {spec.name!r}: layout alias/1 encodes Alias, got {type(value).__name__}"
            )
        number = context.tensor_numbers[value.target]
        return Encoded("alias/1", number, b"", 0, 0, 0, iter(()))

    def matrix_shape(self, spec: TensorSpec, meta: Any) -> tuple[int, int]:
        return matrix_shape(spec)

    def decoder(
        self, spec: TensorSpec, meta: Any, head: memoryview, head_crc: int, context: Context
    ) -> BlockDecoder:
        raise CorruptError(f"tensor {spec.name!r}: an alias has no blocks of its own; the index is damaged")
