"""A short calibration text: the built-in one has 16,384 tokens, which takes most of a test's time."""

from __future__ import annotations

from pathlib import Path

import pytest

from tersor.corpus import calibration_sentences


@pytest.fixture(scope="session")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("\n".join(calibration_sentences()[:40]), encoding="utf-8")
    return path
