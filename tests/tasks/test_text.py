from __future__ import annotations

from pathlib import Path

import pytest

from tersor.errors import UsageError
from tersor.tasks import read_text


def test_text_is_read_whole_with_plain_line_ends(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("\N{ZERO WIDTH NO-BREAK SPACE}a\r\nb\rc\u2028 ä\n".encode())
    assert read_text(tmp_path / "a.txt") == "a\nb\nc\u2028 ä\n"


@pytest.mark.parametrize(
    ("content", "message"), [(b"a\n\xff", "line 2: not UTF-8"), (b" \n", "is empty"), (None, "no such file")]
)
def test_unusable_text_is_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(UsageError, match=message):
        read_text(tmp_path / "a.txt")
