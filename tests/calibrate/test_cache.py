from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoModelForCausalLM, PreTrainedModel

from models import VOCAB_SIZE, tiny_bert, tiny_llama
from tersor.calibrate import CalibrationText, Statistics, cache, collect, collect_cached, parameter_roles
from tersor.calibrate.cache_entry import read_entry, write_entry
from tersor.calibrate.cache_key import cache_key
from tersor.calibrate.snapshot import Snapshots
from tersor.errors import CorruptError, UsageError


def text_of(n_sequences: int = 20, seed: int = 0) -> CalibrationText:
    random = np.random.RandomState(seed)
    sequences = (random.randint(5, VOCAB_SIZE, random.randint(8, 40)) for _ in range(n_sequences))
    return CalibrationText(tuple(tuple(map(int, ids)) for ids in sequences), "random")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedModel:
    return AutoModel.from_pretrained(tiny_bert(tmp_path_factory.mktemp("bert")))


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(tiny_llama(tmp_path_factory.mktemp("llama")))


def folder(path: Path) -> Path:
    path.mkdir()
    return path


def entries(root: Path) -> list[str]:
    return [path.name for path in root.iterdir() if path.is_dir()]


def small_entry(path: Path, age: float = 0.0) -> Path:
    """An entry of no matrices, used `age` seconds ago."""
    path.mkdir(parents=True)
    nothing = {kind: {} for kind in ("factors", "hessians", "row_factors", "output_hessians")}
    vectors = {kind: {} for kind in ("row_weights", "input_scales")}
    write_entry(
        path, Statistics(path, **nothing, **vectors, base_steps={"w": 0.125}, provenance={}, notes=())
    )
    os.utime(path, (time.time() - age,) * 2)
    return path


def assert_equal(left: Statistics, right: Statistics, model: PreTrainedModel) -> None:
    for name in parameter_roles(model):
        a, b = left.of(name), right.of(name)
        for part in ("factor", "row_factor", "row_weights", "hessian", "output_hessian", "input_scales"):
            x, y = getattr(a, part), getattr(b, part)
            assert (x is None) == (y is None), (name, part)
            assert x is None or np.array_equal(x, y), (name, part)
    assert left.base_steps == right.base_steps
    assert left.errors == right.errors
    assert left.notes == right.notes
    assert left.provenance == right.provenance


def test_second_call_reuses_what_the_first_found(model: PreTrainedModel, tmp_path: Path) -> None:
    said: list[str] = []
    root, text = tmp_path / "cache", text_of()
    first = collect_cached(model, text, folder(tmp_path / "a"), folder=root, say=said.append)
    stages: list[str] = []
    second = collect_cached(
        model,
        text,
        folder(tmp_path / "b"),
        folder=root,
        say=said.append,
        progress=lambda stage, done, total: stages.append(stage),
    )
    assert not stages
    assert said == [f"reusing cached statistics {second.spool.name[:12]}"]
    assert_equal(first, second, model)
    assert_equal(collect(model, text, folder(tmp_path / "c")), second, model)
    assert entries(root) == [second.spool.name]
    assert not list((tmp_path / "a").iterdir())


def test_other_models_texts_and_settings_have_other_keys(model: PreTrainedModel) -> None:
    keys = {cache_key(model, text_of(), {"seed": 0}), cache_key(model, text_of(seed=1), {"seed": 0})}
    keys.add(cache_key(model, text_of(), {"seed": 1}))
    weight = model.embeddings.word_embeddings.weight
    with torch.no_grad():
        weight[7, 3] += 1e-6
        keys.add(cache_key(model, text_of(), {"seed": 0}))
        weight[7, 3] -= 1e-6
    assert len(keys) == 4


