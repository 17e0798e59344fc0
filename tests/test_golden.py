"""Archives of format version 1 stay readable: by tersor and by the reference reader, to the last bit.

`PYTHONPATH=tests python -m golden.make_archive_goldens` adds the goldens that are missing.
"""

from __future__ import annotations

import json
import re
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tersor
from golden.archive_features import features_of
from golden.make_archive_goldens import ENDING, FOLDER, GOLDENS, write_golden
from reference_reader import read_archive
from reference_reader.dtypes import NUMPY_TYPES, PACKED_BITS
from reference_reader.float_rows import BALANCED, FAST, MAX
from reference_reader.rans import LANE_COUNTS
from reference_reader.tables import KINDS
from reference_reader.tensors import tensor_bytes
from tersor.archive.verify import verify
from tersor.codec import CODECS
from tersor.errors import NewerFormatError, UsageError
from tersor.layouts import LAYOUTS
from tersor.layouts.float_words import UNITS
from tersor.layouts.forms import DECODERS
from tersor.layouts.grid_layout import GRID_DTYPES, SCALE_DTYPES
from tersor.types import DTYPES

FORMAT = Path(__file__).parent.parent / "docs" / "format.md"
MAX_GOLDEN_BYTES, MAX_BYTES = 60 << 10, 600 << 10

FLOAT_CODERS = (BALANCED, FAST, MAX)

every_golden = pytest.mark.parametrize("name", GOLDENS)
Tree = dict[str, bytes]


def described(name: str) -> dict[str, Any]:
    """What must be in a golden."""
    path = FOLDER / f"{name}.json"
    assert path.exists(), (
        f"golden {name} is missing; run: PYTHONPATH=tests python -m golden.make_archive_goldens"
    )
    description: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return description


