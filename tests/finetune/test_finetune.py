"""`finetune` end to end on a tiny model: plain, to a size, from an archive, codes that train."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import AutoConfig

from finetune_runs import QUICK
from models import tiny_llama
from tersor.archive.reader import open_archive
from tersor.archive.verify import verify
from tersor.errors import BudgetError, OutputExistsError, UsageError
from tersor.finetune import finetune
from tersor.history import read_history
from tersor.load import load
from tersor.pipeline import compress

Outcome = tuple[Path, dict[str, Any]]


def _metric(result: dict[str, Any], name: str, split: str = "dev") -> float:
    return next(row["value"] for row in result["metrics"] if (row["split"], row["name"]) == (split, name))


def _codes(folder: Path) -> dict[str, bytes]:
    """Digests of the large tensors: their codes."""
    with open_archive(folder) as archive:
        return {
            name: archive.digest(name) or b"" for name, spec in archive.specs.items() if len(spec.shape) > 1
        }


def test_a_plain_model_learns_the_task(tagger: Outcome) -> None:
    folder, result = tagger
    assert _metric(result, "f1") > 0.7
    assert _metric(result, "f1", "test") > 0.7
    config = AutoConfig.from_pretrained(folder)
    assert config.architectures == ["BertForTokenClassification"]
    assert config.id2label == dict(enumerate(["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]))
    assert (folder / "tokenizer.json").is_file()
    assert type(load(folder)).__name__ == "BertForTokenClassification"


def test_nothing_of_the_work_is_left(tagger: Outcome, small_tagger: Outcome) -> None:
    assert sorted(path.name for path in tagger[0].parent.iterdir()) == ["out"]
    assert sorted(path.name for path in small_tagger[0].parent.iterdir()) == ["out"]


def test_the_result_meets_its_size_and_still_tags(tagger: Outcome, small_tagger: Outcome) -> None:
    folder, result = small_tagger
    original = (tagger[0] / "model.safetensors").stat().st_size
    assert result["output"]["n_bytes"] == (folder / "model.tersor.safetensors").stat().st_size
    assert 0.17 * original <= result["output"]["n_bytes"] <= 0.2 * original
    assert _metric(result, "f1") > 0.7
    assert [stage["stage"] for stage in result["stages"]] == ["task", "compress", "tune"]
    assert verify(folder)["ok"]


def test_the_history_tells_of_every_training(small_tagger: Outcome) -> None:
    entries = [entry for entry in read_history(small_tagger[0]) if entry["kind"] == "finetune"]
    assert [entry["stage"] for entry in entries] == ["task", "tune"]
    assert all(entry["metrics"] and entry["settings"] for entry in entries)
    assert entries[-1]["log"]
    assert 0 < entries[-1]["bits_per_weight"] < 8
    assert all(0 <= share < 1 for share in entries[-1]["zeros"].values())


def test_frozen_codes_stay_and_small_tensors_move(
    small_tagger: Outcome, tagger: Outcome, ner_data: Path, tmp_path: Path
) -> None:
    settings = {"max_steps": 10, "learning_rate": 3e-3, "batch_size": 16}
    result = finetune(
        small_tagger[0],
        tmp_path / "out",
        task="ner",
        data=ner_data,
        teacher=tagger[0],
        settings=settings,
    )
    before, after = _codes(small_tagger[0]), _codes(tmp_path / "out")
    changed = {name for name in before if before[name] != after[name]}
    assert changed <= {"classifier.weight"}
    assert result["output"]["n_bytes"] <= result["stages"][-1]["limit"]
    assert result["stages"][-1]["limit"] == (small_tagger[0] / "model.tersor.safetensors").stat().st_size


def test_an_archive_without_a_head_gets_one(bert: Path, ner_data: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text((ner_data / "train.conll").read_text())
    compress(bert, tmp_path / "small", size="0.25x", calibration=text)
    settings = {"epochs": 8, "learning_rate": 1e-2, "batch_size": 16}
    # Norms of an untrained model are all ones and cost nothing; trained ones do.
    result = finetune(
        tmp_path / "small", tmp_path / "out", task="ner", data=ner_data, size="0.4x", settings=settings
    )
    assert _metric(result, "loss") < 1.5  # codes of an untrained model stay: only norms and the head learn
    model = load(tmp_path / "out")
    assert type(model).__name__ == "BertForTokenClassification"
    assert "B-PER" in model.config.label2id
    assert verify(tmp_path / "out")["ok"]


@pytest.mark.parametrize(
    ("method", "options", "levels"),
    [("ternary", {}, 3), ("sign", {}, 2), ("fixed", {"bits": 3, "granularity": "row"}, 7)],
)
def test_codes_train_in_their_form(
    tagger: Outcome, ner_data: Path, tmp_path: Path, method: str, options: dict[str, Any], levels: int
) -> None:
    recipe = {
        "method": method,
        "options": options,
        "targets": [{"match": "*embeddings*", "method": "fixed", "options": {"bits": 8}}],
    }
    settings = {"epochs": 0, "tune.epochs": 3, "tune.learning_rate": 2e-3, "tune.batch_size": 16}
    result = finetune(
        tagger[0],
        tmp_path / "out",
        task="ner",
        data=ner_data,
        recipe=recipe,
        train="codes",
        settings=settings,
    )
    tuned = result["stages"][2]
    assert tuned["kept"] or method == "sign", "three epochs make up for codes that were not trained"
    assert tuned["n_bytes"] <= tuned["limit"]
    with open_archive(tmp_path / "out") as archive:
        weight = archive["bert.encoder.layer.0.attention.self.query.weight"]
    assert max(len(np.unique(row)) for row in weight) <= levels


def test_language_models_are_tuned_against_their_original(tmp_path: Path) -> None:
    text = tmp_path / "train.txt"
    text.write_text("the cat sat on the mat and looked at the rat\n" * 60)
    original = tiny_llama(tmp_path / "llama")
    compress(original, tmp_path / "small", size="0.12x", calibration=text)
    settings = {"max_steps": 8, "learning_rate": 2e-3, "batch_size": 4, "max_length": 32, "stride": 8}
    result = finetune(
        tmp_path / "small",
        tmp_path / "out",
        task="lm",
        data=text,
        teacher=original,
        size="0.2x",
        settings=settings,
    )
    assert result["labels"] == []
    assert result["metrics"][0]["name"] == "loss"
    assert result["output"]["n_bytes"] <= result["stages"][0]["limit"]


def test_classification_learns_and_names_its_classes(bert: Path, tmp_path: Path) -> None:
    rows = ["text,label"] + [
        f"{'AB' if i % 2 else 'xy'} {i % 7},{'up' if i % 2 else 'down'}" for i in range(80)
    ]
    data = tmp_path / "train.csv"
    data.write_text("\n".join(rows) + "\n")
    result = finetune(
        bert, tmp_path / "out", task="classification", data=data, settings={**QUICK, "epochs": 4}
    )
    assert _metric(result, "accuracy") == 1.0
    assert AutoConfig.from_pretrained(tmp_path / "out").label2id == {"down": 0, "up": 1}


def test_a_label_that_the_model_lacks_is_refused_and_nothing_is_written(
    tagger: Outcome, tmp_path: Path
) -> None:
    data = tmp_path / "train.conll"
    data.write_text("AB B-PER\nfg O\n\n12 B-DATE\n")
    with pytest.raises(UsageError, match=r"train\.conll, line 4: tag 'B-DATE' is no label of the model"):
        finetune(tagger[0], tmp_path / "out", task="ner", data=data)
    assert [path.name for path in tmp_path.iterdir()] == ["train.conll"]


def test_no_epochs_need_a_model_that_is_trained(bert: Path, ner_data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no head for ner yet, so 0 epochs cannot do"):
        finetune(bert, tmp_path / "out", task="ner", data=ner_data, settings={"epochs": 0})


def test_a_teacher_that_was_not_trained_is_refused(small_tagger: Outcome, bert: Path, ner_data: Path) -> None:
    with pytest.raises(UsageError, match="is not trained for ner; fine-tune it first"):
        finetune(small_tagger[0], small_tagger[0].parent / "never", task="ner", data=ner_data, teacher=bert)


def test_what_cannot_be_is_refused_before_any_work(
    bert: Path, tagger: Outcome, small_tagger: Outcome, ner_data: Path, tmp_path: Path
) -> None:
    def run(source: Path, **options: Any) -> None:
        finetune(source, tmp_path / "out", **{"task": "ner", "data": ner_data, **options})

    with pytest.raises(UsageError, match=r"no task 'nre' to train for; did you mean 'ner'"):
        run(bert, task="nre")
    with pytest.raises(UsageError, match="train='code'"):
        run(bert, train="code")
    with pytest.raises(UsageError, match="report_to='tensorbord'"):
        run(bert, report_to=["tensorbord"])
    with pytest.raises(UsageError, match="a recipe does nothing here"):
        run(small_tagger[0], recipe={"method": "ternary"})
    with pytest.raises(UsageError, match="no such file or folder"):
        run(bert, data=tmp_path / "nothing")
    with pytest.raises(UsageError, match=r"no config\.json here"):
        run(ner_data)
    with pytest.raises(BudgetError, match="tuning with frozen codes cannot bring to"):
        run(small_tagger[0], size="0.05x")
    assert not (tmp_path / "out").exists()


def test_an_output_that_exists_is_refused(tagger: Outcome, bert: Path, ner_data: Path) -> None:
    with pytest.raises(OutputExistsError):
        finetune(bert, tagger[0], task="ner", data=ner_data)


@pytest.mark.parametrize("requantize", [True, False])
def test_codes_without_ends_train_within_the_size(
    small_tagger: Outcome, tagger: Outcome, ner_data: Path, tmp_path: Path, requantize: bool
) -> None:
    settings = {"max_steps": 10, "learning_rate": 5e-4, "batch_size": 16, "requantize": requantize}
    result = finetune(
        small_tagger[0],
        tmp_path / "out",
        task="ner",
        data=ner_data,
        teacher=tagger[0],
        train="codes",
        settings=settings,
    )
    tuned = result["stages"][-1]
    assert tuned["n_bytes"] <= tuned["limit"]
    assert _metric(result, "f1") > 0.6
    with open_archive(tmp_path / "out") as archive:
        assert "finetune" in archive.provenance or not tuned["kept"]
    assert verify(tmp_path / "out")["ok"]


def test_factors_of_rows_keep_the_codes_and_the_size(tagger: Outcome, ner_data: Path, tmp_path: Path) -> None:
    settings = {"epochs": 0, "tune.max_steps": 12, "tune.learning_rate": 2e-3, "tune.gains": True}
    result = finetune(tagger[0], tmp_path / "out", task="ner", data=ner_data, size="0.25x", settings=settings)
    tuned = result["stages"][-1]
    assert tuned["n_bytes"] <= tuned["limit"]
    assert verify(tmp_path / "out")["ok"]
