"""`max_latency`: what is removed follows times of kernels, which the tests replace by the number of weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import tersor
from models import tiny_bert, tiny_llama
from tersor.errors import BudgetError
from tersor.pipeline import faster
from tersor.planner import latency

SECONDS_PER_WEIGHT = 1e-8


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bert(tmp_path_factory.mktemp("bert") / "model")


@pytest.fixture(autouse=True)
def timed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Time goes with the weights of the blocks; returns how many models were timed at a time."""
    calls: list[int] = []

    def time_models(models: Sequence[Any], batch: object, repeats: int = 1) -> list[float]:
        calls.append(len(models))
        return [SECONDS_PER_WEIGHT * weights_of(model) for model in models]

    monkeypatch.setattr(latency, "time_models", time_models)
    monkeypatch.setattr(faster, "time_models", time_models)
    monkeypatch.setattr(
        latency, "_time_linear", lambda n_tokens, inputs, outputs: SECONDS_PER_WEIGHT * inputs * outputs
    )
    return calls


def weights_of(model: Any) -> int:
    return sum(p.numel() for name, p in model.named_parameters() if "layer" in name and p.ndim == 2)


def compress(source: Path, output: Path, text: Path, limit: str, **options: Any) -> dict[str, Any]:
    recipe = {"tune": "off", "drift": "off"}
    return tersor.compress(
        source, output, max_latency=limit, recipe=recipe, calibration=text, **{"size": "0.2x", **options}
    )


def test_heads_and_neurons_are_removed_until_the_limit_is_kept(
    bert: Path, text: Path, tmp_path: Path
) -> None:
    result = compress(bert, tmp_path / "out", text, "0.7x")
    found = result["latency"]
    assert found["seconds"] <= found["limit_seconds"] == pytest.approx(0.7 * found["original_seconds"])
    assert {next(iter(step)) for step in found["steps"]} <= {"heads", "neurons"}
    smaller = tersor.load(tmp_path / "out")
    assert weights_of(smaller) <= 0.7 * weights_of(tersor.load(bert))
    assert 0.995 * 0.2 <= result["output"]["ratio"] <= 0.2


def test_nothing_is_removed_from_what_is_fast_already(bert: Path, text: Path, tmp_path: Path) -> None:
    result = compress(bert, tmp_path / "out", text, "10s")
    assert result["latency"]["steps"] == []
    assert "the original is as fast already" in result["latency"]["notes"]
    assert "reduce" not in result


def test_layers_go_only_where_heads_and_neurons_do_not_suffice(text: Path, tmp_path: Path) -> None:
    model = tiny_llama(tmp_path / "model", layers=4)
    result = compress(model, tmp_path / "out", text, "0.2x", size="0.1x")
    assert "layers" in {next(iter(step)) for step in result["latency"]["steps"]}


def test_limit_that_cannot_be_kept_is_refused_with_the_nearest(
    bert: Path, text: Path, tmp_path: Path
) -> None:
    with pytest.raises(BudgetError, match=r"cannot be reached on this machine; .* allow at least 0\.\d+x"):
        compress(bert, tmp_path / "out", text, "0.01x")
    assert list(tmp_path.iterdir()) == []


def test_wrong_predictions_are_corrected_by_what_is_measured(
    bert: Path, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, timed: list[int]
) -> None:
    real = faster.time_models

    def slower(models: Sequence[Any], batch: object) -> list[float]:
        original, smaller = real(models, batch)
        return [original, 1.15 * smaller]

    monkeypatch.setattr(faster, "time_models", slower)
    result = compress(bert, tmp_path / "out", text, "0.7x")
    assert result["latency"]["seconds"] <= result["latency"]["limit_seconds"]
    assert timed.count(2) > 1


def test_dry_run_says_what_would_go_and_why(bert: Path, text: Path, tmp_path: Path) -> None:
    result = compress(bert, tmp_path / "out", text, "0.7x", dry_run=True)
    notes = " ".join(result["prediction"]["notes"])
    assert "max_latency 0.7x: removes" in notes
    assert "matrices are not factored for speed" in notes
    assert result["latency"]["steps"]
    query = next(row for row in result["tensors"] if row["name"].endswith("0.output.dense.weight"))
    assert query["shape"][1] < 64 or query["shape"][0] == 32
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("purpose", "words"),
    [("storage", "for storage the zeros of the quantizer"), ("cpu", "no --max-latency is given")],
)
def test_plan_says_why_nothing_is_removed(
    purpose: str, words: str, bert: Path, text: Path, tmp_path: Path
) -> None:
    result = tersor.compress(
        bert, tmp_path / "out", size="0.25x", purpose=purpose, calibration=text, dry_run=True
    )
    assert any(words in note for note in result["prediction"]["notes"])