def tree(root: Path) -> Tree:
    return {
        path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


def digest(data: bytes) -> dict[str, Any]:
    return {"n_bytes": len(data), "sha256": sha256(data).hexdigest()}


def tensor_digest(array: np.ndarray) -> dict[str, Any]:
    return digest(tensor_bytes(array))


@every_golden
def test_tersor_reads_every_tensor(name: str) -> None:
    expected = described(name)
    for file, tensors in expected["tensors"].items():
        with tersor.open(FOLDER / name / file) as archive:
            assert set(archive) == {*tensors, *expected["unreadable"].get(file, [])}
            for key, tensor in tensors.items():
                spec = archive.specs[key]
                found = {"dtype": spec.dtype, "shape": list(spec.shape), **digest(archive[key].tobytes())}
                assert found == tensor, f"{file}: {key}"
                assert archive[key].shape == spec.numpy_shape


@every_golden
def test_tersor_opens_the_whole_folder_and_names_what_it_cannot_read(name: str) -> None:
    expected = described(name)
    with tersor.open(FOLDER / name) as archive:
        assert len(archive) == sum(
            map(len, (*expected["tensors"].values(), *expected["unreadable"].values()))
        )
        for key in (key for keys in expected["unreadable"].values() for key in keys):
            with pytest.raises(NewerFormatError, match=re.escape(key)):
                archive[key]


@every_golden
def test_reference_reader_reads_every_tensor(name: str) -> None:
    expected = described(name)
    for file, tensors in expected["tensors"].items():
        archive = read_archive(FOLDER / name / file)
        assert set(archive.tensors) == set(tensors)
        assert list(archive.unreadable) == expected["unreadable"].get(file, [])
        for key, tensor in tensors.items():
            found = tensor_digest(archive.tensors[key])
            assert found == {"n_bytes": tensor["n_bytes"], "sha256": tensor["sha256"]}, f"{file}: {key}"
            if tensor["dtype"] not in PACKED_BITS:
                assert archive.tensors[key].shape == tuple(tensor["shape"])


@every_golden
def test_reference_reader_restores_every_file(name: str) -> None:
    expected = described(name)
    archive = read_archive(FOLDER / name)
    assert {path: digest(data) for path, data in archive.files.items()} == expected["files"]
    assert sorted(archive.empty_folders) == expected["empty_folders"]
    assert (archive.is_file, archive.lossless) == (expected["is_file"], expected["lossless"])


@every_golden
def test_tersor_restores_every_file_of_what_is_lossless(name: str, tmp_path: Path) -> None:
    expected = described(name)
    output = tmp_path / "restored"
    if not expected["lossless"]:
        with pytest.raises(UsageError, match="compress"):
            tersor.unpack(FOLDER / name, output)
        return
    tersor.unpack(FOLDER / name, output)
    if expected["is_file"]:
        assert [digest(output.read_bytes())] == list(expected["files"].values())
        return
    assert {path: digest(data) for path, data in tree(output).items()} == expected["files"]
    folders = [path for path in output.rglob("*") if path.is_dir() and not any(path.iterdir())]
    assert sorted(path.relative_to(output).as_posix() for path in folders) == expected["empty_folders"]


@every_golden
def test_verify_finds_nothing_wrong_but_what_it_does_not_know(name: str) -> None:
    result = verify(FOLDER / name)
    unknown = [key for keys in described(name)["unreadable"].values() for key in keys]
    assert len(result["problems"]) == len(unknown), result["problems"]
    assert all(repr(key) in problem for key, problem in zip(unknown, result["problems"], strict=True))


@every_golden
def test_the_same_inputs_give_the_same_archive(name: str, tmp_path: Path) -> None:
    """Byte for byte with the versions that wrote it; others may pack better, but what is read must be the same."""
    expected = described(name)
    written = write_golden(name, tmp_path / "first")
    write_golden(name, tmp_path / "second")
    again = tree(tmp_path / "first")
    assert again == tree(tmp_path / "second")
    same_versions = written.pop("written_by") == expected.pop("written_by")
    assert written == expected
    if same_versions:
        golden = tree(FOLDER / name)
        assert set(golden) == set(again)
        assert [path for path in golden if golden[path] != again[path]] == []
    for file, tensors in expected["tensors"].items():
        found = read_archive(tmp_path / "first" / file).tensors
        assert {key: tensor_digest(array)["sha256"] for key, array in found.items()} == {
            key: tensor["sha256"] for key, tensor in tensors.items()
        }


def test_every_golden_on_disk_is_made_by_the_maker_and_small() -> None:
    assert {path.name for path in FOLDER.iterdir() if path.is_dir()} == set(GOLDENS)
    assert {path.stem for path in FOLDER.glob("*.json")} == set(GOLDENS)
    sizes = {name: sum(map(len, tree(FOLDER / name).values())) for name in GOLDENS}
    assert max(sizes.values()) <= MAX_GOLDEN_BYTES, sizes
    assert sum(sizes.values()) <= MAX_BYTES, sizes


@cache
def used_features() -> frozenset[str]:
    found = [FOLDER / name for name in GOLDENS if (FOLDER / name).exists()]  # others test that all exist
    return frozenset(feature for root in found for feature in features_of(root))


def needed_features() -> list[str]:
    """Everything that version 1 defines, from the registries and from the document's lists."""
    return [
        *(f"layout {layout}" for layout in LAYOUTS),
        *(f"dtype {dtype}" for dtype in DTYPES),
        *(f"codec {codec}, form {form}" for codec in CODECS for form in (0, 1)),
        *(f"table set {kind}" for kind in KINDS),
        *(f"float unit {unit}, coder {coder}" for unit in UNITS.values() for coder in FLOAT_CODERS),
        *(f"floats in {n_lanes} lanes, coder {coder}" for n_lanes in LANE_COUNTS for coder in FLOAT_CODERS),
        *(f"floats in several streams, coder {coder}" for coder in FLOAT_CODERS),
        *(f"floats with escapes, coder {coder}" for coder in FLOAT_CODERS),
        "head with 1 column profiles", "head with 2 column profiles", "column of shape 8", "column of shape 9",
        *(f"form 3, coder {coder}" for coder in (0, 2)), "form 3, some wide rows", "form 3, no wide rows",
        "form 4, reference", "form 4, no reference", "form 4, several positions",
        *(f"form 5, unit {unit}" for unit in range(6)),
        *(f"form 6, {width} bytes" for width in (2, 4, 8)), "form 6, order 0", "form 6, order 1",
        *(f"grid of {dtype}" for dtype in GRID_DTYPES),
        *(f"grid with {dtype} scales" for dtype in SCALE_DTYPES),
        *(f"codes in {n_lanes} lanes" for n_lanes in LANE_COUNTS),
        *(f"low-rank of {dtype}" for dtype in GRID_DTYPES), "low-rank, transposed", "low-rank, not transposed",
        "low-rank with a residual", "low-rank with pivots", "mask of kind 0", "mask of kind 1", "mask of kind 2",
        "grid of plain codes", "grid of trellis codes", "grid with a codebook", "grid, transposed",
        "grid in column tiles", "codes in one stream", "codes in several streams", "codes with escapes",
        "codes with raw bits", "several blocks", "column tiles", "stream of shape (1, n)", "no elements",
        "rank 0", "rank 1", "rank 2", "rank 3", "rank 4", "archive of a file", "archive of a folder", "lossless",
        "lossy", "several archive files", "shard index", "side file, changed", "side file, unchanged",
        "empty folder", "empty file", "segment bytes", "segment tensor",
    ]  # fmt: skip


@pytest.mark.parametrize("feature", needed_features())
def test_some_golden_uses(feature: str) -> None:
    assert feature in used_features(), (
        f"no golden archive uses: {feature}; add one to make_archive_goldens.py"
    )


def test_both_readers_know_the_same_dtypes_and_forms() -> None:
    assert {*NUMPY_TYPES, *PACKED_BITS} == set(DTYPES)
    assert set(DECODERS) == set(range(7)), (
        "a new form of a dense block needs a golden and a line in needed_features"
    )


def documented_bytes() -> bytes:
    """The hexadecimal column of the table in section 7 of the document."""
    section = FORMAT.read_text("utf-8").partition("## 7. Worked example")[2]
    data = bytearray()
    for line in section.partition("```text\n")[2].partition("```")[0].splitlines():
        offset, hexadecimal = line.split("  ")[:2]
        assert int(offset, 16) == len(data), line
        data += bytes.fromhex(hexadecimal)
    return bytes(data)


def test_worked_example_of_the_document_shows_every_byte_of_its_golden() -> None:
    assert tree(FOLDER / "worked-example") == {f"model{ENDING}": documented_bytes()}


def test_worked_example_holds_the_numbers_that_the_document_says() -> None:
    archive = read_archive(FOLDER / "worked-example")
    np.testing.assert_array_equal(archive.tensors["w"], np.float32([[0.1, 0.2, 0.3], [-0.4, 0.5, 0.6]]))
    assert archive.tensors["tied"] is archive.tensors["w"]
