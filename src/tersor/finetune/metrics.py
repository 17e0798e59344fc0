"""How predictions are judged while training: entity F1, accuracy. `tersor evaluate` has the full tables."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tersor.errors import MissingExtraError
from tersor.finetune.features import Feature


def measure_ner(labels: Sequence[str], rows: np.ndarray, features: Sequence[Feature]) -> dict[str, float]:
    """Strict entity-level precision, recall and F1 (micro), and the accuracy of tags.

    rows: (n, labels), scores of the words that the features label, in their order.
    """
    predicted = [labels[number] for number in rows.argmax(axis=1)]
    expected = [labels[label] for feature in features for label in feature.labels if label >= 0]
    sentences = _by_sentence(features)
    wanted = [[expected[place] for place in places] for places in sentences]
    found = [[predicted[place] for place in places] for places in sentences]
    precision, recall, f1 = entity_scores(wanted, found)
    correct = sum(a == b for a, b in zip(expected, predicted, strict=True))
    return {"precision": precision, "recall": recall, "f1": f1, "accuracy": correct / max(1, len(expected))}


def entity_scores(
    expected: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]
) -> tuple[float, float, float]:
    """Precision, recall and F1 of entities: type and both ends must be right (seqeval, strict, IOB2)."""
    try:
        from seqeval.metrics.v1 import precision_recall_fscore_support
        from seqeval.scheme import IOB2
    except ImportError as exc:
        raise MissingExtraError(
            f"measuring entities needs seqeval ({exc}); run: pip install 'tersor[eval]'"
        ) from exc
    precision, recall, f1, _ = precision_recall_fscore_support(
        [list(tags) for tags in expected],
        [list(tags) for tags in predicted],
        average="micro",
        mode="strict",
        scheme=IOB2,
        zero_division=0,
    )
    return float(precision), float(recall), float(f1)


def measure_classification(
    labels: Sequence[str], rows: np.ndarray, features: Sequence[Feature]
) -> dict[str, float]:
    """Accuracy, and the mean of the classes' F1."""
    predicted = rows.argmax(axis=1)
    expected = np.array([feature.labels[0] for feature in features])
    scores = []
    for number in range(len(labels)):
        hits = int(((predicted == number) & (expected == number)).sum())
        total = int((predicted == number).sum() + (expected == number).sum())
        if total:
            scores.append(2 * hits / total)
    return {
        "accuracy": float((predicted == expected).mean()),
        "macro_f1": float(np.mean(scores)) if scores else 0.0,
    }


def _by_sentence(features: Sequence[Feature]) -> list[list[int]]:
    """For each sentence the places of its words' predictions, in the order of the words."""
    found: dict[int, list[tuple[int, int]]] = {}
    place = 0
    for feature in features:
        for word in feature.words:
            found.setdefault(feature.sentence, []).append((word, place))
            place += 1
    return [[place for _, place in sorted(words)] for words in found.values()]
