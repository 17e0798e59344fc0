"""Speed of tiny models: once in a process of its own (which imports torch, seconds), else in this one."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from measuring import InThisProcess
from tersor.errors import UsageError
from tersor.evaluate import EvaluationResult, evaluate, speed, speed_worker
from tersor.evaluate.speed_process import SpeedProcess, WorkerFailedError


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    monkeypatch.setattr(speed, "SpeedProcess", InThisProcess)
    monkeypatch.setattr(InThisProcess, "asked", [])
    return InThisProcess.asked


@pytest.fixture
def result(folders: dict[str, Path], here: list[tuple[str, str]]) -> EvaluationResult:
    paths = [folders["bert"], folders["llama"]]
    return evaluate(paths, task="speed", lengths=[4, 16], batch_sizes=[1, 2], rounds=6)


def test_every_shape_has_latencies_and_a_rate(result: EvaluationResult) -> None:
    for model in result.models:
        metrics = {metric.name: metric for metric in model.metrics}
        for batch, length in ((1, 4), (1, 16), (2, 4), (2, 16)):
            where = f"b{batch}_l{length}"
            p50, p95 = metrics[f"latency_p50_{where}"], metrics[f"latency_p95_{where}"]
            assert 0 < p50.value <= p95.value
            assert (p50.unit, p50.n, p50.higher_is_better) == ("ms", 6, False)
            rate = metrics[f"tokens_per_second_{where}"]
            assert rate.value == pytest.approx(1000 * batch * length / p50.value)


def test_sizes_memory_and_loading_are_told(result: EvaluationResult, folders: dict[str, Path]) -> None:
    metrics = {metric.name: metric for metric in result.models[0].metrics}
    assert metrics["bytes_on_disk"].value == (folders["bert"] / "model.safetensors").stat().st_size
    assert metrics["peak_memory"].value > 50
    assert metrics["load_seconds"].n == 3


def test_what_the_timings_depend_on_is_named(result: EvaluationResult) -> None:
    machine = result.models[0].details["machine"]
    assert machine["threads"] == 1
    assert machine["cpu"]
    assert "1 thread, torch" in (result.models[0].report or "")
    assert [row["batch"] for row in result.models[0].details["latency"]] == [1, 1, 2, 2]


def test_language_models_have_the_time_of_a_generated_token(
    folders: dict[str, Path], here: list[tuple[str, str]]
) -> None:
    paths = [folders["llama"], folders["gpt2"]]
    result = evaluate(paths, task="speed", lengths=[4], batch_sizes=[2], rounds=5)
    metrics = {metric.name: metric for metric in result.models[1].metrics}
    each = metrics["decode_latency_p50_b2_l4"]
    assert each.value > 0
    assert metrics["decode_tokens_per_second_b2_l4"].value == pytest.approx(2000 / each.value)
    assert [row["kind"] for row in result.models[1].details["latency"]] == ["forward", "decode"]


def test_differences_have_a_sign_test(result: EvaluationResult) -> None:
    changed = result.models[1].figures[0].difference
    assert changed is not None
    assert changed.test == "exact sign test"
    assert 0 < changed.p_value <= 1


def test_models_take_turns(result: EvaluationResult, here: list[tuple[str, str]]) -> None:
    order = [name for name, what in here if what == "forward"]
    warm_up, rounds = order[:2], order[2:14]
    assert warm_up == ["bert", "llama"]
    assert rounds == ["bert", "llama", "llama", "bert"] * 3
    assert [name for name, what in here if what == "load"] == [
        "bert",
        "llama",
        "llama",
        "bert",
        "bert",
        "llama",
    ]


def test_sequences_longer_than_the_model_are_refused(
    folders: dict[str, Path], here: list[tuple[str, str]]
) -> None:
    with pytest.raises(
        UsageError, match="takes 128 tokens at most, --lengths asks for 121 and 8 more are generated"
    ):
        evaluate(folders["gpt2"], task="speed", lengths=[121], batch_sizes=[1], rounds=5)


def test_folder_without_a_config_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"no config\.json here"):
        evaluate(tmp_path, task="speed")


def test_worker_answers_a_line_for_each_request(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = [{"do": "load"}, {"do": "forward", "batch": 2, "length": 3, "times": 4}, {"do": "peak"}]
    answers = io.StringIO()
    assert speed_worker.serve(str(folders["bert"]), map(json.dumps, requests), answers) == 0
    facts, loaded, ran, peak = map(json.loads, answers.getvalue().splitlines())
    assert facts["threads"] == 1
    assert loaded["limit"] == 512
    assert len(ran["seconds"]) == 4
    assert peak["peak_rss_bytes"] > 1 << 20


def test_worker_says_what_is_wrong_with_a_model(tmp_path: Path, folders: dict[str, Path]) -> None:
    (tmp_path / "config.json").write_text((folders["bert"] / "config.json").read_text())
    (tmp_path / "x.tersor.safetensors").write_bytes(b"x")
    answers = io.StringIO()
    load = json.dumps({"do": "load"})
    assert speed_worker.serve(str(tmp_path / "none"), [load], answers) == 1
    assert "no config.json here" in json.loads(answers.getvalue().splitlines()[-1])["error"]


def test_one_process_is_started_asked_and_ended(folders: dict[str, Path]) -> None:
    with SpeedProcess(str(folders["bert"]), threads=1) as worker:
        assert worker.facts["threads"] == 1
        assert worker.ask(do="load")["limit"] == 512
        assert len(worker.ask(do="forward", batch=1, length=4, times=2)["seconds"]) == 2
        with pytest.raises(
            WorkerFailedError, match="the process that measures its speed ended with 1: KeyError"
        ):
            worker.ask(do="forward")
    worker.close()
