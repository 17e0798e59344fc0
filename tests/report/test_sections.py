"""What the charts and tables of a page hold: values by layer, boxes, bars, figures as text."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from report_samples import N_LAYERS, full_model, ner_entry, write_model
from tersor.report import figures
from tersor.report.blocks import Chart, Gallery, Table
from tersor.report.evaluations import MAX_EVALUATIONS, merge_evaluations
from tersor.report.overview import key_figures
from tersor.report.quality import quality
from tersor.report.storage import MAX_ROLES, N_CODES, bytes_chart, code_charts, errors_by_layer, layer_chart
from tersor.report.subject import Subject, read_original, read_subjects


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    return read_subjects([full_model(tmp_path / "small")], 12)[0]


def with_tensors(subject: Subject, names: list[str]) -> Subject:
    row = dict(subject.tensors[0])
    return replace(subject, facts={**subject.facts, "tensors": [{**row, "name": name} for name in names]})


def test_tree_map_shares_are_bytes_and_small_tensors_are_counted(subject: Subject) -> None:
    whole = bytes_chart(subject, 100)
    shares = [row[whole.fields.index("share")] for row in whole.rows]
    assert sum(shares) == pytest.approx(1)  # type: ignore[arg-type]
    less = bytes_chart(subject, 4)
    assert len(less.rows) == 4
    assert less.table is not None
    assert less.table.more.startswith("8 smaller tensors")


def test_ways_of_storing_beyond_seven_share_a_colour(subject: Subject) -> None:
    rows = [{**subject.tensors[0], "name": f"t{n}", "codec": f"c{n}", "n_bytes": 100 - n} for n in range(12)]
    chart = bytes_chart(replace(subject, facts={**subject.facts, "tensors": rows}), 100)
    hows = [row[chart.fields.index("how")] for row in chart.rows]
    assert len(set(hows)) == 8
    assert hows.count("other") == 5


def test_of_several_tensors_of_a_layer_the_middle_one_is_drawn(subject: Subject) -> None:
    names = [f"layers.{layer}.experts.{expert}.w1" for layer in range(2) for expert in range(3)]
    values = dict(zip(names, [1.0, 5.0, 2.0, 7.0, 7.0, 9.0], strict=True))
    chart = layer_chart(
        with_tensors(subject, names), values, title="t", axis="a", n_roles=8, is_logarithmic=False
    )
    assert chart is not None
    assert [(row[0], row[3]) for row in chart.rows] == [("0", 2.0), ("1", 7.0)]
    assert chart.table is not None
    assert chart.table.rows[0][1:] == [6, 1.0, 6.0, 9.0]


def test_kinds_that_have_no_line_are_in_the_table(subject: Subject) -> None:
    names = [f"layers.0.kind_{letter}.weight" for letter in map(str, range(60))]
    chart = layer_chart(
        with_tensors(subject, names),
        dict.fromkeys(names, 1.0),
        title="t",
        axis="a",
        n_roles=8,
        is_logarithmic=True,
    )
    assert chart is not None
    assert len({row[2] for row in chart.rows}) == 8
    assert "Smaller kinds (52)" in chart.caption
    assert chart.table is not None
    assert len(chart.table.rows) == MAX_ROLES
    assert chart.table.more.startswith("20 smaller kinds")


def test_errors_are_those_of_the_history(subject: Subject) -> None:
    chart = errors_by_layer(subject, 8)
    assert isinstance(chart, Chart)
    assert len(chart.rows) == 3 * N_LAYERS + 1
    assert chart.rows[0][:2] == ["outside", -1]


def test_bars_hold_all_but_the_rarest_codes(subject: Subject) -> None:
    gallery = code_charts(subject.histograms)
    assert isinstance(gallery, Gallery)
    for chart in gallery.charts:
        assert len(chart.rows) <= N_CODES
        rows: Any = np.array(chart.rows, np.float64)
        assert (rows[:, 1] * rows[:, 2]).sum() == pytest.approx(1, abs=0.01)
        assert (rows[:, 1] * rows[:, 3]).sum() == pytest.approx(1, abs=0.05)
    assert code_charts([]) is None


def test_quality_without_evaluations_says_how_to_get_one() -> None:
    section = quality([], {}, "tersor evaluate a b")
    assert [block.kind for block in section.blocks] == ["note"]
    assert section.blocks[0].command == "tersor evaluate a b"  # type: ignore[union-attr]


def test_quality_shows_charts_figures_and_details() -> None:
    found = merge_evaluations([(ner_entry("bert", "a", 9_000), "a")], {"a": "A"})
    section = quality(found, {}, "")
    kinds = [block.kind for block in section.blocks]
    assert kinds == ["heading", "gallery", "table", "chart", "chart"]
    table = section.blocks[2]
    assert isinstance(table, Table)
    texts = [
        [column.text(value) for column, value in zip(table.columns, row, strict=True)] for row in table.rows
    ]
    f1 = ["A", "f1 [%]", "86.4", "85.6 to 87.2", "−0.2", "−0.5 to 0.1", "0.18", "3,453", "higher"]
    assert texts[1] == f1
    assert texts[0][4:7] == ["–", "–", "–"]


def test_size_that_an_evaluation_does_not_tell_is_that_of_the_archive() -> None:
    entry = ner_entry("bert", "a", 9_000)
    del entry["models"][1]["n_bytes"]
    gallery = quality(merge_evaluations([(entry, "a")], {}), {"a": 777}, "").blocks[1]
    assert isinstance(gallery, Gallery)
    assert [row[1] for row in gallery.charts[0].rows] == [90_000, 777]


def test_the_latest_evaluations_are_kept() -> None:
    entries = [({**ner_entry("bert", "a", 9_000), "seed": seed}, "a") for seed in range(100)]
    found = merge_evaluations(entries, {})
    assert [evaluation.seed for evaluation in found] == list(range(100 - MAX_EVALUATIONS, 100))


def test_key_figures_of_a_lone_model(subject: Subject, tmp_path: Path) -> None:
    (tmp_path / "original").mkdir()
    (tmp_path / "original" / "model.safetensors").write_bytes(bytes(10 * subject.n_bytes))
    original = read_original(tmp_path / "original", [subject])
    found = merge_evaluations([(entry, subject.path) for entry in subject.entries("evaluate")], {})
    facts = key_figures(subject, original, found)
    assert [value for value, _ in facts.facts] == [  # type: ignore[union-attr]
        figures.bytes_text(subject.n_bytes),
        "10.0×",
        figures.figure_text(subject.bits_per_weight, 3),
        "86.4",
    ]


def test_models_of_one_name_are_told_apart(tmp_path: Path) -> None:
    paths = [write_model(tmp_path / "a" / "small"), write_model(tmp_path / "b" / "small")]
    assert [subject.label for subject in read_subjects(paths, 2)] == ["a/small", "b/small"]


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (figures.bytes_text(999), "999 B"),
        (figures.bytes_text(5_663_806), "5.7 MB"),
        (figures.bytes_text(9e18), "9000000.0 TB"),
        (figures.bytes_text(None), "–"),
        (figures.figure_text(86.571), "86.57"),
        (figures.figure_text(-0.000012), "−1.2e-05"),
        (figures.figure_text(123456.0), "123,456"),
        (figures.figure_text(0.0), "0"),
        (figures.percent_text(0.0625), "6.25 %"),
        (figures.times_text(16.04), "16.0×"),
        (figures.times_text(1234), "1,234×"),
        (figures.signed_text(0.1), "+0.1"),
        (figures.signed_text(-0.1), "−0.1"),
        (figures.signed_text(0), "0"),
        (figures.p_text(0.0001), "< 0.001"),
        (figures.p_text(1), "1"),
        (figures.integer_text(-1234), "−1,234"),
        (figures.shape_text([384, 1536]), "384 × 1536"),
        (figures.shape_text([]), "scalar"),
    ],
)
def test_figures_read_as_people_write_them(shown: str, expected: str) -> None:
    assert shown == expected
