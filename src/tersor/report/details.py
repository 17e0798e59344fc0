"""Longer tables of an evaluation, such as named entities by type and by tag: drawn whatever their columns are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tersor.report import charts
from tersor.report.blocks import Block, Chart, Column, Table, Value
from tersor.report.evaluations import Evaluation
from tersor.report.figures import figure_text, integer_text
from tersor.report.untrusted import count, number, text

MAX_ROWS = 200
MAX_COLUMNS = 12
MAX_OPEN_ROWS = 24
"""Longer tables are folded."""
# (value, low, high): the first whose three columns a table has is drawn.
_INTERVALS = (("f1", "f1_low", "f1_high"), ("f1", "low", "high"), ("f1", "ci_low", "ci_high"))
_NAMES = ("name", "label", "type", "tag", "entity")

Row = Mapping[str, Any]


def detail_blocks(evaluation: Evaluation) -> list[Block]:
    """For each kind of details one table of all models, and a chart where the rows have intervals."""
    kinds = list(dict.fromkeys(name for model in evaluation.models for name in model.details))
    blocks: list[Block] = []
    for kind in kinds[:MAX_COLUMNS]:
        by_model = [
            (evaluation.labels[model.path], rows)
            for model in evaluation.models
            if (rows := rows_of(model.details.get(kind)))
        ]
        if by_model:
            blocks.append(_block(text(kind).replace("_", " "), by_model))
    return blocks


def rows_of(value: object) -> list[Row]:
    """Rows of a list of objects, or of an object of objects, whose keys then name the rows; [] for anything else."""
    if isinstance(value, list):
        return [row for row in value if isinstance(row, Mapping)][:MAX_ROWS]
    if isinstance(value, Mapping):
        named: list[Row] = [{"name": name, **row} for name, row in value.items() if isinstance(row, Mapping)]
        return named[:MAX_ROWS]
    return []


def _block(title: str, by_model: Sequence[tuple[str, list[Row]]]) -> Block:
    rows = [row for _, found in by_model for row in found]
    name_key = next((key for key in _NAMES if all(key in row for row in rows)), None)
    keys = [key for key in dict.fromkeys(key for row in rows for key in row) if key != name_key][:MAX_COLUMNS]
    plain = [key for key in keys if any(_value(row.get(key)) is not None for row in rows)]
    columns = [
        *([Column(text(name_key))] if name_key else []),
        Column("model"),
        *(Column(text(key).replace("_", " "), _show([row.get(key) for row in rows])) for key in plain),
    ]
    cells = []
    for row, label in _interleaved(by_model, name_key):
        values = [_value(row.get(key)) for key in plain]
        cells.append([*([_value(row.get(name_key))] if name_key else []), label, *values])
    table = Table(title, columns, cells, is_folded=len(cells) > MAX_OPEN_ROWS)
    chart = _intervals(title, by_model, name_key, table)
    return table if chart is None else chart


def _show(values: Sequence[object]) -> Callable[[float | None], str]:
    """Counts as they are, other numbers to four digits."""
    return integer_text if all(value is None or count(value) is not None for value in values) else figure_text


def _interleaved(by_model: Sequence[tuple[str, list[Row]]], name_key: str | None) -> list[tuple[Row, str]]:
    """Rows of equal name one below the other, in the first model's order; without names model after model."""
    found = [(row, label) for label, rows in by_model for row in rows]
    if name_key is None:
        return found
    order = list(dict.fromkeys(str(row.get(name_key)) for row, _ in found))
    places = {name: place for place, name in enumerate(order)}
    return sorted(found, key=lambda item: places[str(item[0].get(name_key))])


def _intervals(
    title: str, by_model: Sequence[tuple[str, list[Row]]], name_key: str | None, table: Table
) -> Chart | None:
    rows = [row for _, found in by_model for row in found]
    keys = next((keys for keys in _INTERVALS if any(_are_numbers(row, keys) for row in rows)), None)
    if keys is None or name_key is None:
        return None
    drawn = [
        [text(row.get(name_key), "?"), label, *(number(row.get(key)) for key in keys)]
        for row, label in _interleaved(by_model, name_key)
        if _are_numbers(row, keys)
    ]
    return Chart(
        title=f"{keys[0].upper()} {title}",
        description=f"{keys[0].upper()} {title} of each model with 95 % intervals",
        spec=charts.intervals(
            keys[0].upper(), len({row[0] for row in drawn}), len({row[1] for row in drawn})
        ),
        fields=("name", "model", "value", "low", "high"),
        rows=drawn,
        table=table,
    )


def _are_numbers(row: Row, keys: Sequence[str]) -> bool:
    return all(number(row.get(key)) is not None for key in keys)


def _value(value: object) -> Value:
    found = number(value)
    return found if found is not None else (text(value) or None)
