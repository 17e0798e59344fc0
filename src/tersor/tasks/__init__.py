"""Data of tasks: named entities, text classification, running text; read, checked and cut into what a model takes.

Light: numpy and the standard library; torch, transformers and `datasets` are never imported with it. Every mistake in
a file is one UsageError that names the file and the line (of a data set that `datasets` saved: the row).
"""

from __future__ import annotations

from tersor.tasks.align import Aligner as Aligner
from tersor.tasks.align import Window as Window
from tersor.tasks.align import align as align
from tersor.tasks.classification import ClassificationData as ClassificationData
from tersor.tasks.classification import read_classification as read_classification
from tersor.tasks.ner import NerData as NerData
from tersor.tasks.ner import Sentence as Sentence
from tersor.tasks.ner import read_ner as read_ner
from tersor.tasks.schemes import labels_of as labels_of
from tersor.tasks.splits import find_splits as find_splits
from tersor.tasks.text import read_text as read_text

__all__ = [
    "Aligner",
    "ClassificationData",
    "NerData",
    "Sentence",
    "Window",
    "align",
    "find_splits",
    "labels_of",
    "read_classification",
    "read_ner",
    "read_text",
]
