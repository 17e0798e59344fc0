"""numpy's files: arrays as numpy reads them, whatever cannot be a tensor as bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sample_files import npy_file, npz_file
from tersor.errors import CorruptError
from tersor.sources.npz import NpyFile, NpzFile


def test_stored_arrays_are_tensors(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    path.write_bytes(npz_file())
    file, theirs = NpzFile(path), np.load(path)
    np.testing.assert_array_equal(file.read("weight"), theirs["weight"])
    assert file.read("scalar") == 2.5
    assert file.read("scalar").shape == ()
    assert {spec.name: spec.dtype for spec in file.specs} == {
        "weight": "F32",
        "fortran": "I64",
        "big": "U8",
        "text": "U8",
        "scalar": "F16",
    }


def test_fortran_order_is_the_transposed_tensor(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    path.write_bytes(npz_file())
    np.testing.assert_array_equal(NpzFile(path).read("fortran").T, np.load(path)["fortran"])


def test_compressed_entries_are_no_tensors(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    path.write_bytes(npz_file(compressed=True))
    assert NpzFile(path).specs == ()


@pytest.mark.parametrize("dtype", ["?", "b", "B", "h", "H", "e", "i", "I", "f", "l", "L", "d", "F"])
def test_npy_of_every_dtype_is_read(dtype: str, tmp_path: Path) -> None:
    array = np.arange(6).reshape(2, 3).astype(dtype)
    (tmp_path / "x.npy").write_bytes(npy_file(array))
    file = NpyFile(tmp_path / "x.npy")
    assert file.specs[0].name == "x"
    np.testing.assert_array_equal(file.read("x"), array)


@pytest.mark.parametrize("version", [1, 2, 3])
def test_every_version_of_the_header_is_read(version: int, tmp_path: Path) -> None:
    with open(tmp_path / "x.npy", "wb") as file:
        np.lib.format.write_array(file, np.ones(3), version=(version, 0))
    np.testing.assert_array_equal(NpyFile(tmp_path / "x.npy").read("x"), np.ones(3))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x93NUMPY", "no header that is known"),
        (b"\x93NUMPY\x09\x00", "no header that is known"),
        (b"\x93NUMPY\x01\x00\xff\xff{", "header of 65535 bytes"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff{", "header of 4294967295 bytes"),
        (npy_file(np.ones(3))[:-1], "24 bytes, the file holds 23"),
        (npy_file(np.ones(3)) + b"x", "24 bytes, the file holds 25"),
        (npy_file(np.ones(3)).replace(b"(3,)", b"(9" + b"9" * 18 + b",)"), "no array can have its shape"),
    ],
)
def test_damaged_header_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(CorruptError, match=message):
        NpyFile(tmp_path / "x.npy")


def test_header_of_another_form_makes_the_array_bytes(tmp_path: Path) -> None:
    array = np.zeros(2, dtype=[("a", "<f4"), ("b", "<i2")])
    (tmp_path / "x.npy").write_bytes(npy_file(array))
    assert NpyFile(tmp_path / "x.npy").specs[0].shape == (12,)
