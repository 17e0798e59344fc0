"""Work files: what numpy wrote is read back, in many threads at a time; what is no array is refused."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tersor.npy import read_npy, read_npz

_DTYPES = st.sampled_from(["<f4", "<f8", "<i2", "<i4", "<i8", "|u1", "<u2", "|b1", "<c8", ">f4"])
_ARRAYS = _DTYPES.flatmap(
    lambda dtype: arrays.arrays(
        np.dtype(dtype), arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
    )
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(array=_ARRAYS, mapped=st.booleans(), fortran=st.booleans())
def test_array_comes_back(tmp_path: Path, array: np.ndarray, mapped: bool, fortran: bool) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.asfortranarray(array) if fortran and array.ndim else array)
    found = read_npy(path, mapped=mapped)
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    assert found.tobytes() == array.tobytes()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(one=_ARRAYS, other=_ARRAYS)
def test_arrays_of_an_npz_come_back_by_name(tmp_path: Path, one: np.ndarray, other: np.ndarray) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, **{"one": one, "linear/a.b": other})
    found = read_npz(path)
    assert list(found) == ["one", "linear/a.b"]
    for array, expected in zip(found.values(), (one, other), strict=True):
        assert (array.dtype, array.shape, array.tobytes()) == (
            expected.dtype,
            expected.shape,
            expected.tobytes(),
        )
        assert array.flags.writeable


def test_many_threads_read_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.arange(12.0).reshape(3, 4))
    with ThreadPoolExecutor(8) as pool:
        sums = list(pool.map(lambda _: float(read_npy(path).sum()), range(2000)))
    assert set(sums) == {66.0}


@pytest.mark.parametrize("change", ["cut", "longer", "magic", "object", "header"])
def test_what_is_no_array_of_numbers_is_refused(tmp_path: Path, change: str) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.array([{}], object) if change == "object" else np.arange(4.0), allow_pickle=True)
    data = path.read_bytes()
    changed = {"cut": data[:-1], "longer": data + b"x", "magic": b"x" + data[1:], "object": data}
    path.write_bytes(changed.get(change, data.replace(b"shape", b"shade")))
    with pytest.raises(ValueError, match=r"a\.npy"):
        read_npy(path)
