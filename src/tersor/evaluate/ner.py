"""Named entity recognition: strict entities of every type, every tag by itself, with intervals over sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tersor.errors import UsageError
from tersor.evaluate.entities import Layout, count, layout_of
from tersor.evaluate.forward import class_predictions
from tersor.evaluate.one_by_one import Measurer, ModelTask, Subject
from tersor.evaluate.options import Options
from tersor.evaluate.precision_recall import f1, macro, precision, present_in, recall, table_of, text_of
from tersor.evaluate.samples import Items
from tersor.evaluate.task import Figure, Measurement, Path, Share, counted_figure, no_share
from tersor.evaluate.tokens import WINDOW, position_limit
from tersor.tasks import Aligner, NerData, Window, read_ner
from tersor.tasks.splits import find_splits

# The end or the single word of an entity in BIOES and BILOU, as IOB2 writes it.
_TO_IOB2 = {"S": "B", "U": "B", "E": "I", "L": "I"}


def read(data: Path | None, options: Options) -> NerData:
    """The sentences of --data; of a folder with splits the test split, if none is named."""
    if data is None:
        raise UsageError(
            "task ner needs data with tags; give --data FILE (CoNLL columns or JSONL) or a folder of them"
        )
    split = options.split
    if split is None and "test" in find_splits(data):
        split = "test"
    return read_ner(data, split)


def prepare(subject: Subject) -> Measurer:
    """Measures precision, recall and F1 in percent: of strict entities (seqeval, IOB2), together and by type.

    Sentences longer than the model are cut into windows that overlap by half; every word is predicted once, from its
    first sub-word, in the window that shows most context. n is the number of sentences.
    Raises: UsageError, naming file and line, if the data has a tag that the model does not know.
    """
    data: NerData = subject.data
    n_sentences = subject.options.limit or len(data.sentences)
    sentences = data.sentences[:n_sentences]
    true = [sentence.tags for sentence in sentences]
    labels = iob2_labels(subject.original)
    data.require_labels(labels, f"the model {subject.original.config.name_or_path}")
    layout = layout_of(dict.fromkeys((*data.labels, *sorted(set(labels)))))
    aligner = Aligner(subject.tokenizer, min(WINDOW, position_limit(subject.original)))
    windows = [aligner(sentence.words) for sentence in sentences]
    lengths = [len(sentence.words) for sentence in sentences]

    def measure(model: Any, share: Share) -> Measurement:
        if sorted(iob2_labels(model)) != sorted(labels):
            raise UsageError(
                f"{model.config.name_or_path}: has other labels than the original; needed: the same task"
            )
        predicted = predict(model, windows, lengths, subject.tokenizer.pad_token_id or 0, share)
        return measurement(Items(count(true, predicted, layout), subject.seed), layout, data)

    return measure


def iob2_labels(model: Any) -> list[str]:
    """The label of each output of the model in IOB2 (a model of BIOES or BILOU labels has several outputs for one).

    Raises: UsageError if they are no tags.
    """
    names = [str(model.config.id2label[i]) for i in range(model.config.num_labels)]
    wrong = next((name for name in names if name != "O" and name[1:2] != "-"), None)
    if wrong is not None:
        raise UsageError(
            f"{model.config.name_or_path}: label {wrong!r} of its config.json is no tag; needed: O, B-..., I-...; "
            "is it a model for named entities?"
        )
    return [_TO_IOB2.get(name[0], name[0]) + name[1:] for name in names]


def predict(
    model: Any,
    windows: Sequence[Sequence[Window]],
    lengths: Sequence[int],
    pad_id: int,
    share: Share = no_share,
) -> list[list[str]]:
    """The IOB2 tag that the model gives to each word of each sentence.

    windows: those of each sentence (`Aligner`); lengths: its number of words. A word without any token is O.
    """
    labels = iob2_labels(model)
    flat = [(number, window) for number, of_sentence in enumerate(windows) for window in of_sentence]
    positions = [[position for position, _ in window.predicts] for _, window in flat]
    found = class_predictions(model, [window.input_ids for _, window in flat], positions, pad_id, share)
    tags = [["O"] * length for length in lengths]
    for (number, window), classes in zip(flat, found, strict=True):
        for (_, word), predicted in zip(window.predicts, classes, strict=True):
            tags[number][word] = labels[predicted]
    return tags


def measurement(items: Items, layout: Layout, data: NerData) -> Measurement:
    """The figures, the text and the plain values of counted sentences."""
    entities = table_of(layout.kinds, items, layout.of_kinds, what="type")
    tags = table_of(layout.tags, items, layout.of_tags, what="tag")
    sums = items.sums
    details = {
        "scheme": "IOB2, strict",
        "file_scheme": data.scheme,
        "n_sentences": len(items.rows),
        "n_words": int(sums[-1]),
        "entities": entities,
        "tags": tags,
        "word_accuracy": float(100 * sums[layout.right_words] / sums[-1]),
        "f1_conlleval": float(f1(layout.of_lenient(sums))),
    }
    report = "\n\n".join(
        [
            text_of(entities, "type", "entity"),
            text_of(tags, "tag", "tag (without O)"),
            f"words with the right tag: {details['word_accuracy']:.2f} %; F1 of conlleval, where I- may begin an "
            f"entity: {details['f1_conlleval']:.2f}",
        ]
    )
    return Measurement(_figures(items, layout, data), report, details)


def _figures(items: Items, layout: Layout, data: NerData) -> tuple[Figure, ...]:
    present = present_in(layout.of_kinds(items.sums))
    own = [kind for kind in layout.kinds if f"B-{kind}" in data.labels]
    columns = {kind: layout.kinds.index(kind) for kind in own}
    statistics = {
        "f1": lambda s: f1(layout.of_kinds(s).sum(-2)),
        "precision": lambda s: precision(layout.of_kinds(s).sum(-2)),
        "recall": lambda s: recall(layout.of_kinds(s).sum(-2)),
        "macro_f1": lambda s: macro(f1, layout.of_kinds(s), present),
        **{f"f1_{kind}": _f1_of(layout, columns[kind]) for kind in own},
    }
    return tuple(
        counted_figure(name, "%", items, statistic, higher_is_better=True)
        for name, statistic in statistics.items()
    )


def _f1_of(layout: Layout, column: int) -> Any:
    def statistic(sums: np.ndarray) -> np.ndarray:
        return f1(layout.of_kinds(sums)[..., column, :])

    return statistic


TASK = ModelTask(
    auto_class="AutoModelForTokenClassification", needs_every_weight=True, reader=read, prepare=prepare
)
