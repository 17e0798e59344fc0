"""What a page takes from histories: evaluations, training, sensitivities, steps; and what it leaves out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from report_samples import compress_entry, finetune_entry, ner_entry, write_model
from tersor.errors import CorruptError
from tersor.history import FILE_NAME
from tersor.report.detail import Detail
from tersor.report.details import rows_of
from tersor.report.evaluations import merge_evaluations
from tersor.report.sensitivity import rate_curves, sensitivities
from tersor.report.subject import read_subjects
from tersor.report.training import settings_of, training_curves
from tersor.report.work import step_blocks, training_blocks

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = (
    *("task", "data", "seed", "models", "tensors", "sensitivity", "curves", "steps", "step", "facts"),
    *("log", "settings", "metrics", "stage"),
)
ENTRY = st.fixed_dictionaries(
    {"kind": st.sampled_from(["compress", "evaluate", "finetune", "step"])},
    optional=dict.fromkeys(FIELDS, JSON),
)


def test_evaluations_of_two_archives_become_one_table_with_one_original() -> None:
    entries = [(ner_entry("bert", "old/a", 9_000), "a"), (ner_entry("bert", "b", 5_000), "b")]
    (found,) = merge_evaluations(entries, {"a": "A", "b": "B"})
    assert [model.path for model in found.models] == ["bert", "a", "b"]
    assert list(found.labels.values()) == ["A", "B", "bert"]
    assert [figure.name for figure in found.models[1].figures] == ["f1", "precision"]
    figure = found.models[1].figure("f1")
    assert figure is not None
    assert (figure.difference, figure.p_value, figure.test) == (-0.2, 0.18, "randomisation")


def test_later_figures_of_a_model_replace_earlier_ones() -> None:
    first, second = ner_entry("bert", "a", 9_000), ner_entry("bert", "a", 9_000)
    second["models"][1]["metrics"][0]["value"] = 12.5
    (found,) = merge_evaluations([(first, "a"), (second, "a")], {})
    assert found.models[1].figures[0].value == 12.5


def test_other_data_seed_or_original_is_another_evaluation() -> None:
    entries: list[tuple[dict[str, Any], str | None]] = [(ner_entry("bert", "a", 1), "a")]
    entries += [({**entries[0][0], "data": "other"}, "a"), ({**entries[0][0], "seed": 1}, "a")]
    entries.append((ner_entry("roberta", "a", 1), "a"))
    assert len(merge_evaluations(entries, {})) == 4


def test_figures_that_are_no_numbers_are_left_out() -> None:
    value = ner_entry("bert", "a", 1)
    value["models"][1]["metrics"] = [
        {"name": "f1", "value": None},
        {"value": 1},
        "f1",
        {"name": "x", "value": 1},
    ]
    (found,) = merge_evaluations([(value, None)], {})
    assert [figure.name for figure in found.models[1].figures] == ["x"]


def test_curves_are_in_the_order_of_interest_without_those_of_the_machine() -> None:
    curves = training_curves(finetune_entry()["log"], 100)
    assert [curve.name for curve in curves] == ["loss", "eval_f1"]
    assert curves[0].points[0] == (10, 0.1)


def test_long_logs_are_thinned_and_keep_both_ends() -> None:
    (curve,) = training_curves([{"step": step, "loss": step} for step in range(5000)], 150)
    assert len(curve.points) == 150
    assert (curve.points[0], curve.points[-1]) == ((0, 0), (4999, 4999))


def test_settings_are_the_plain_ones() -> None:
    assert settings_of(finetune_entry()) == [("learning_rate", "0.001"), ("epochs", "2")]


def test_sensitivities_and_curves() -> None:
    entry = compress_entry()
    entry["sensitivity"]["zero"], entry["sensitivity"]["text"] = 0, "much"
    assert len(sensitivities(entry)) == 10
    names = [curve.name for curve in rate_curves(entry)]
    assert names == list(entry["curves"])
    assert rate_curves({"curves": {"a": {"bits": [3, 2], "error": [0.1, 0.2]}}})[0].points == (
        (2, 0.2),
        (3, 0.1),
    )
    assert (
        rate_curves({"curves": {"a": [[1, 0.5]], "b": [1, 2], "c": [[1, 2, 3]], "d": [[1, -1], [2, 0]]}})
        == []
    )


def test_rows_of_details_are_lists_of_objects_or_named_objects() -> None:
    assert rows_of([{"a": 1}, 2]) == [{"a": 1}]
    assert rows_of({"LOC": {"f1": 1}, "n": 2}) == [{"name": "LOC", "f1": 1}]
    assert rows_of("text") == []


def test_steps_and_fine_tuning_become_tables(tmp_path: Path) -> None:
    subject = read_subjects([write_model(tmp_path / "a", [compress_entry(), finetune_entry()])], 2)[0]
    heading, table = step_blocks(subject)
    assert heading.text == "Measured between steps"  # type: ignore[union-attr]
    assert table.rows[0][:3] == ["prune: sparsity=0.5", "kl", 0.02]  # type: ignore[union-attr]
    blocks = training_blocks(subject, 100)
    assert [block.kind for block in blocks] == ["heading", "gallery", "table", "table"]


@settings(max_examples=40)
@given(st.lists(ENTRY, max_size=4))
def test_any_history_makes_sections(entries: list[dict[str, Any]]) -> None:
    from tersor.report import layout
    from tersor.report.subject import Subject, errors_of

    facts = {
        "input": {"path": None, "n_bytes": 10, "n_params": 5},
        "output": {"path": "a", "n_bytes": 4, "bits_per_weight": 6.4},
        "tensors": [],
        "recipe": None,
        "version": "tersor 0",
        "provenance": {},
        "lossless": False,
    }
    history = json.loads(json.dumps(entries))
    subject = Subject("a", "a", facts, history, [], errors_of(history))
    found = layout.evaluations_of([subject], None, [])
    sections = layout.sections([subject], None, found, Detail(10, 10, 3))
    assert [section.name for section in sections] == ["sizes", "quality", "model-1"]


def test_broken_history_is_refused_with_the_way_out(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "a")
    (folder / FILE_NAME).write_text("{")
    with pytest.raises(CorruptError, match="delete the file"):
        read_subjects([folder], 2)
