from __future__ import annotations

from pathlib import Path

import pytest

from tersor.corpus import calibration_sentences
from tersor.errors import UsageError
from tersor.evaluate.data import built_in_data, read_data


def test_built_in_text_is_not_what_calibration_sees() -> None:
    data = read_data(None)
    assert data == built_in_data()
    assert not set(data.sentences) & set(calibration_sentences())


def test_file_is_read_whole_and_split_into_sentences(tmp_path: Path) -> None:
    file = tmp_path / "text.txt"
    file.write_text("This is a sentence that has enough words – häh.\nshort\n", encoding="utf-8")
    data = read_data(file)
    assert data.text == file.read_text(encoding="utf-8")
    assert data.sentences == ("This is a sentence that has enough words – häh.",)


def test_sample_depends_on_the_seed_alone() -> None:
    data = built_in_data()
    assert data.sample(20, 3) == data.sample(20, 3)
    assert data.sample(20, 3) != data.sample(20, 4)
    assert sorted(data.sample(10**6, 0)) == sorted(data.sentences)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\xff\xfe\x00", "not UTF-8 text"), (b" \n ", "is empty"), (None, "no such file")],
)
def test_unusable_file_is_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    file = tmp_path / "text.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UsageError, match=message):
        read_data(file)
