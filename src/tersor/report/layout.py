"""The sections of a page, in order."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tersor.report.blocks import Block, Chart, Gallery, Note, Section
from tersor.report.detail import Detail
from tersor.report.evaluations import Evaluation, merge_evaluations
from tersor.report.model import model_section
from tersor.report.overview import overview
from tersor.report.quality import quality
from tersor.report.subject import Original, Subject


def default_title(subjects: Sequence[Subject]) -> str:
    """The names of up to three archives."""
    names = [subject.label for subject in subjects]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def evaluations_of(
    subjects: Sequence[Subject], original: Original | None, files: Sequence[Mapping[str, Any]]
) -> list[Evaluation]:
    """Everything measured of the models: in their histories, by their recipes' steps, in files given."""
    labels = {subject.path: subject.label for subject in subjects}
    if original is not None:
        labels[original.path] = original.label
    entries: list[tuple[Mapping[str, Any], str | None]] = [
        (entry, subject.path) for subject in subjects for entry in subject.entries("evaluate")
    ]
    return merge_evaluations([*entries, *((value, None) for value in files)], labels)


def sections(
    subjects: Sequence[Subject], original: Original | None, evaluations: Sequence[Evaluation], detail: Detail
) -> list[Section]:
    """Sizes, quality, then each model. detail: of each."""
    sizes = {subject.path: subject.n_bytes for subject in subjects}
    source = original.path if original is not None else "MODEL"
    paths = " ".join(shlex.quote(path) for path in [source, *sizes])
    example = f"tersor evaluate {paths} --task embedding --record"
    return [
        overview(subjects, original, evaluations),
        quality(evaluations, sizes, example),
        *(model_section(subject, number, original, detail) for number, subject in enumerate(subjects, 1)),
    ]


def missing(sections: Sequence[Section]) -> list[str]:
    """What the page says it lacks."""
    return [
        f"{section.title}: {block.text}"
        for section in sections
        for block in section.blocks
        if isinstance(block, Note) and block.is_missing
    ]


def charts_of(blocks: Sequence[Block]) -> Iterator[Chart]:
    """The charts among blocks, those of galleries too, in order."""
    for block in blocks:
        if isinstance(block, Chart):
            yield block
        elif isinstance(block, Gallery):
            yield from block.charts


def n_charts(sections: Sequence[Section]) -> int:
    return sum(1 for section in sections for _ in charts_of(section.blocks))
