from __future__ import annotations

import numpy as np
import pytest

from archives import every_dtype
from tersor.archive import memory
from tersor.archive.memory import new_arrays
from tersor.errors import UsageError
from tersor.types import TensorSpec


def test_arrays_are_those_of_the_specs_and_overlap_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_HUGE_PAGE", 4096)
    specs = [*every_dtype(), TensorSpec("large", "F32", (1000, 100)), TensorSpec("last", "U8", (5,))]
    arrays = new_arrays(specs, "here")
    for number, (spec, array) in enumerate(zip(specs, arrays, strict=True)):
        assert (array.shape, array.dtype) == (spec.numpy_shape, spec.numpy_dtype)
        assert array.flags.c_contiguous
        assert array.flags.writeable
        assert array.ctypes.data % array.itemsize == 0
        array.reshape(-1).view(np.uint8)[...] = number
    for number, array in enumerate(arrays):
        assert (array.reshape(-1).view(np.uint8) == number).all()


def test_memory_is_shared_in_pieces_that_begin_with_a_huge_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "ARENA_BYTES", 1 << 22)
    specs = [TensorSpec(str(number), "U8", (3 << 20,)) for number in range(3)]
    arrays = new_arrays(specs, "here")
    assert [array.ctypes.data % (1 << 21) for array in arrays] == [0, 0, 0]
    first = arrays[0].ctypes.data
    assert all(abs(array.ctypes.data - first) >= 3 << 20 for array in arrays[1:])


def test_too_large_tensors_are_refused_with_the_way_out() -> None:
    spec = TensorSpec("weight", "F32", (1 << 23, 1 << 23))
    with pytest.raises(
        UsageError, match=r"here: 1 tensors of 281474976710656 bytes do not fit into memory; read"
    ):
        new_arrays([spec], "here")
