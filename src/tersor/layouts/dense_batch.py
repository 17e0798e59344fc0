"""Many dense tensors encoded together: the blocks of all of them share threads and one call of compiled code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from tersor.layouts.base import Context, Dense, Encoded
from tersor.layouts.dense import DenseLayout
from tersor.layouts.dense_encode import suits_float_blocks
from tersor.layouts.float_blocks import FloatBlocks, Memory
from tersor.types import TensorSpec


def encode_dense(
    tensors: Sequence[tuple[TensorSpec, npt.NDArray[Any]]],
    context: Context,
    threads: int = 1,
    memory: Memory | None = None,
) -> list[Encoded]:
    """Encode tensors as layout dense/1 does, to the same bytes; the jobs of float blocks have then been done already.

    threads: float blocks encoded at a time. memory: see FloatBlocks.encode.
    """
    batch = FloatBlocks(context.level)
    taken = [
        spec.name not in context.float_models
        and suits_float_blocks(spec.dtype, context)
        and batch.add(spec, array)
        for spec, array in tensors
    ]
    done = batch.encode(context, threads, memory)
    layout = DenseLayout()
    return [
        layout.encode(spec, Dense(array), context, next(done) if is_taken else None)
        for (spec, array), is_taken in zip(tensors, taken, strict=True)
    ]
