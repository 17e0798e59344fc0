"""Text classification: accuracy, macro F1, Matthews correlation, and every class by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tersor.errors import UsageError
from tersor.evaluate.forward import sequence_logits
from tersor.evaluate.one_by_one import Measurer, ModelTask, Subject
from tersor.evaluate.options import Options
from tersor.evaluate.precision_recall import f1, macro, present_in, table_of, text_of
from tersor.evaluate.samples import Items, column_mean
from tersor.evaluate.task import Figure, Measurement, Path, Share, counted_figure
from tersor.evaluate.tokens import WINDOW, position_limit
from tersor.registry import did_you_mean
from tersor.tasks import ClassificationData, read_classification
from tersor.tasks.splits import find_splits


def read(data: Path | None, options: Options) -> ClassificationData:
    """The texts of --data; of a folder with splits the test split, if none is named."""
    if data is None:
        raise UsageError(
            "task classification needs labelled texts; give --data FILE (CSV, TSV or JSONL) or a folder of them"
        )
    split = options.split
    if split is None and "test" in find_splits(data):
        split = "test"
    return read_classification(
        data, split, text_column=options.text_column, label_column=options.label_column
    )


def prepare(subject: Subject) -> Measurer:
    """Measures accuracy and macro F1 in percent and the Matthews correlation coefficient (-100..100).

    Texts are cut to what the model takes, 512 tokens at most; details say how many were. n is the number of texts.
    Raises: UsageError, naming file and line, if the data has a label that the model does not know.
    """
    data: ClassificationData = subject.data
    names = [str(name) for name in class_names(subject.original)]
    n_texts = subject.options.limit or len(data.texts)
    true = true_classes(data, names, subject.original.config.name_or_path)[:n_texts]
    length = min(WINDOW, position_limit(subject.original))
    sequences, types, n_cut = _encode(subject.tokenizer, data, n_texts, length)

    def measure(model: Any, share: Share) -> Measurement:
        if model.config.num_labels != len(names):
            raise UsageError(
                f"{model.config.name_or_path}: {model.config.num_labels} classes, the original has {len(names)}"
            )
        logits = sequence_logits(model, sequences, subject.tokenizer.pad_token_id or 0, share, types)
        items = Items(count(true, logits.argmax(1).numpy(), len(names)), subject.seed)
        return _measurement(items, names, n_cut)

    return measure


def class_names(model: Any) -> list[str]:
    return [str(model.config.id2label[i]) for i in range(model.config.num_labels)]


def true_classes(data: ClassificationData, names: Sequence[str], model: str) -> np.ndarray:
    """The model's class of each text's label, int64 (n,).

    A label is matched by name, whatever its case; a number is the class of that number, unless it is a name.
    Raises: UsageError naming file and line.
    """
    known = {name.casefold(): number for number, name in enumerate(names)}
    found = []
    for position, label in enumerate(data.labels):
        number = known.get(label.casefold())
        if number is None and label.isdecimal() and int(label) < len(names):
            number = int(label)
        if number is None:
            raise UsageError(
                f"{data.where(position)}: label {label!r} is no class of the model {model}"
                f"{did_you_mean(label, names).rstrip('.')}; it has {', '.join(names[:12])}"
                f"{', ...' if len(names) > 12 else ''}"
            )
        found.append(number)
    return np.array(found, dtype=np.int64)


def _encode(
    tokenizer: Any, data: ClassificationData, n_texts: int, length: int
) -> tuple[list[list[int]], list[list[int]] | None, int]:
    """Token ids and token types (None: the tokenizer has none) of the first texts, and how many were cut."""
    texts = list(data.texts[:n_texts])
    seconds = None if data.seconds is None else list(data.seconds[:n_texts])
    encoding = tokenizer(texts, seconds, truncation=True, max_length=length)
    whole = tokenizer(texts, seconds, verbose=False)["input_ids"]
    n_cut = sum(len(ids) > length for ids in whole)
    types = encoding.get("token_type_ids")
    return encoding["input_ids"], types, n_cut


def count(true: np.ndarray, predicted: np.ndarray, n_classes: int) -> np.ndarray:
    """One row for each text: 1 if it is right; right, predicted and true of every class; 1.

    true, predicted: int64 (n,). Returns float64 (n, 3 * n_classes + 2).
    """
    n = len(true)
    rows = np.zeros((n, 3 * n_classes + 2))
    right = true == predicted
    texts = np.arange(n)
    rows[:, 0] = right
    rows[texts[right], 1 + 3 * true[right]] = 1
    rows[texts, 2 + 3 * predicted] = 1
    rows[texts, 3 + 3 * true] = 1
    rows[:, -1] = 1
    return rows


def classes_of(sums: np.ndarray) -> np.ndarray:
    """Right, predicted and true of every class: (..., classes, 3)."""
    return sums[..., 1:-1].reshape(*sums.shape[:-1], -1, 3)


def matthews(sums: np.ndarray) -> np.ndarray:
    """100 x Matthews correlation coefficient of any number of classes (Gorodkin 2004); 0 if it is not defined."""
    counts, right, n = classes_of(sums), sums[..., 0], sums[..., -1]
    predicted, true = counts[..., 1], counts[..., 2]
    covariance = right * n - (predicted * true).sum(-1)
    spread = np.sqrt((n**2 - (predicted**2).sum(-1)) * (n**2 - (true**2).sum(-1)))
    return np.asarray(100 * covariance / np.where(spread > 0, spread, 1))


def _measurement(items: Items, names: list[str], n_cut: int) -> Measurement:
    rows = table_of(names, items, classes_of, what="class", with_micro=False)
    details = {"classes": rows, "n_texts": len(items.rows), "n_cut": n_cut}
    note = f"\n\n{n_cut:,} texts were longer than the model takes and cut" if n_cut else ""
    return Measurement(_figures(items), text_of(rows, "class", "class") + note, details)


def _figures(items: Items) -> tuple[Figure, ...]:
    present = present_in(classes_of(items.sums))
    return (
        counted_figure("accuracy", "%", items, column_mean(0, 100), higher_is_better=True, test="mcnemar"),
        counted_figure(
            "macro_f1", "%", items, lambda sums: macro(f1, classes_of(sums), present), higher_is_better=True
        ),
        counted_figure("mcc", "%", items, matthews, higher_is_better=True),
    )


TASK = ModelTask(
    auto_class="AutoModelForSequenceClassification", needs_every_weight=True, reader=read, prepare=prepare
)
