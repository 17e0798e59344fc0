"""Text files, read whole and checked."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from tersor.errors import UsageError


def read_text(path: str | PathLike[str]) -> str:
    """The text of a UTF-8 file, without a byte order mark; every line ends with "\\n", also if it was CR LF or CR.

    Raises: UsageError if there is no such file, it is not UTF-8, or holds nothing but white space.
    """
    file = Path(path)
    if not file.is_file():
        raise UsageError(f"data {file}: no such file; needed: a UTF-8 text file")
    raw = file.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = raw.count(b"\n", 0, exc.start) + 1
        raise UsageError(
            f"{file}, line {line}: not UTF-8 text (byte {exc.start} of the file); convert the file to UTF-8"
        ) from exc
    if not text.strip():
        raise UsageError(f"{file}: the file is empty; needed: data to work on")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_lines(path: str | PathLike[str]) -> list[str]:
    """The lines of a UTF-8 file without their ends; other line separators of Unicode are text.

    Raises: as `read_text`.
    """
    return read_text(path).split("\n")
