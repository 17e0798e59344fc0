"""The loss: by labels, by a teacher that remembers, by hidden states."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional

from tersor.finetune.features import IGNORED, Collator, Feature, Sequences, labelled_rows
from tersor.finetune.objective import Objective, Teacher, distance, hidden_distance
from tersor.finetune.settings import Settings, changed

FEATURES = [
    Feature((3, 4, 5), (IGNORED, 1, 2)),
    Feature((6, 7, 8, 9), (0, IGNORED, IGNORED, 1)),
    Feature((2,), (2,)),
]


class Scores(nn.Module):
    """A model whose scores depend on each token alone; counts how often it runs."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.table = nn.Embedding(16, 3)
        self.n_runs = 0

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, output_hidden_states: bool = False
    ) -> SimpleNamespace:
        self.n_runs += 1
        logits = self.table(input_ids)
        return SimpleNamespace(logits=logits, hidden_states=(logits, logits * 2))


def _batch(numbers: list[int]) -> dict[str, torch.Tensor]:
    data = Sequences(FEATURES)
    return Collator(0, "token")([data[number] for number in numbers])


def test_a_remembered_teacher_says_what_it_says() -> None:
    model = Scores(0)
    live, cached = Teacher(model, "token", hidden=False), Teacher(model, "token", hidden=False)
    cached.remember(FEATURES, 0, 3)
    batch = _batch([2, 0, 1])
    n_runs = model.n_runs
    found, _ = cached.outputs(batch)
    assert model.n_runs == n_runs
    torch.testing.assert_close(found, live.outputs(batch)[0])


def test_a_teacher_whose_scores_are_too_many_runs_beside_the_student() -> None:
    model = Scores(0)
    teacher = Teacher(model, "token", hidden=False)
    teacher.remember(FEATURES, 0, 1 << 40)
    teacher.outputs(_batch([0]))
    assert model.n_runs == 1


def test_a_teacher_has_no_gradients() -> None:
    teacher = Teacher(Scores(0), "token", hidden=False)
    assert not any(value.requires_grad for value in teacher.weights().values())
    assert not teacher.outputs(_batch([0]))[0].requires_grad


def test_the_loss_is_the_weighted_sum_of_its_parts() -> None:
    student, teacher = Scores(1), Teacher(Scores(0), "token", hidden=True)
    settings = changed(Settings(), {"labels": 0.5, "distill": 2.0, "hidden": 0.25, "temperature": 3.0})
    batch = _batch([0, 1, 2])
    output = student(batch["input_ids"], batch["attention_mask"])
    found = Objective("token", settings, teacher).loss(output.logits, output.hidden_states, batch)
    rows, targets = labelled_rows(output.logits, batch["labels"], "token")
    expected_rows, expected_hidden = teacher.outputs(batch)
    expected = (
        0.5 * functional.cross_entropy(rows, targets)
        + 2.0 * distance(rows, expected_rows, 3.0)
        + 0.25 * hidden_distance(output.hidden_states, expected_hidden, batch["attention_mask"])
    )
    torch.testing.assert_close(found, expected)


def test_without_a_teacher_the_loss_is_the_cross_entropy() -> None:
    student, batch = Scores(1), _batch([0, 1])
    output = student(batch["input_ids"], batch["attention_mask"])
    objective = Objective("token", Settings(labels=0.0), None)
    rows, targets = labelled_rows(output.logits, batch["labels"], "token")
    torch.testing.assert_close(
        objective.loss(output.logits, (), batch), functional.cross_entropy(rows, targets)
    )


def test_the_distance_of_equal_scores_is_zero_and_grows() -> None:
    rows = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    assert float(distance(rows, rows, 2.0)) == pytest.approx(0.0, abs=1e-6)
    near, far = (float(distance(rows + k * torch.eye(5, 4), rows, 2.0)) for k in (0.1, 1.0))
    assert 0 < near < far


def test_hidden_states_of_fewer_layers_meet_evenly_spaced_ones() -> None:
    states = [torch.full((1, 2, 3), float(k + 1)) for k in range(5)]
    mask = torch.ones(1, 2)
    assert float(hidden_distance([states[0], states[2], states[4]], states, mask)) == 0.0


def test_padding_has_no_hidden_distance() -> None:
    one, other = torch.ones(1, 2, 3), torch.ones(1, 2, 3)
    other[0, 1] = 9.0
    assert float(hidden_distance([one], [other], torch.tensor([[1, 0]]))) == 0.0


def test_a_language_models_labels_are_the_next_tokens() -> None:
    logits = torch.arange(24, dtype=torch.float32).reshape(1, 4, 6)
    labels = torch.tensor([[3, 5, 1, IGNORED]])
    rows, targets = labelled_rows(logits, labels, "language")
    assert targets.tolist() == [5, 1]
    assert torch.equal(rows, logits[0, :2])
