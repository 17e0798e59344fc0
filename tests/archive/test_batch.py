from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from archives import every_dtype, random_array, small_lossy, write_archive
from damage import BytesRanges, open_bytes
from tersor import _core, pack
from tersor.archive import open_archive
from tersor.archive.batch import read_whole
from tersor.archive.file import ArchiveFile
from tersor.archive.reader import Archive
from tersor.errors import CorruptError, NewerFormatError, ShapeError, UnknownNameError, UsageError
from tersor.layouts import Dense
from tersor.types import TensorSpec

NAME = "model.tersor.safetensors"
LEVELS = ("fast", "balanced", "max")
FLOATS = {"bf16": ml_dtypes.bfloat16, "f16": np.float16, "f32": np.float32}


def float_tensors() -> dict[str, np.ndarray]:
    """Weights in every float type that has a coder, with what makes coders take other ways."""
    generator = np.random.default_rng(0)
    tensors: dict[str, np.ndarray] = {}
    for name, dtype in FLOATS.items():
        scale = np.exp(generator.standard_normal((128, 1)) * 0.5) * np.exp(
            generator.standard_normal(160) * 0.3
        )
        weight = (generator.standard_normal((128, 160)) * 0.02 * scale).astype(dtype)
        weight[5, :7] = 1e4  # far from the others of its row: escapes
        tensors[f"{name}.weight"] = weight
        tensors[f"{name}.bias"] = (generator.standard_normal(160) * 0.01).astype(dtype)
        tensors[f"{name}.ones"] = np.ones(160, dtype)
    exact = generator.standard_normal((96, 160)).astype(np.float16).astype(np.float32)
    tensors["f32.narrow"] = np.concatenate((exact, generator.standard_normal((32, 160)).astype(np.float32)))
    tensors["positions"] = np.arange(512, dtype=np.int64)
    return tensors


@pytest.fixture(scope="module", params=LEVELS)
def packed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """A packed file of one level, and its tensors."""
    folder = tmp_path_factory.mktemp(request.param)
    tensors = float_tensors()
    save_file(tensors, folder / "model.safetensors")
    pack(folder / "model.safetensors", folder / "packed", level=request.param)
    return folder / "packed" / NAME, tensors


def bytes_of(arrays: dict[str, np.ndarray]) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in arrays.items()}


@pytest.mark.parametrize("isa", _core.available_isas())
@pytest.mark.parametrize("threads", [1, 3])
def test_all_tensors_come_back(packed, isa: str, threads: int) -> None:
    path, tensors = packed
    before = _core.isa()
    _core.use_isa(isa)
    try:
        with open_archive(path) as archive:
            found = archive.read_all(threads=threads)
    finally:
        _core.use_isa(before)
    assert bytes_of(found) == bytes_of(tensors)
    assert {name: (array.dtype, array.shape) for name, array in found.items()} == {
        name: (array.dtype, array.shape) for name, array in tensors.items()
    }


def test_float_blocks_are_decoded_by_the_compiled_decoder(packed) -> None:
    path, tensors = packed
    batch = _core.DenseBatch()
    with open_archive(path) as archive:
        for name in tensors:
            tensor = archive.tensor(name)
            out = np.empty(tensor.spec.n_bytes, np.uint8)
            batch.add(tensor.compiled, 0, len(tensor.table), tensor.payloads(0, len(tensor.table)), out)
        batch.arrange(largest_first=False)
        batch.run()
        left = [list(tensors)[number] for number, _ in batch.left()]
    assert not [name for name in left if name.endswith("weight") or name == "f32.narrow"]


@pytest.mark.parametrize("make", [every_dtype, small_lossy])
def test_reading_all_is_reading_each(make, tmp_path: Path) -> None:
    write_archive(tmp_path / NAME, make())
    with open_archive(tmp_path / NAME) as archive:
        each = {name: archive.read(name) for name in archive}
        for threads in (1, 2):
            found = archive.read_all(threads=threads)
            assert list(found) == list(each)
            assert bytes_of(found) == bytes_of(each)
            assert all(found[name].shape == array.shape for name, array in each.items())


