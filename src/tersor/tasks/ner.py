"""Named entities: sentences of words with IOB2 tags, from CoNLL files, JSONL, or folders of `datasets`."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from tersor.errors import UsageError
from tersor.registry import did_you_mean
from tersor.tasks.conll import RawSentence, read_conll
from tersor.tasks.datasets_folder import read_dataset_ner
from tersor.tasks.jsonl import SUFFIXES, read_jsonl
from tersor.tasks.schemes import Scheme, detect_scheme, is_tag, labels_of, require_valid, to_iob2
from tersor.tasks.splits import data_file


@dataclass(frozen=True, slots=True)
class Sentence:
    """words and their IOB2 tags, as many, at least one; lines: where in the file each word is."""

    words: tuple[str, ...]
    tags: tuple[str, ...]
    lines: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class NerData:
    """Sentences of one file.

    labels: "O", then B- and I- of every type in alphabetical order. scheme: what the file was written in.
    unit: what a place in the file is counted in, "line" or "row".
    """

    path: Path
    sentences: tuple[Sentence, ...]
    labels: tuple[str, ...]
    scheme: Scheme
    unit: str = "line"

    @property
    def name(self) -> str:
        return str(self.path)

    def where(self, sentence: int, word: int = 0) -> str:
        """Where a word is, for messages: "eng.testb, line 17"."""
        return f"{self.path}, {self.unit} {self.sentences[sentence].lines[word]}"

    def require_labels(self, labels: Collection[str], whose: str) -> None:
        """Raise UsageError, naming file and line, at the first tag that is none of `labels`.

        whose: who has these labels, for the message: "the model bert/".
        """
        for number, sentence in enumerate(self.sentences):
            for position, tag in enumerate(sentence.tags):
                if tag not in labels:
                    raise UsageError(
                        f"{self.where(number, position)}: tag {tag!r} is no label of {whose}"
                        f"{did_you_mean(tag, labels).rstrip('.')}; it has {_shown(labels)}"
                    )


def read_ner(path: str | PathLike[str], split: str | None = None) -> NerData:
    """The sentences of a file, of one split of a folder, or of a folder that `datasets` saved, in IOB2.

    CoNLL columns (word first, tag last; IOB1, IOB2, BIOES or BILOU, detected from the whole file), JSONL
    (`{"tokens": [...], "tags": [...]}` a line), `Dataset.save_to_disk` (tokens, ner_tags).
    split: "train", "dev" or "test" of a folder; ignored for a file. No network is asked.
    Raises: UsageError, naming file and line, at the first mistake; MissingExtraError.
    """
    file = data_file(path, split)
    raw = _read_raw(file)
    unit = "row" if file.is_dir() else "line"
    places = [[f"{file}, {unit} {line}" for line in sentence.lines] for sentence in raw]
    _require_tags(raw, places)
    tags = [sentence.tags for sentence in raw]
    scheme = detect_scheme(tags)
    require_valid(tags, scheme, places)
    converted = [to_iob2(sentence_tags, scheme) for sentence_tags in tags]
    sentences = tuple(
        Sentence(tuple(sentence.words), tuple(sentence_tags), tuple(sentence.lines))
        for sentence, sentence_tags in zip(raw, converted, strict=True)
    )
    return NerData(file, sentences, labels_of(converted), scheme, unit)


def _read_raw(file: Path) -> list[RawSentence]:
    if file.is_dir():
        return read_dataset_ner(file)
    return read_jsonl(file) if file.suffix.lower() in SUFFIXES else read_conll(file)


def _require_tags(raw: list[RawSentence], places: list[list[str]]) -> None:
    for sentence, sentence_places in zip(raw, places, strict=True):
        for tag, place in zip(sentence.tags, sentence_places, strict=True):
            if not is_tag(tag):
                raise UsageError(
                    f"{place}: unknown tag {tag!r}; needed: O, or B-, I-, E- or S- and a type, such as B-PER"
                )


def _shown(labels: Collection[str]) -> str:
    names = sorted(labels)
    return ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
