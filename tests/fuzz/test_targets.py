"""The fuzz targets: seeds are sound, the same mutations come out every time, and a short run finds nothing."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from fuzz import block_targets
from fuzz.drive import known_inputs
from fuzz.mutations import MAX_BYTES, MUTATIONS, mutated
from fuzz.target import Target
from fuzz.targets import TARGETS
from tersor.errors import CorruptError
from tersor.layouts.forms import DECODERS
from tersor.sources import SOURCES

N_INPUTS = 60


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_are_sound(name: str) -> None:
    assert all(TARGETS[name].accepts(seed) for seed in TARGETS[name].seeds())


@pytest.mark.parametrize("name", TARGETS)
def test_mutated_seeds_are_borne(name: str) -> None:
    chance, seeds = random.Random(name), TARGETS[name].seeds()
    for _ in range(N_INPUTS):
        TARGETS[name].accepts(mutated(chance.choice(seeds), seeds, chance))
    for data in (b"", b"\0", b"\xff" * 40, bytes(4096)):
        TARGETS[name].accepts(data)


def test_every_form_of_dense_blocks_has_a_seed() -> None:
    assert block_targets.forms_of_seeds() == set(DECODERS)


def test_every_kind_of_source_but_bytes_and_torch_has_a_target() -> None:
    # "plain" reads nothing, and "torch" is torch's own reader.
    kinds = {name.removeprefix("source_").replace("_", "-") for name in TARGETS if name.startswith("source_")}
    assert set(SOURCES.names()) - {"plain", "torch"} == kinds - {"pickle"}


def test_mutations_are_those_of_their_seed() -> None:
    data = [b'{"a": [12, 34], "b": 5}', bytes(range(256))]

    def some(seed: int) -> list[bytes]:
        chance = random.Random(seed)
        return [mutated(chance.choice(data), data, chance) for _ in range(200)]

    assert some(1) == some(1)
    assert some(1) != some(2)
    assert max(map(len, some(3))) <= MAX_BYTES


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_mutations_bear_any_input(mutation: object) -> None:
    for seed in range(60):
        for data in (b"", b"7", bytes(300)):
            assert isinstance(mutation(data, random.Random(seed)), bytes)  # type: ignore[operator]


def test_what_is_no_refusal_is_a_finding() -> None:
    def parse(data: bytes) -> None:
        if data == b"refused":
            raise CorruptError("damaged")
        if data:
            raise KeyError(data)

    target = Target("t", parse, list)
    assert target.accepts(b"")
    assert not target.accepts(b"refused")
    with pytest.raises(KeyError):
        target.accepts(b"x")


def test_inputs_of_earlier_runs_come_back(tmp_path: Path) -> None:
    for kind in ("crashes", "corpus"):
        (tmp_path / kind / "t").mkdir(parents=True)
        (tmp_path / kind / "t" / "x").write_bytes(kind.encode())
    assert known_inputs(tmp_path, "t") == [b"crashes", b"corpus"]


def drive(*words: str | Path) -> subprocess.CompletedProcess[str]:
    script = Path(__file__).with_name("drive.py")
    return subprocess.run([sys.executable, script, *words], capture_output=True, text=True, check=False)


def test_a_run_of_a_seed_says_what_it_did(tmp_path: Path) -> None:
    words = ("archive_varints", "--engine", "mutations", "--runs", "40", "--work", tmp_path)
    runs = [drive(*words, "--seed", "3") for _ in range(2)]
    assert [run.returncode for run in runs] == [0, 0]
    counts = [run.stdout.rpartition(" s, ")[2] for run in runs]
    assert counts[0] == counts[1]
    assert "40 inputs" in runs[0].stdout
    assert "0 findings" in counts[0]


def test_an_unknown_target_is_named() -> None:
    run = drive("archive_headers", "--runs", "1")
    assert run.returncode == 1
    assert "no target archive_headers; there are archive," in run.stderr