def test_tied_tensors_are_one_array_unless_out_says_otherwise(tmp_path: Path) -> None:
    write_archive(tmp_path / NAME, small_lossy())
    with open_archive(tmp_path / NAME) as archive:
        ((tie, target),) = archive.aliases.items()
        found = archive.read_all()
        assert found[tie] is found[target]
        out = {name: np.zeros_like(found[target]) for name in (tie, target)}
        assert archive.read_all(out=out)[tie] is out[tie]
        assert bytes_of(out) == {name: found[target].tobytes() for name in out}


def test_names_choose_and_order(packed) -> None:
    path, tensors = packed
    names = ["positions", "bf16.weight", "positions"]
    with open_archive(path) as archive:
        found = archive.read_all(names)
        assert list(found) == ["positions", "bf16.weight"]
        assert bytes_of(found) == {name: tensors[name].tobytes() for name in found}
        out = {name: np.ones_like(tensors[name]) for name in tensors}
        assert list(archive.read_all(["f16.bias"], out=out)) == ["f16.bias"]
        assert out["f32.bias"].tobytes() != tensors["f32.bias"].tobytes()
        assert archive.read_all([]) == {}


def test_bad_arguments_say_what_is_needed(packed) -> None:
    path, tensors = packed
    with open_archive(path) as archive:
        with pytest.raises(UnknownNameError, match=r"did you mean 'bf16.bias'"):
            archive.read_all(["bf16.biass"])
        with pytest.raises(UsageError, match=r"out has no array for tensor 'f16.bias'"):
            archive.read_all(["f16.bias"], out={})
        with pytest.raises(
            ShapeError, match=r"tensor 'f16.bias': out is \[3\] float16, needs \[160\] float16"
        ):
            archive.read_all(out={"f16.bias": np.empty(3, np.float16)})
        frozen = np.empty_like(tensors["f16.bias"])
        frozen.flags.writeable = False
        with pytest.raises(ShapeError, match="writeable"):
            archive.read_all(out={"f16.bias": frozen})


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_changed_byte_of_a_block_is_found_or_means_nothing(packed, data: st.DataObject) -> None:
    """What means nothing: a row length beyond the block's words, say, which stands for one row as any longer does."""
    path, tensors = packed
    file_bytes = bytearray(path.read_bytes())
    with open_bytes(bytes(file_bytes)) as archive:
        name = data.draw(st.sampled_from(sorted(tensors)))
        tensor = archive.tensor(name)
        n_stream = int(tensor.table.offsets[-1])
        begin = tensor._begin
    at = begin + data.draw(st.integers(0, n_stream - 1))
    file_bytes[at] ^= data.draw(st.integers(1, 255))
    with open_bytes(bytes(file_bytes)) as archive:
        found: dict[str, np.ndarray] = {}
        message = f"tensor '{name}'"
        try:
            found = archive.read_all(threads=data.draw(st.integers(1, 2)))
        except (CorruptError, NewerFormatError) as exc:
            message = str(exc)
        assert f"tensor '{name}'" in message
        assert found == {} or bytes_of(found) == {key: array.tobytes() for key, array in tensors.items()}
        rest = archive.read_all([other for other in tensors if other != name])
    assert bytes_of(rest) == {other: array.tobytes() for other, array in tensors.items() if other != name}


def test_the_first_damaged_block_is_named(tmp_path: Path) -> None:
    spec = TensorSpec("weight", "BF16", (9000, 128))
    write_archive(tmp_path / NAME, {spec: Dense(random_array(spec))})
    file_bytes = bytearray((tmp_path / NAME).read_bytes())
    with open_bytes(bytes(file_bytes)) as archive:
        tensor = archive.tensor("weight")
        assert len(tensor.table) == 3
        for number in (2, 1):
            file_bytes[tensor._begin + int(tensor.table.offsets[number]) + 500] ^= 1
    with open_bytes(bytes(file_bytes)) as archive:
        for threads in (1, 2):
            with pytest.raises(CorruptError, match="block 1 of 3: tensor 'weight', block at row 3000"):
                archive.read_all(threads=threads)
            with pytest.raises(CorruptError, match="block 1 of 3: tensor 'weight', block at row 3000"):
                archive.read("weight", threads=threads)


