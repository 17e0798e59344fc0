"""Settings: checked by name and range before anything is loaded."""

from __future__ import annotations

import pytest

from tersor.errors import UsageError
from tersor.finetune.plan import stage_settings
from tersor.finetune.settings import Settings, changed, parse_assignments


def test_given_settings_replace_the_defaults() -> None:
    settings = changed(Settings(), {"epochs": 3, "batch_size": 8, "bf16": False})
    assert (settings.epochs, settings.batch_size, settings.bf16) == (3.0, 8, False)
    assert settings.learning_rate == Settings().learning_rate


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"epoch": 3}, "no setting 'epoch' of training; did you mean 'epochs'"),
        ({"epochs": -1}, "epochs=-1: needs a number 0..10000"),
        ({"batch_size": 2.5}, "batch_size=2.5: needs a whole number 1..65536"),
        ({"learning_rate": "fast"}, "learning_rate='fast': needs a number"),
        ({"bf16": 1}, "bf16=1: needs true, false or none"),
        ({"stride": 64, "max_length": 64}, "stride=64 needs less than max_length=64"),
        ({"distill": 0, "labels": 0}, "nothing is left to train on"),
    ],
)
def test_a_setting_that_cannot_work_is_named(given: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message.replace(".", r"\.").replace("?", r"\?")):
        changed(Settings(), given)


def test_assignments_become_numbers_and_words() -> None:
    found = parse_assignments(("epochs=3", "learning_rate = 1e-4", "bf16=false", "tune.max_steps=7"))
    assert found == {"epochs": 3, "learning_rate": 1e-4, "bf16": False, "tune.max_steps": 7}


def test_an_assignment_without_a_value_says_how_it_is_written() -> None:
    with pytest.raises(UsageError, match=r"--set epochs: needs NAME=VALUE, such as epochs=3"):
        parse_assignments(("epochs",))


def test_a_name_without_a_stage_is_of_the_stage_that_starts_the_run() -> None:
    task, tune = stage_settings({"epochs": 2}, "small", with_teacher=True, from_archive=False)
    assert (task.epochs, tune.max_steps) == (2.0, 200)
    _, tune = stage_settings({"epochs": 2}, "small", with_teacher=True, from_archive=True)
    assert (tune.epochs, tune.max_steps) == (2.0, 0)


def test_without_a_teacher_the_labels_count() -> None:
    _, tune = stage_settings({}, "small", with_teacher=False, from_archive=True)
    assert (tune.labels, tune.distill) == (1.0, 0.0)


def test_an_unknown_stage_is_refused() -> None:
    with pytest.raises(UsageError, match=r"no stage 'first'; stages are task, tune"):
        stage_settings({"first.epochs": 2}, "small", with_teacher=True, from_archive=False)
