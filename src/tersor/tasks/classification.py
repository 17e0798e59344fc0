"""Text classification: texts (or pairs of texts) and their labels, from CSV, TSV, JSONL, or folders of `datasets`."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from tersor.errors import UsageError
from tersor.tasks.datasets_folder import class_names, load_dataset
from tersor.tasks.jsonl import SUFFIXES, read_objects
from tersor.tasks.splits import data_file
from tersor.tasks.text import read_text

TEXT_COLUMNS = ("text", "sentence", "content", "review", "document", "utterance", "query", "title")
PAIR_COLUMNS = (
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("question", "sentence"),
    ("text_a", "text_b"),
)
LABEL_COLUMNS = ("label", "labels", "category", "class", "target", "intent", "sentiment", "label_text")
# A field of a CSV file longer than this is an unclosed quotation mark; csv's own limit is 128 KiB.
_MAX_FIELD = 1 << 24


@dataclass(frozen=True, slots=True)
class ClassificationData:
    """Texts of one file.

    seconds: the second text of each pair; None if the texts stand alone. labels: the name of each text's class.
    label_names: every class once, numbers in their order, else alphabetical (ClassLabel: in its own order).
    """

    path: Path
    texts: tuple[str, ...]
    seconds: tuple[str, ...] | None
    labels: tuple[str, ...]
    label_names: tuple[str, ...]
    lines: tuple[int, ...]
    unit: str = "line"

    @property
    def name(self) -> str:
        return str(self.path)

    def where(self, text: int) -> str:
        """Where a text is, for messages: "test.tsv, line 17"."""
        return f"{self.path}, {self.unit} {self.lines[text]}"


def read_classification(
    path: str | PathLike[str],
    split: str | None = None,
    *,
    text_column: str | Sequence[str] | None = None,
    label_column: str | None = None,
) -> ClassificationData:
    """The texts and labels of a file, of one split of a folder, or of a folder that `datasets` saved.

    CSV and TSV have a header line; JSONL an object a line. text_column: a name, or two for pairs; None: the first of
    text, sentence, content, ... that is there, or sentence1 and sentence2, premise and hypothesis, ...
    label_column: None: the first of label, labels, category, class, ...
    Raises: UsageError, naming file and line, at the first mistake; MissingExtraError.
    """
    file = data_file(path, split)
    known, unit = None, "line"
    if file.is_dir():
        dataset = load_dataset(file)
        rows: Iterator[tuple[int, Mapping[str, Any]]] = iter(enumerate(dataset, start=1))
        columns, unit = list(dataset.column_names), "row"
        label = _label_column(columns, label_column, file)
        known = class_names(dataset.features[label])
    elif file.suffix.lower() in SUFFIXES:
        objects = list(read_objects(file))
        columns = list(objects[0][1])
        rows, label = iter(objects), _label_column(columns, label_column, file)
    else:
        columns, rows = _read_table(file)
        label = _label_column(columns, label_column, file)
    texts = _text_columns(columns, text_column, label, file)
    return _collect(file, unit, rows, texts, label, known)


def _collect(
    file: Path,
    unit: str,
    rows: Iterator[tuple[int, Mapping[str, Any]]],
    columns: tuple[str, ...],
    label_column: str,
    known: list[str] | None,
) -> ClassificationData:
    texts: list[list[str]] = [[] for _ in columns]
    labels: list[str] = []
    lines: list[int] = []
    for number, row in rows:
        place = f"{file}, {unit} {number}"
        for column, values in zip(columns, texts, strict=True):
            values.append(_text(row, column, place))
        labels.append(_label(row, label_column, known, place))
        lines.append(number)
    if not labels:
        raise UsageError(f"{file}: no rows after the header; needed: texts with labels")
    names = tuple(known) if known else tuple(sorted(set(labels), key=_numbers_first))
    seconds = tuple(texts[1]) if len(columns) > 1 else None
    return ClassificationData(file, tuple(texts[0]), seconds, tuple(labels), names, tuple(lines), unit)


def _text(row: Mapping[str, Any], column: str, place: str) -> str:
    value = row.get(column)
    if not isinstance(value, str) or not value.strip():
        got = "is empty" if value in (None, "") or isinstance(value, str) else f"is a {type(value).__name__}"
        raise UsageError(f"{place}: column {column!r} {got}; needed: a text")
    return value


def _label(row: Mapping[str, Any], column: str, known: list[str] | None, place: str) -> str:
    value = row.get(column)
    if isinstance(value, bool) or not isinstance(value, (str, int)) or value == "":
        raise UsageError(f"{place}: column {column!r} holds {value!r}; needed: a label's name or number")
    if known is None or isinstance(value, str):
        return str(value).strip()
    if not 0 <= value < len(known):
        raise UsageError(f"{place}: label number {value}; the column has names for 0 to {len(known) - 1}")
    return known[value]


def _read_table(file: Path) -> tuple[list[str], Iterator[tuple[int, Mapping[str, Any]]]]:
    """Column names and rows of a CSV or TSV file with a header."""
    content = read_text(file)
    head = content.split("\n", 1)[0]
    # TSV has no quoting (GLUE's files hold single quotation marks); CSV has.
    by_tabs = "\t" in head
    csv.field_size_limit(_MAX_FIELD)
    reader = csv.reader(
        content.split("\n") if by_tabs else content.splitlines(keepends=True),
        delimiter="\t" if by_tabs else ",",
        quoting=csv.QUOTE_NONE if by_tabs else csv.QUOTE_MINIMAL,
        strict=not by_tabs,
    )
    columns = [name.strip() for name in next(reader)]
    return columns, _table_rows(reader, columns, file)


def _table_rows(reader: Any, columns: list[str], file: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    first = reader.line_num + 1
    try:
        for cells in reader:
            place, first = first, reader.line_num + 1
            if not cells or cells == [""]:
                continue
            if len(cells) != len(columns):
                raise UsageError(
                    f"{file}, line {place}: {len(cells)} columns, the header has {len(columns)}; mend the line "
                    "(a text with the separator in it needs quotation marks in CSV)"
                )
            yield place, dict(zip(columns, cells, strict=True))
    except csv.Error as exc:
        raise UsageError(f"{file}, line {first}: broken row ({exc}); close its quotation marks") from exc


def _label_column(columns: list[str], wanted: str | None, file: Path) -> str:
    if wanted is not None:
        return _present(columns, wanted, file)
    found = next((name for name in LABEL_COLUMNS if name in columns), None)
    if found is None:
        raise UsageError(
            f"{file}: no column of labels; looked for {', '.join(LABEL_COLUMNS)}, has {columns[:12]}; name it with "
            "--label-column"
        )
    return found


def _text_columns(
    columns: list[str], wanted: str | Sequence[str] | None, label: str, file: Path
) -> tuple[str, ...]:
    if wanted is not None:
        names = (wanted,) if isinstance(wanted, str) else tuple(wanted)
        if not 1 <= len(names) <= 2:
            raise UsageError(f"{file}: {len(names)} columns of text; needed: one, or two for pairs")
        return tuple(_present(columns, name, file) for name in names)
    for pair in PAIR_COLUMNS:
        if set(pair) <= set(columns):
            return pair
    found = next((name for name in TEXT_COLUMNS if name in columns and name != label), None)
    if found is None:
        raise UsageError(
            f"{file}: no column of text; looked for {', '.join(TEXT_COLUMNS)}, has {columns[:12]}; name it with "
            "--text-column"
        )
    return (found,)


def _present(columns: list[str], name: str, file: Path) -> str:
    if name not in columns:
        raise UsageError(f"{file}: no column {name!r}; has {columns[:12]}")
    return name


def _numbers_first(label: str) -> tuple[int, int, str]:
    number = int(label) if label.isdecimal() else -1
    return (0, number, label) if number >= 0 else (1, 0, label)