def test_remote_tensors_come_in_runs(packed) -> None:
    path, tensors = packed
    ranges = BytesRanges(path.read_bytes())
    ranges.is_remote = True
    with Archive(Path(NAME), [ArchiveFile(ranges)]) as archive:  # type: ignore[arg-type]
        assert bytes_of(archive.read_all(threads=2)) == bytes_of(tensors)


def test_arrays_that_are_no_multiple_of_an_element_away_are_filled(packed) -> None:
    path, tensors = packed
    memory = np.empty(tensors["bf16.weight"].nbytes + 1, np.uint8)
    odd = memory[1:].view(ml_dtypes.bfloat16).reshape(tensors["bf16.weight"].shape)
    with open_archive(path) as archive:
        read_whole([(archive.tensor("bf16.weight"), odd)])
    assert odd.tobytes() == tensors["bf16.weight"].tobytes()


def test_numbers_that_do_not_fit_are_refused() -> None:
    tables = _core.DenseTables(None, None, None, None, [2], 0, 8, 9)
    offsets, checksums = np.array([0, 6], np.int64), np.zeros(1, np.uint32)

    def tensor(*, rows: int = 2, block_rows: int = 2, ends: np.ndarray = offsets, columns=None):
        return _core.DenseTensor(tables, rows, 2, 1, block_rows, 2, ends, checksums, columns, columns)

    sound = tensor()
    for wrong in (
        {"rows": 3},
        {"block_rows": 0},
        {"block_rows": 3},
        {"ends": offsets[::-1].copy()},
        {"ends": offsets[:1]},
        {"ends": offsets - 7},
        {"columns": np.zeros((1, 3), np.int32)},
        {"columns": np.zeros((3, 2), np.int32)},
        {"columns": np.full((1, 2), 10, np.int32)},
    ):
        with pytest.raises(ValueError, match=r"dense tensor|offsets"):
            tensor(**wrong)
    payload, out = np.array([0, 0, 1, 2, 3, 4], np.uint8), np.zeros((2, 2), np.uint8)
    for number, wrong_out in (
        (1, out),
        (0, np.zeros((2, 3), np.uint8)),
        (0, np.zeros((2, 4), np.uint8)[:, ::2]),
    ):
        with pytest.raises(ValueError, match=r"block number|out"):
            sound.decode(number, payload, wrong_out)
    for first, end, n_payload, n_out in ((0, 2, 6, 4), (1, 0, 6, 4), (0, 1, 5, 4), (0, 1, 6, 3)):
        with pytest.raises(ValueError, match="dense batch"):
            _core.DenseBatch().add(sound, first, end, payload[:n_payload], np.zeros(n_out, np.uint8))


def test_a_wrong_checksum_leaves_a_block() -> None:
    tables = _core.DenseTables(None, None, None, None, [2], 0, 8, 9)
    payload, out = np.array([0, 0, 1, 2, 3, 4], np.uint8), np.zeros((2, 2), np.uint8)
    crc = _core.crc32c(payload[2:])
    for checksum, is_right in ((crc, True), (crc ^ 1, False)):
        ends, sums = np.array([9, 15], np.int64), np.array([checksum], np.uint32)
        tensor = _core.DenseTensor(tables, 2, 2, 1, 2, 2, ends, sums, None, None)
        assert tensor.decode(0, payload, out) is is_right
        batch = _core.DenseBatch()
        batch.add(tensor, 0, 1, payload, out.reshape(-1))
        batch.arrange(largest_first=True)
        batch.run()
        assert batch.left() == ([] if is_right else [(0, 0)])
    assert out.tolist() == [[1, 2], [3, 4]]