@pytest.mark.parametrize("damage", ["flip", "truncate", "delete", "manifest", "escape"])
def test_damaged_entry_is_computed_again(damage: str, model: PreTrainedModel, tmp_path: Path) -> None:
    root, text = tmp_path / "cache", text_of(8)
    first = collect_cached(model, text, folder(tmp_path / "a"), folder=root, with_gradients=False)
    entry = first.spool
    victim = next(iter(first.factors.values()))
    kept = np.load(victim)
    if damage == "flip":
        data = bytearray(victim.read_bytes())
        data[-3] ^= 4
        victim.write_bytes(data)
    elif damage == "truncate":
        os.truncate(victim, 100)
    elif damage == "delete":
        victim.unlink()
    else:
        manifest = json.loads((entry / "manifest.json").read_text())
        name = next(iter(manifest["matrices"]["factors"]))
        manifest["matrices"]["factors"][name] = "../../outside.npy"
        broken = "{" if damage == "manifest" else json.dumps(manifest)
        (entry / "manifest.json").write_text(broken)
    said: list[str] = []
    again = collect_cached(
        model, text, folder(tmp_path / "b"), folder=root, with_gradients=False, say=said.append
    )
    assert len(said) == 1
    assert said[0].startswith("cached statistics are damaged (")
    assert np.array_equal(np.load(next(iter(again.factors.values()))), kept)


