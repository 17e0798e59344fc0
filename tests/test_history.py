"""The history beside an archive's weights: what is written comes back, what is no history is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tersor.errors import CorruptError
from tersor.history import FILE_NAME, MAX_BYTES, entry, read_history, write_history


def test_history_comes_back_in_order(tmp_path: Path) -> None:
    entries = [entry("compress", recipe={"size": "0.1x"}), entry("evaluate", task="kl", models=[])]
    write_history(tmp_path, entries)
    assert read_history(tmp_path) == entries


def test_folder_without_history_has_an_empty_one(tmp_path: Path) -> None:
    assert read_history(tmp_path) == []


def test_nan_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_history(tmp_path, [entry("step", facts={"loss": float("nan")})])


@pytest.mark.parametrize(
    "text", [b"", b"{}", b"[1]", b'[{"kind": "dance"}]', b"[" * 100_000, b'[{"kind": []}]', b"\xff\xfe"]
)
def test_what_is_no_history_is_refused(tmp_path: Path, text: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(text)
    with pytest.raises(CorruptError, match="delete the file"):
        read_history(tmp_path)


def test_huge_history_is_refused_unread(tmp_path: Path) -> None:
    with open(tmp_path / FILE_NAME, "wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(CorruptError, match="at most"):
        read_history(tmp_path)
