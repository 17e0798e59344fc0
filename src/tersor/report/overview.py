"""The first section of a page: how large each model is, and how large the original was."""

from __future__ import annotations

from collections.abc import Sequence

from tersor.report.blocks import Block, Column, Facts, Section, Table, Value
from tersor.report.evaluations import Evaluation, Figure
from tersor.report.figures import bytes_text, figure_text, integer_text, percent_text, signed_text, times_text
from tersor.report.subject import Original, Subject

_COLUMNS = (
    Column("model"),
    Column("weight files", integer_text, "bytes, everything in them included"),
    Column("of the original", percent_text),
    Column("times smaller", times_text),
    Column("bits per parameter", figure_text),
    Column("parameters", integer_text),
    Column("made by"),
)

_LEADING = ("f1", "accuracy")


def overview(
    subjects: Sequence[Subject], original: Original | None, evaluations: Sequence[Evaluation]
) -> Section:
    """The sizes of all models; for a lone one its key figures first."""
    section = Section("sizes", "Sizes")
    if len(subjects) == 1:
        section.blocks.append(key_figures(subjects[0], original, evaluations))
    rows: list[list[Value]] = []
    if original is not None:
        bits = 8 * original.n_bytes / original.n_params if original.n_params else None
        rows.append(
            [original.label, original.n_bytes, 1.0, 1.0, bits, original.n_params or None, "the original"]
        )
    for subject in subjects:
        n_original = original_bytes(subject, original)
        ratio = subject.n_bytes / n_original if n_original else None
        rows.append(
            [
                subject.label,
                subject.n_bytes,
                ratio,
                1 / ratio if ratio else None,
                subject.bits_per_weight,
                subject.facts["input"]["n_params"],
                subject.command,
            ]
        )
    section.blocks.append(Table("Sizes of the models", _COLUMNS, rows))
    return section


def key_figures(subject: Subject, original: Original | None, evaluations: Sequence[Evaluation]) -> Block:
    """Size, factor, bits, and the leading metric of each of the first two evaluations that know the model."""
    n_original = original_bytes(subject, original)
    facts = [(bytes_text(subject.n_bytes), f"weight files, of {bytes_text(n_original)}")]
    if n_original and subject.n_bytes:
        facts.append((times_text(n_original / subject.n_bytes), "smaller"))
    if subject.bits_per_weight is not None:
        facts.append((figure_text(subject.bits_per_weight, 3), "bits per parameter, everything included"))
    facts += [_measured(evaluation, figure) for evaluation, figure in _first_figures(subject, evaluations)][
        :2
    ]
    return Facts(facts)


def original_bytes(subject: Subject, original: Original | None) -> int:
    """Bytes of the original's weight files; without it those that the archive's tensors had."""
    return original.n_bytes if original is not None else int(subject.facts["input"]["n_bytes"])


def _first_figures(subject: Subject, evaluations: Sequence[Evaluation]) -> list[tuple[Evaluation, Figure]]:
    found = []
    for evaluation in evaluations:
        model = next((m for m in evaluation.models if m.path == subject.path), None)
        if model is not None:
            found.append((evaluation, _leading(model.figures)))
    return found


def _leading(figures: Sequence[Figure]) -> Figure:
    """The figure that a task is judged by: F1 or accuracy where there is one, else the first."""
    return next((figure for name in _LEADING for figure in figures if figure.name == name), figures[0])


def _measured(evaluation: Evaluation, figure: Figure) -> tuple[str, str]:
    words = f"{figure.name} ({evaluation.task})"
    if figure.difference is not None:
        words += f", {signed_text(figure.difference)} against the original"
    return figure_text(figure.value), words
