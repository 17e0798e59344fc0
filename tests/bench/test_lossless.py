"""`measure_lossless`: the figures are there, and nothing that is not restored gets any."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tersor.bench.contestant import contestants, speed
from tersor.bench.isa import ISAS, available_isas, isa_in_use
from tersor.bench.lossless import measure_lossless
from tersor.bench.peers.base import OPERATIONS
from tersor.errors import UnknownNameError, UsageError

TERSOR = Path(sys.executable).with_name("tersor")


def bench(weights: Path, site: Path, *peers: str) -> subprocess.CompletedProcess[str]:
    """Run `tersor bench lossless` on the weights for some peers, with the broken ones installed."""
    chosen = [word for peer in peers for word in ("--peer", peer)]
    return subprocess.run(
        [TERSOR, "bench", "lossless", weights, "--runs", "1", "--threads", "1", "--json", *chosen],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(site)},
    )


def test_result_holds_what_the_documentation_says(weights: Path) -> None:
    result = measure_lossless(
        weights, runs=2, threads=(1, 2), levels=["fast"], peers=["memcpy", "tersor", "zstd"]
    )
    assert set(result) == {
        *("subject", "input", "runs", "rows", "not_installed", "failed", "machine", "seconds", "version"),
    }
    assert result["input"] == {"path": str(weights), "n_bytes": weights.stat().st_size, "dtype": "F32"}
    assert (result["runs"], result["not_installed"], result["failed"]) == (2, [], [])
    for row in result["rows"]:
        keys = {"coder", "level", "isa", "threads", "version", "n_bytes", "ratio", "seconds"}
        assert set(row) == {*keys, *(f"{name}_gb_s" for name in OPERATIONS)}
        assert row["ratio"] == row["n_bytes"] / weights.stat().st_size
        assert all(len(seconds) == 2 for seconds in row["seconds"].values())
    assert {(row["coder"], row["threads"]) for row in result["rows"]} == {
        ("memcpy", 1),
        *(("tersor fast", 1), ("tersor fast", 2)),
        *(("zstd, level 3", 1), ("zstd, level 3", 2)),
    }
    assert json.loads(json.dumps(result)) == result


def test_ratio_of_tersor_is_that_of_the_whole_archive_file(weights: Path, tmp_path: Path) -> None:
    import tersor

    result = measure_lossless(weights, runs=1, threads=[1], levels=["balanced"], peers=["tersor"])
    packed = tersor.pack(weights, tmp_path / "packed", level="balanced")
    sizes = {row["n_bytes"] for row in result["rows"]}
    assert sizes == {sum(path.stat().st_size for path in (tmp_path / "packed").glob("*.tersor.safetensors"))}
    assert sizes == {packed["output"]["n_bytes"]}


def test_every_operation_of_tersor_and_of_memory_coders_is_measured(weights: Path) -> None:
    result = measure_lossless(weights, runs=1, threads=[1], levels=["fast"], peers=["memcpy", "tersor"])
    rows = {row["level"]: row for row in result["rows"]}
    assert all(rows["fast"][f"{name}_gb_s"] > 0 for name in OPERATIONS)
    assert rows[None]["pack_gb_s"] is None
    assert rows[None]["ratio"] == 1.0


@pytest.mark.parametrize("peer", ["forgetful", "short"])
def test_wrong_bytes_end_the_measurement_with_3(peer: str, weights: Path, broken_peers: Path) -> None:
    done = bench(weights, broken_peers, "memcpy", peer)
    assert done.returncode == 3
    error = json.loads(done.stdout)["error"]
    assert error["kind"] == "CorruptError"
    assert error["message"].startswith(
        f"{peer}: decode_cold of model.safetensors (F32) does not give the bytes"
    )


def test_a_peer_that_crashes_is_listed_and_the_others_are_measured(weights: Path, broken_peers: Path) -> None:
    result = json.loads(bench(weights, broken_peers, "crashing", "memcpy").stdout)
    assert [row["coder"] for row in result["rows"]] == ["memcpy"]
    assert result["failed"] == [
        {
            "coder": "crashing",
            "threads": 1,
            "message": "crashing: exit code 1: RuntimeError: no more",
        }
    ]


def test_a_peer_whose_package_is_missing_is_listed(weights: Path, broken_peers: Path) -> None:
    result = json.loads(bench(weights, broken_peers, "absent", "memcpy").stdout)
    assert result["not_installed"] == ["absent"]
    assert [row["coder"] for row in result["rows"]] == ["memcpy"]


def test_slower_instruction_sets_are_measured_with_the_fewest_threads_alone() -> None:
    found = list(contestants(["tersor"], ["fast", "max"], [1, 2], ["avx2", "scalar"]))
    assert [(one.level, one.isa, one.threads) for one in found] == [
        ("fast", "avx2", 1),
        ("fast", "scalar", 1),
        ("max", "avx2", 1),
        ("max", "scalar", 1),
        ("fast", "avx2", 2),
        ("max", "avx2", 2),
    ]
    assert found[0].environment == {"TERSOR_ISA": "avx2"}


def test_zipnn_is_measured_as_called_and_with_pages_reused() -> None:
    labels = {one.label: one.environment for one in contestants(["zipnn"], [], [1], [""])}
    assert labels["zipnn"] == {}
    assert labels["zipnn, pages reused"]["MALLOC_MMAP_MAX_"] == "0"
    assert int(labels["zipnn, pages reused"]["MALLOC_TRIM_THRESHOLD_"]) > 1 << 32


def test_available_instruction_sets_are_known_and_hold_the_one_in_use() -> None:
    found = available_isas()
    assert set(found) <= {*ISAS, ""}
    assert isa_in_use() in found


def test_speed_is_of_the_median() -> None:
    assert speed([1.0, 100.0, 2.0], 4 * 10**9) == 2.0
    assert speed([], 1) is None


def test_unknown_names_and_counts_are_refused_before_anything_runs(weights: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'zstd'"):
        measure_lossless(weights, peers=["zst"])
    with pytest.raises(UnknownNameError, match="did you mean 'balanced'"):
        measure_lossless(weights, levels=["balance"])
    with pytest.raises(UsageError, match="runs=0"):
        measure_lossless(weights, runs=0)