@pytest.mark.parametrize("stop_after", [1, 4])
@pytest.mark.parametrize("kind", ["model", "llama"])
def test_interrupted_call_goes_on_and_ends_with_the_same_bits(
    kind: str,
    stop_after: int,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = request.getfixturevalue(kind)
    monkeypatch.setattr("tersor.calibrate.walk.BATCH_TOKENS", 128)
    monkeypatch.setattr("tersor.calibrate.pass_sequence.SNAPSHOT_SECONDS", 0.0)
    text, root = text_of(), tmp_path / "cache"
    whole = collect(model, text, folder(tmp_path / "whole"))

    def interrupt(stage: str, done: int, total: int) -> None:
        if done > stop_after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collect_cached(model, text, folder(tmp_path / "a"), folder=root, progress=interrupt)
    steps: list[int] = []
    resumed = collect_cached(
        model,
        text,
        folder(tmp_path / "b"),
        folder=root,
        progress=lambda stage, done, total: steps.append(done) if stage == "hessians" else None,
    )
    assert steps[0] >= min(stop_after, 3)
    assert_equal(whole, resumed, model)
    assert entries(root) == [resumed.spool.name]


def test_broken_snapshot_is_ignored(
    model: PreTrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tersor.calibrate.pass_sequence.SNAPSHOT_SECONDS", 0.0)
    spool = folder(tmp_path / "spool")
    (spool / "snapshot").mkdir()
    (spool / "snapshot" / "state.json").write_text('{"position": [1]}')
    text = text_of(8)
    assert_equal(
        collect(model, text, spool, resumable=True), collect(model, text, folder(tmp_path / "b")), model
    )
    assert not (spool / "snapshot").exists()


@pytest.mark.parametrize("victim", ["matrices/*.npy", "vectors.npz", "state.json", "../middle-*.npz"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "delete"])
def test_damaged_snapshot_is_deleted_and_the_run_starts_anew(
    victim: str, damage: str, model: PreTrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tersor.calibrate.walk.BATCH_TOKENS", 128)
    monkeypatch.setattr("tersor.calibrate.pass_sequence.SNAPSHOT_SECONDS", 0.0)
    text, spool = text_of(10), folder(tmp_path / "spool")

    def interrupt(stage: str, done: int, total: int) -> None:
        if done > total // 3 + 1:  # in the second pass, which has middles
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collect(model, text, spool, resumable=True, progress=interrupt)
    assert Snapshots(spool).position() is not None
    path = sorted((spool / "snapshot").glob(victim))[0]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    if damage == "delete":
        path.unlink()
    else:
        path.write_bytes(data if damage == "flip" else data[:-1])
    steps: list[int] = []
    again = collect(
        model, text, spool, resumable=True, progress=lambda stage, done, total: steps.append(done)
    )
    assert steps[0] == 1
    assert_equal(collect(model, text, folder(tmp_path / "whole")), again, model)


def test_changed_number_in_a_manifest_is_found(tmp_path: Path) -> None:
    entry = small_entry(tmp_path / "entry")
    assert read_entry(entry).base_steps == {"w": 0.125}
    manifest = entry / "manifest.json"
    manifest.write_text(manifest.read_text().replace("0.125", "0.925"))
    with pytest.raises(CorruptError, match=r"entry/manifest.json: CRC-32C is \d+, was \d+"):
        read_entry(entry)
    manifest.write_text("{}")
    with pytest.raises(CorruptError, match="no JSON object with a crc32c"):
        read_entry(entry)


def test_without_a_writable_cache_statistics_go_to_the_spool(model: PreTrainedModel, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    said: list[str] = []
    spool = folder(tmp_path / "spool")
    found = collect_cached(
        model,
        text_of(8),
        spool,
        folder=tmp_path / "file" / "cache",
        with_gradients=False,
        say=said.append,
    )
    assert found.spool == spool
    assert said[0].startswith("statistics are not cached: ")


def test_entry_in_work_elsewhere_is_left_alone(
    model: PreTrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "_lock", lambda descriptor: False)
    said: list[str] = []
    spool = folder(tmp_path / "spool")
    found = collect_cached(
        model, text_of(8), spool, folder=tmp_path / "cache", with_gradients=False, say=said.append
    )
    assert found.spool == spool
    assert said == ["statistics are not cached: another process computes the same"]


def test_environment_chooses_folder_and_limit(
    model: PreTrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERSOR_CACHE", str(tmp_path / "chosen"))
    assert cache.cache_folder() == tmp_path / "chosen" / "statistics"
    monkeypatch.setenv("TERSOR_CACHE_BYTES", "0")
    found = collect_cached(model, text_of(8), folder(tmp_path / "spool"), with_gradients=False)
    assert found.spool == tmp_path / "spool"
    assert not (tmp_path / "chosen").exists()
    monkeypatch.setenv("TERSOR_CACHE_BYTES", "much")
    with pytest.raises(UsageError, match="TERSOR_CACHE_BYTES='much' is no number"):
        cache.cache_limit()


def test_least_recently_used_entries_make_room(tmp_path: Path) -> None:
    for age, name in enumerate(("new", "middle", "old", "older")):
        entry = folder(tmp_path / name)
        (entry / "data").write_bytes(bytes(1000))
        moment = 1_000_000 - age if name != "new" else None
        os.utime(entry, None if moment is None else (moment, moment))
    deleted = cache.make_room(tmp_path, 2500)
    assert {path.name for path in deleted} == {"old", "older"}
    assert {path.name for path in cache.make_room(tmp_path, 0, keep=tmp_path / "middle")} == set()


def test_entry_whose_lock_is_held_stays(tmp_path: Path) -> None:
    small_entry(tmp_path / "key.partial", age=2 * cache.IN_USE_SECONDS)
    with cache._locked(tmp_path / "key") as obstacle:
        assert obstacle is None
        assert cache.make_room(tmp_path, 0) == []
    assert cache.make_room(tmp_path, 0) == [tmp_path / "key.partial"]
    assert [path.name for path in tmp_path.iterdir()] == ["key.lock"]


def test_reused_entry_counts_as_used_now(tmp_path: Path) -> None:
    entry = small_entry(tmp_path / "key", age=2 * cache.IN_USE_SECONDS)
    assert cache._reuse(entry, lambda sentence: None) is not None
    assert cache.make_room(tmp_path, 0) == []


def test_entry_that_another_process_deletes_meanwhile_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        small_entry(tmp_path / name, age=2 * cache.IN_USE_SECONDS)
    measure = cache._n_bytes

    def vanish(entry: Path) -> int:
        n_bytes = measure(entry)
        shutil.rmtree(tmp_path / "b", ignore_errors=True)
        return n_bytes

    monkeypatch.setattr(cache, "_n_bytes", vanish)
    assert set(cache.make_room(tmp_path, 0)) == {tmp_path / name for name in "abc"}
    assert measure(tmp_path / "b") == 0


def test_entry_finished_just_before_the_lock_is_reused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = cache._lock

    def lock_late(descriptor: int) -> bool:
        small_entry(tmp_path / "cache" / "key")
        return lock(descriptor)

    monkeypatch.setattr(cache, "_lock", lock_late)
    monkeypatch.setattr(cache, "cache_key", lambda *arguments: "key")
    monkeypatch.setattr(cache, "collect", lambda *arguments, **settings: pytest.fail("computed again"))
    found = collect_cached(torch.nn.Linear(1, 1), text_of(1), tmp_path / "spool", folder=tmp_path / "cache")
    assert found.base_steps == {"w": 0.125}
    assert entries(tmp_path / "cache") == ["key"]
    assert (tmp_path / "cache" / "key.lock").exists()
