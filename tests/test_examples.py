"""The examples run as a user would run them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from models import tiny_bert

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_open_archive_packs_reads_rows_and_gives_every_byte_back(tmp_path: Path) -> None:
    source = tiny_bert(tmp_path / "model")
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "open_archive.py"), str(source), str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "verified: True" in done.stdout
    for path in source.rglob("*"):
        if path.is_file():
            assert (tmp_path / "out" / "back" / path.relative_to(source)).read_bytes() == path.read_bytes()
