"""The section of one model: its bytes, layers, codes, sensitivities, training, and how to make it again."""

from __future__ import annotations

from collections.abc import Sequence

from tersor.report import charts
from tersor.report.blocks import Block, Chart, Column, Heading, Note, Section, Table, Value
from tersor.report.detail import Detail
from tersor.report.figures import bytes_text, figure_text
from tersor.report.reproduce import reproduction
from tersor.report.sensitivity import rate_curves, sensitivities
from tersor.report.storage import bits_by_layer, bytes_chart, code_charts, errors_by_layer, layer_chart
from tersor.report.subject import Original, Subject
from tersor.report.work import step_blocks, training_blocks


def model_section(subject: Subject, number: int, original: Original | None, detail: Detail) -> Section:
    """All that is known of one model. number: its place on the page, from 1."""
    section = Section(f"model-{number}", subject.label)
    bits = figure_text(subject.bits_per_weight, 3)
    section.blocks.append(
        Note(f"{len(subject.tensors):,} tensors in {bytes_text(subject.n_bytes)}, {bits} bits per parameter.")
    )
    section.blocks += [Note(note, is_missing=True) for note in subject.notes]
    section.blocks.append(bytes_chart(subject, detail.n_tensors))
    by_layer = bits_by_layer(subject, detail.n_roles)
    section.blocks += [by_layer] if by_layer is not None else []
    section.blocks.append(errors_by_layer(subject, detail.n_roles))
    section.blocks += _sensitivity(subject, detail.n_roles)
    section.blocks += step_blocks(subject)
    section.blocks += _codes(subject)
    section.blocks += training_blocks(subject, detail.n_points)
    section.blocks += [Heading("How to make it again"), *reproduction(subject, original)]
    return section


def _sensitivity(subject: Subject, n_roles: int) -> list[Block]:
    """Measured sensitivities by layer, and curves of rate and error, of the last compression that has them."""
    blocks: list[Block] = []
    entries = subject.entries("compress")
    values = next((found for entry in reversed(entries) if (found := sensitivities(entry))), {})
    chart = layer_chart(
        subject,
        values,
        title="Sensitivity by layer",
        axis="sensitivity",
        n_roles=n_roles,
        is_logarithmic=True,
    )
    if chart is not None:
        words = "Sensitivity: error of the model's output for each unit of error of the tensor, as measured."
        blocks += [chart, Note(words)]
    elif not subject.facts.get("lossless"):
        blocks.append(
            Note(
                "Its sensitivities are not recorded; tersor compress records them.",
                is_missing=True,
            )
        )
    curves = next((some for entry in reversed(entries) if (some := rate_curves(entry))), [])
    if curves:
        points: list[list[Value]] = [
            [bits, error, curve.name] for curve in curves[: charts.N_COLOURS] for bits, error in curve.points
        ]
        blocks.append(
            Chart(
                title="Sensitivity curves",
                description="Expected error of the output against bits per weight, tensor by tensor",
                spec=charts.rate_curves(),
                fields=("bits", "error", "name"),
                rows=points,
                caption="Each point is a setting that the planner weighed.",
                table=_curve_table(
                    "Sensitivity curves", ("bits per weight", "expected error", "tensor"), points
                ),
            )
        )
    return blocks


def _codes(subject: Subject) -> list[Block]:
    gallery = code_charts(subject.histograms)
    if gallery is None:
        return []
    words = (
        "Bars: how often each code occurs. Line: the generalised normal distribution fitted to them. What a code costs "
        "in the file can be less than its entropy, since the coder knows how wide each row and column is."
    )
    return [Heading("Codes"), Note(words), gallery]


def _curve_table(title: str, names: Sequence[str], points: Sequence[Sequence[Value]]) -> Table:
    columns = [Column(name, None if place == 2 else figure_text) for place, name in enumerate(names)]
    return Table(title, columns, points, is_folded=True)
