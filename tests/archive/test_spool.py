"""A spool is appended whole, by the kernel or without it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tersor.archive.spool import append_file


@pytest.mark.parametrize("number", [None, errno.EXDEV, errno.ENOSYS])
def test_spool_is_appended_with_and_without_the_kernel(
    number: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> int:
        raise OSError(number, "not here")

    if number is not None:
        monkeypatch.setattr(os, "copy_file_range", refuse, raising=False)
    data = bytes(range(256)) * 5000
    with open(tmp_path / "spool", "w+b") as spool, open(tmp_path / "out", "xb") as out:
        spool.write(data)
        out.write(b"head")
        append_file(spool, out)
        out.write(b"tail")
    assert (tmp_path / "out").read_bytes() == b"head" + data + b"tail"


def test_other_errors_of_the_kernel_are_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> int:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "copy_file_range", fail, raising=False)
    with open(tmp_path / "spool", "w+b") as spool, open(tmp_path / "out", "xb") as out:
        spool.write(b"data")
        with pytest.raises(OSError, match="full"):
            append_file(spool, out)
