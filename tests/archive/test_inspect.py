from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import tersor
from archives import every_dtype, small_lossy, write_archive
from sample_files import every_gguf_type, gguf_file
from tersor.archive.inspect import inspect, sizes
from tersor.sources.gguf_types import BLOCK_TYPES, ELEMENTS_OF_BLOCK

NAME = "model.tersor.safetensors"


def test_json_names_every_tensor_with_its_cost(tmp_path: Path) -> None:
    write_archive(tmp_path / NAME, small_lossy())
    result = inspect(tmp_path / NAME)
    assert json.loads(json.dumps(result)) == result
    rows = {row["name"]: row for row in result["tensors"]}
    assert list(rows) == ["embed", "conv1d", "groups", "norm", "head"]
    assert rows["embed"]["layout"] == "grid/1"
    assert rows["embed"]["codec"] == "rans"
    assert rows["embed"]["bits_per_weight"] == pytest.approx(8 * rows["embed"]["n_bytes"] / 96)
    assert (rows["head"]["layout"], rows["head"]["codec"], rows["head"]["n_bytes"]) == (
        "alias/1",
        "= embed",
        0,
    )
    assert result["version"] == "tests"


def test_sizes_count_the_whole_file_and_tied_tensors_once(tmp_path: Path) -> None:
    write_archive(tmp_path / NAME, small_lossy())
    result = inspect(tmp_path / NAME)
    n_bytes = (tmp_path / NAME).stat().st_size
    n_params = 96 + 48 + 32 + 8
    assert result["input"]["n_params"] == n_params
    assert result["output"]["n_bytes"] == n_bytes
    assert result["output"]["bits_per_weight"] == 8 * n_bytes / n_params
    assert result["output"]["ratio"] == n_bytes / (4 * 96 + 2 * 48 + 2 * 32 + 4 * 8 + 4 * 96)


def test_every_dtype_has_a_codec(tmp_path: Path) -> None:
    write_archive(tmp_path / NAME, every_dtype())
    for row in inspect(tmp_path / NAME)["tensors"]:
        assert "unknown" not in row["codec"]
        assert "damaged" not in row["codec"]
        assert bool(row["codec"]) == (0 not in row["shape"])


def test_nothing_without_parameters_divides_by_zero() -> None:
    assert sizes(10, 0, 0) == {"n_bytes": 10, "ratio": 1.0, "bits_per_weight": None}


def test_inspect_imports_no_heavy_package(tmp_path: Path) -> None:
    write_archive(tmp_path / NAME, small_lossy())
    code = (
        "import sys; from tersor.archive.inspect import inspect; inspect(sys.argv[1]);"
        "print(sorted({'torch', 'transformers', 'rich', 'safetensors', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / NAME], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_gguf_blocks_count_as_the_elements_that_they_stand_for(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(gguf_file(every_gguf_type()))
    tersor.pack(tmp_path / "model.gguf", tmp_path / "packed")
    result = inspect(tmp_path / "packed")
    assert result["input"]["n_params"] == 12 + 5 + sum(6 * block.n_elements for block in BLOCK_TYPES.values())
    rows = {row["name"]: row for row in result["tensors"]}
    for block in BLOCK_TYPES.values():
        assert ELEMENTS_OF_BLOCK[block.n_bytes] == block.n_elements
        n_bytes = rows[block.name]["n_bytes"]
        assert rows[block.name]["bits_per_weight"] == pytest.approx(8 * n_bytes / (6 * block.n_elements))
