from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

import tersor
from models import tiny_bert, tiny_llama
from tersor.errors import UnknownNameError, UsageError
from tersor.evaluate import TASKS, EvaluationResult, evaluate

MODEL_FOR = {
    "embedding": "bert",
    "perplexity": "llama",
    "kl": "gpt2",
    "ner": "ner",
    "classification": "classes",
}
KEYS = {"name", "value", "unit", "n", "stderr", "higher_is_better"}
COMPARED = {"low", "high", "p_value", "test"} | {
    f"difference{part}" for part in ("", "_stderr", "_low", "_high")
}


@pytest.fixture
def text_file(tmp_path: Path) -> Path:
    file = tmp_path / "text.txt"
    sentence = "The quick brown fox number {} jumps over the lazy dog again and again.\n"
    file.write_text("".join(sentence.format(i) for i in range(40)))
    return file


@pytest.fixture
def data_for(text_file: Path, ner_file: Path, class_file: Path) -> dict[str, Path]:
    texts = dict.fromkeys(("embedding", "perplexity", "kl"), text_file)
    return {"ner": ner_file, "classification": class_file, **texts}


@pytest.mark.parametrize("task", [task for task in TASKS if task != "speed"])  # see test_speed.py
def test_every_task_measures_the_original_and_a_copy(
    task: str, folders: dict[str, Path], data_for: dict[str, Path]
) -> None:
    folder = folders[MODEL_FOR[task]]
    result = evaluate([folder, folder], task=task, data=data_for[task])
    original, copy = result.models
    assert [metric.name for metric in original.metrics] == [metric.name for metric in copy.metrics]
    for metric in original.metrics:
        assert math.isfinite(metric.value)
        assert metric.stderr >= 0
        assert metric.n > 1
    assert original.metrics == copy.metrics
    assert result == evaluate([folder, folder], task=task, data=data_for[task])


def test_json_has_the_documented_shape(folders: dict[str, Path], text_file: Path) -> None:
    result = evaluate(folders["bert"], task="embedding", data=text_file).to_json()
    (model,) = json.loads(json.dumps(result, allow_nan=False))["models"]
    assert set(model) == {"path", "n_bytes", "metrics", "report", "details"}
    assert model["path"] == str(folders["bert"])
    assert model["n_bytes"] == (folders["bert"] / "model.safetensors").stat().st_size
    assert set(model["metrics"][0]) == KEYS | COMPARED


def test_table_shows_the_original_beside_the_others(
    folders: dict[str, Path], text_file: Path, tmp_path: Path
) -> None:
    other = tiny_bert(tmp_path / "other", seed=5, layers=1)
    table = evaluate([folders["bert"], other], task="embedding", data=text_file).table()
    head, sizes, ratios, error, order, note = table.splitlines()
    assert head.split() == [str(folders["bert"]), str(other)]
    assert sizes.startswith("weight files")
    assert ratios.split()[3] == "1.0000"
    assert error.startswith("embedding_error [1 - cos], n=40, lower is better")
    assert "0 ± 0" in error
    assert order.startswith("similarity_spearman [rank correlation], n=40, higher is better")
    assert note == "± standard error"


def test_models_are_loaded_by_the_function_given_and_reported(
    folders: dict[str, Path], text_file: Path
) -> None:
    from tersor.load import load_checked

    asked, told = [], []

    def loader(path, auto_class):
        asked.append((path, auto_class))
        return load_checked(path, auto_class)

    evaluate(
        [folders["llama"], folders["llama"]],
        task="kl",
        data=text_file,
        loader=loader,
        progress=lambda *step: told.append(step),
    )
    assert asked == [(folders["llama"], "AutoModelForCausalLM")] * 2
    assert [done for done, _, _ in told] == sorted(done for done, _, _ in told)
    assert (0, 2, str(folders["llama"])) in told
    assert (1.5 < told[-2][0] <= 2, told[-1]) == (True, (2, 2, ""))


def test_model_without_a_language_model_head_is_refused(folders: dict[str, Path], text_file: Path) -> None:
    with pytest.raises(UsageError, match="would measure random weights"):
        evaluate(folders["bert"], task="perplexity", data=text_file)


def test_evaluate_is_a_public_function_of_the_package() -> None:
    assert tersor.evaluate is evaluate


def test_unknown_task_names_the_nearest(folders: dict[str, Path]) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'perplexity'"):
        evaluate(folders["bert"], task="perplexty")


def test_arguments_are_checked_before_a_model_is_loaded(folders: dict[str, Path], tmp_path: Path) -> None:
    def loader(path, auto_class):
        raise AssertionError("loaded")

    with pytest.raises(UsageError, match="no model given"):
        evaluate([], task="kl", loader=loader)
    with pytest.raises(UsageError, match="no such file"):
        evaluate(folders["bert"], task="kl", data=tmp_path / "no.txt", loader=loader)
    with pytest.raises(UsageError, match="no weight files"):
        evaluate([folders["bert"], tmp_path], task="kl", loader=loader)
    with pytest.raises(UsageError, match="limit=0: needed: at least 1"):
        evaluate(folders["bert"], task="kl", loader=loader, limit=0)
    with pytest.raises(UsageError, match=r"lengths=\[\]: needed: numbers"):
        evaluate(folders["bert"], task="speed", loader=loader, lengths=[])
    with pytest.raises(UsageError, match="task speed times random tokens"):
        evaluate(folders["bert"], task="speed", loader=loader, data=tmp_path)


def test_built_in_text_is_used_without_data(tmp_path: Path) -> None:
    result: EvaluationResult = evaluate(tiny_llama(tmp_path / "llama", layers=1), task="perplexity")
    assert result.data.startswith("built-in")
    assert result.models[0].metrics[0].n == 64


def test_without_torch_the_error_says_what_to_install(folders: dict[str, Path]) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from tersor.errors import MissingExtraError\n"
        "from tersor.evaluate import evaluate\n"
        "assert 'transformers' not in sys.modules\n"
        "try:\n"
        f"    evaluate({str(folders['bert'])!r}, task='kl')\n"
        "except MissingExtraError as exc:\n"
        "    print(exc)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'tersor[torch]'" in done.stdout


def test_without_seqeval_the_error_says_what_to_install(folders: dict[str, Path]) -> None:
    code = (
        "import sys; sys.modules['seqeval'] = None\n"
        "from tersor.errors import MissingExtraError\n"
        "from tersor.evaluate import evaluate\n"
        "try:\n"
        f"    evaluate({str(folders['ner'])!r}, task='ner')\n"
        "except MissingExtraError as exc:\n"
        "    print(exc)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'tersor[eval]'" in done.stdout
