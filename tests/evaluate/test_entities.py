from __future__ import annotations

from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics import classification_report, f1_score
from seqeval.scheme import IOB2
from sklearn.metrics import precision_recall_fscore_support

from tersor.evaluate.entities import count, layout_of
from tersor.evaluate.precision_recall import f1, table_of, text_of
from tersor.evaluate.samples import Items

LABELS = ("O", "B-PER", "I-PER", "B-creative-work", "I-creative-work", "B-LOC", "I-LOC")
LAYOUT = layout_of(LABELS)


def valid(tags: list[str]) -> list[str]:
    """Mend what continues no entity: the true side of a file is always valid IOB2."""
    mended: list[str] = []
    for tag in tags:
        before = mended[-1] if mended else "O"
        mended.append("B" + tag[1:] if tag[0] == "I" and before[2:] != tag[2:] else tag)
    return mended


pair = st.lists(st.tuples(st.sampled_from(LABELS), st.sampled_from(LABELS)), min_size=1, max_size=8)
pairs = st.lists(pair, min_size=1, max_size=8)


def tables(sentences) -> tuple[list[list[str]], list[list[str]], Items]:
    true = [valid([a for a, _ in sentence]) for sentence in sentences]
    predicted = [[b for _, b in sentence] for sentence in sentences]
    return true, predicted, Items(count(true, predicted, LAYOUT), 0)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")
@given(pairs)
def test_entity_table_is_seqevals_strict_report(sentences) -> None:
    true, predicted, items = tables(sentences)
    rows = {row["type"]: row for row in table_of(LAYOUT.kinds, items, LAYOUT.of_kinds, what="type")}
    if set(rows) == {"micro avg", "macro avg", "weighted avg"}:
        return  # seqeval has no report without an entity
    expected = classification_report(
        true, predicted, mode="strict", scheme=IOB2, output_dict=True, zero_division=0
    )
    assert set(rows) == set(expected)
    for name, row in rows.items():
        for ours, theirs in (("precision", "precision"), ("recall", "recall"), ("f1", "f1-score")):
            assert row[ours] == pytest.approx(100 * expected[name][theirs]), (name, ours)
        assert row["support"] == expected[name]["support"]
        assert row["f1_low"] <= row["f1"] + 1e-9
        assert row["f1_high"] >= row["f1"] - 1e-9 or row["f1_high"] >= row["f1_low"]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")
@given(pairs)
def test_tag_table_is_scikit_learns_report_without_o(sentences) -> None:
    true, predicted, items = tables(sentences)
    rows = {row["tag"]: row for row in table_of(LAYOUT.tags, items, LAYOUT.of_tags, what="tag")}
    flat_true, flat = [*chain(*true)], [*chain(*predicted)]
    present = [tag for tag in LABELS[1:] if tag in flat_true + flat]
    assert list(rows) == [*present, "micro avg", "macro avg", "weighted avg"]
    if not present:
        return
    for name, row in rows.items():
        labels, average = ([name], None) if name in present else (present, name.removesuffix(" avg"))
        figures = precision_recall_fscore_support(
            flat_true, flat, labels=labels, average=average, zero_division=0
        )
        expected = [100 * float(np.squeeze(figure)) for figure in figures[:3]]
        assert [row["precision"], row["recall"], row["f1"]] == pytest.approx(expected)
        assert row["support"] == sum(tag in labels for tag in flat_true)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")
@given(pairs)
def test_lenient_f1_is_seqevals_default(sentences) -> None:
    true, predicted, items = tables(sentences)
    expected = 100 * f1_score(true, predicted, zero_division=0)
    assert float(f1(LAYOUT.of_lenient(items.sums))) == pytest.approx(expected)


def test_counts_are_per_sentence_and_add_up() -> None:
    true = [["B-PER", "I-PER", "O"], ["B-LOC"]]
    predicted = [["B-PER", "I-PER", "B-LOC"], ["I-LOC"]]
    rows = count(true, predicted, LAYOUT)
    kinds = LAYOUT.of_kinds(rows)
    assert kinds[0].tolist() == [[1, 1, 1], [0, 0, 0], [0, 1, 0]]
    assert kinds[1].tolist() == [[0, 0, 0], [0, 0, 0], [0, 0, 1]]  # a lone I- is no strict entity
    assert LAYOUT.of_lenient(rows)[1].tolist() == [1, 1, 1]
    assert rows[:, -2:].tolist() == [[2, 3], [0, 1]]
    assert np.array_equal(count(true + true, predicted + predicted, LAYOUT).sum(0), 2 * rows.sum(0))


def test_text_has_a_line_for_each_row() -> None:
    rows = table_of(
        LAYOUT.kinds, Items(count([["B-PER"]], [["B-PER"]], LAYOUT), 0), LAYOUT.of_kinds, what="type"
    )
    lines = text_of(rows, "type", "entity").splitlines()
    assert lines[0].split() == ["entity", "precision", "recall", "f1", "[95", "%", "interval]", "support"]
    assert lines[1].split() == ["PER", "100.00", "100.00", "100.00", "[100.00,", "100.00]", "1"]
    assert len(lines) == 5
