"""Which file of a data folder is for training, for development and for the final test."""

from __future__ import annotations

import re
from os import PathLike
from pathlib import Path

from tersor.errors import UsageError

SPLITS = ("train", "dev", "test")
_NAMES = {
    "train": "train",
    "training": "train",
    "dev": "dev",
    "devel": "dev",
    "development": "dev",
    "valid": "dev",
    "validation": "dev",
    "val": "dev",
    "testa": "dev",  # CoNLL-2003: eng.testa is for development, eng.testb for the test
    "test": "test",
    "testb": "test",
}
# "wnut17train.conll", "eng.testa", "train-00000-of-00001.jsonl": words of letters.
_WORD = re.compile(r"[a-z]+")
_NO_DATA = frozenset(
    {".md", ".py", ".rst", ".html", ".pdf", ".zip", ".gz", ".tgz", ".yaml", ".yml", ".sh", ".arrow"}
)
_MAX_FILES = 10_000


def find_splits(path: str | PathLike[str]) -> dict[str, Path]:
    """The splits of a data folder by the usual names, of "train", "dev" and "test" those that are there.

    Knows eng.train / eng.testa / eng.testb, train, dev, valid, validation, test with any suffix and prefix, and the
    folders that `DatasetDict.save_to_disk` writes. A folder of one saved `Dataset`, or a file, has no splits: {}.
    Raises: UsageError if there is no such path, or two files claim one split.
    """
    folder = Path(path)
    if not folder.exists():
        raise UsageError(f"data {folder}: no such file or folder; check the path given to --data")
    if not folder.is_dir() or is_saved_dataset(folder):
        return {}
    entries = sorted(folder.iterdir())[:_MAX_FILES]
    saved = [entry for entry in entries if is_saved_dataset(entry)]
    found: dict[str, Path] = {}
    for entry in saved or [entry for entry in entries if _may_be_data(entry)]:
        split = _split_of(entry.name)
        if split is None:
            continue
        if split in found:
            raise UsageError(
                f"data {folder}: {found[split].name} and {entry.name} both look like the {split} split; "
                "give the file itself, or a folder with one of them"
            )
        found[split] = entry
    return {split: found[split] for split in SPLITS if split in found}


def data_file(path: str | PathLike[str], split: str | None) -> Path:
    """The file (or saved data set) of one split; a path that has no splits is itself.

    split: "train", "dev" or "test"; None: the only one there is.
    Raises: UsageError if it is not there.
    """
    place = Path(path)
    if split is not None and split not in SPLITS:
        raise UsageError(f"data {place}: unknown split {split!r}; needed: {', '.join(SPLITS)}")
    splits = find_splits(place)
    if not splits:
        if place.is_dir() and not is_saved_dataset(place):
            raise UsageError(
                f"data {place}: no file here is named like a split (eng.train, train.conll, dev.jsonl, test.tsv, ...); "
                "give the file itself, or rename it"
            )
        return place
    if split is None:
        if len(splits) > 1:
            raise UsageError(
                f"data {place}: has {', '.join(splits)}; say which one is meant, or give its file"
            )
        return next(iter(splits.values()))
    if split not in splits:
        raise UsageError(
            f"data {place}: no {split} split here, only {', '.join(splits)}; give the file itself"
        )
    return splits[split]


def is_saved_dataset(path: Path) -> bool:
    """Whether `Dataset.save_to_disk` wrote this folder."""
    return (path / "state.json").is_file() and (path / "dataset_info.json").is_file()


def _split_of(name: str) -> str | None:
    """The split that a file name speaks of; None if it speaks of none."""
    words = _WORD.findall(name.lower())
    for word in words:
        if word in _NAMES:
            return _NAMES[word]
    return None


def _may_be_data(path: Path) -> bool:
    hidden = path.name.startswith((".", "README", "readme", "LICENSE"))
    return path.is_file() and not hidden and path.suffix.lower() not in _NO_DATA
