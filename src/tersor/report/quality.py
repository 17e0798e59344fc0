"""What was measured, model beside model: figures with differences and p values, and size against quality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tersor.report import charts
from tersor.report.blocks import Block, Chart, Column, Gallery, Heading, Note, Section, Table, Value
from tersor.report.details import detail_blocks
from tersor.report.evaluations import Evaluation, Figure, MeasuredModel
from tersor.report.figures import figure_text, integer_text, p_text, signed_text

Z_95 = 1.96
"""Standard errors to either side of a figure that make its 95 % interval."""
MAX_CHARTS = 2
"""Of metrics, for each evaluation."""
_TABLE = (
    Column("model"),
    Column("metric"),
    Column("value", figure_text),
    Column("95 % interval"),
    Column("difference", signed_text, "against the original"),
    Column("its 95 % interval", None, "paired: both models on the same samples"),
    Column("p", p_text, "chance of a difference at least so large if there were none"),
    Column("n", integer_text, "independent samples"),
    Column("better is"),
)


def quality(evaluations: Sequence[Evaluation], sizes: Mapping[str, int], example: str) -> Section:
    """All evaluations. sizes: path -> bytes of models whose evaluation does not tell. example: a command to get one."""
    section = Section("quality", "Quality")
    if not evaluations:
        section.blocks.append(
            Note("No evaluation is recorded of these models. To measure and record one:", True, example)
        )
    for evaluation in evaluations:
        section.blocks += _blocks(evaluation, sizes)
    return section


def _blocks(evaluation: Evaluation, sizes: Mapping[str, int]) -> list[Block]:
    rows = [
        _row(evaluation.labels[model.path], figure, _difference(evaluation.models[0], model, figure))
        for name in evaluation.metric_names
        for model in evaluation.models
        if (figure := model.figure(name)) is not None
    ]
    drawn = [_chart(evaluation, name, sizes) for name in evaluation.metric_names]
    kept = [chart for chart in drawn if chart is not None][:MAX_CHARTS]
    table = Table(f"Figures: {evaluation.title}", _TABLE, rows)
    blocks: list[Block] = [Heading(evaluation.title)]
    blocks += [Gallery(kept)] if kept else []
    return [*blocks, table, *detail_blocks(evaluation)]


def _difference(original: MeasuredModel, model: MeasuredModel, figure: Figure) -> float | None:
    """As the evaluation tells it; else the plain difference to the first model, None for that itself."""
    if figure.difference is not None or model is original:
        return figure.difference
    first = original.figure(figure.name)
    return None if first is None else figure.value - first.value


def _row(label: str, figure: Figure, difference: float | None) -> list[Value]:
    name = f"{figure.name} [{figure.unit}]" if figure.unit else figure.name
    better = "higher" if figure.higher_is_better else "lower"
    low, high = interval(figure)
    changes = figure.difference_low, figure.difference_high
    if None in changes and figure.difference is not None and figure.difference_stderr is not None:
        margin = Z_95 * figure.difference_stderr
        changes = figure.difference - margin, figure.difference + margin
    return [
        label,
        name,
        figure.value,
        _span(low, high),
        difference,
        _span(*changes),
        figure.p_value,
        figure.n,
        better,
    ]


def interval(figure: Figure) -> tuple[float, float]:
    """The 95 % interval as told; else by the standard error; else the figure alone."""
    if figure.low is not None and figure.high is not None:
        return figure.low, figure.high
    margin = Z_95 * (figure.stderr or 0.0)
    return figure.value - margin, figure.value + margin


def _span(low: float | None, high: float | None) -> str | None:
    if low is None or high is None or low == high:
        return None
    return f"{figure_text(low)} to {figure_text(high)}"


def _chart(evaluation: Evaluation, name: str, sizes: Mapping[str, int]) -> Chart | None:
    """One metric against size; None where fewer than two models of known, different size have it."""
    rows: list[list[Value]] = []
    first = None
    for place, model in enumerate(evaluation.models):
        figure = model.figure(name)
        size = model.n_bytes if model.n_bytes is not None else sizes.get(model.path)
        if figure is None or not size:
            continue
        first = first or figure
        kind = "original" if place == 0 else "compressed"
        label = evaluation.labels[model.path]
        rows.append([label, size, figure.value, *interval(figure), kind])
    if first is None or len({row[1] for row in rows}) < 2:
        return None
    # Neighbours by size are labelled on different sides.
    order = sorted(range(len(rows)), key=lambda place: float(rows[place][1] or 0))
    for number, place in enumerate(order):
        rows[place].append("down" if number % 2 else "up")
    better = "Higher" if first.higher_is_better else "Lower"
    unit = f" [{first.unit}]" if first.unit else ""
    return Chart(
        title=f"{name}{unit} against size",
        description=f"{name} of each model against the bytes of its weight files, with 95 % intervals",
        spec=charts.size_against_quality(),
        fields=("model", "size", "value", "low", "high", "kind", "side"),
        rows=rows,
        caption=f"{better} is better. Bars: 95 % intervals of each figure alone; differences are surer (table).",
    )
