from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

import tersor
from archives import bf16, random_array, small_lossy, write_archive
from damage import Parts
from tersor.archive.index import FolderRecord
from tersor.errors import CorruptError, OutputExistsError, UnknownNameError, UsageError
from tersor.packing import pack, unpack
from tersor.types import DTYPES, TensorSpec

NAME = "model.tersor.safetensors"


def weights(seed: int = 0, dtype: str = "F32") -> dict[str, np.ndarray]:
    shapes = {"embed": (3000, 64), "layer.weight": (64, 64), "layer.bias": (64,), "scale": (), "none": (0, 4)}
    return {
        name: random_array(TensorSpec(name, dtype, shape), seed + number)
        for number, (name, shape) in enumerate(shapes.items())
    }


def raw_safetensors(
    path: Path, entries: dict[str, tuple[str, tuple[int, ...], bytes]], indent: int | None = 1
) -> None:
    """A safetensors file that the official writer would not make: spaces in its header, any order, any dtype."""
    header: dict[str, object] = {"__metadata__": {"made": "by hand"}}
    position = 0
    for name, (dtype, shape, data) in entries.items():
        header[name] = {
            "data_offsets": [position, position + len(data)],
            "shape": list(shape),
            "dtype": dtype,
        }
        position += len(data)
    text = json.dumps(header, indent=indent, ensure_ascii=False).encode()
    path.write_bytes(
        len(text).to_bytes(8, "little") + text + b"".join(data for _, _, data in entries.values())
    )


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    """A folder with all that pack has to cope with."""
    folder = tmp_path / "zoo"
    for name in ("half", "shards", "deep/er/est", "nothing"):
        (folder / name).mkdir(parents=True)
    safetensors.numpy.save_file(weights(), folder / "model.safetensors", {"format": "pt"})
    safetensors.numpy.save_file(weights(0, "F16"), folder / "half" / "model.safetensors")
    safetensors.numpy.save_file(
        {"x": bf16(random_array(TensorSpec("x", "F32", (700, 900))))}, folder / "bf16.safetensors"
    )
    (folder / "config.json").write_text('{ "model_type":"bert" }')
    (folder / "half" / "config.json").write_text('{"model_type": "gpt2"}\n')
    (folder / "README.md").write_text("hello")
    (folder / "tokenizer.json").write_text("{}")
    (folder / "empty.dat").write_bytes(b"")
    (folder / "noise.dat").write_bytes(np.random.default_rng(5).bytes(70_001))
    (folder / "deep" / "er" / "est" / "text.log").write_bytes(b"all work and no play\n" * 3000)
    (folder / "model").write_bytes(b"named like the weights")
    (folder / "tersor.index").write_bytes(b"a reserved name")
    (folder / "broken.safetensors").write_bytes(b"not what it says")
    parts = [{"a": weights()["embed"]}, {"b": weights()["layer.weight"]}]
    for number, part in enumerate(parts, 1):
        safetensors.numpy.save_file(part, folder / "shards" / f"model-0000{number}-of-00002.safetensors")
    weight_map = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "shards" / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": weight_map})
    )
    dtypes = {
        name: (name, (3, 8), np.random.default_rng(1).integers(0, 2, 3 * bits, dtype=np.uint8).tobytes())
        for name, (bits, _) in DTYPES.items()
    }
    raw_safetensors(folder / "dtypes.safetensors", {**dtypes, "«ü»\n": ("I8", (2,), b"ab")})
    return folder


def tree(folder: Path) -> dict[str, bytes | None]:
    """Every file's bytes, and None for folders."""
    return {
        str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes()
        for path in folder.rglob("*")
    }


def round_trip(source: Path, work: Path, **options: object) -> dict:
    result = pack(source, work / "packed", **options)
    unpack(work / "packed", work / "back")
    assert tree(work / "back") == tree(source)
    return result


@pytest.mark.parametrize("level", ["fast", "balanced", "max"])
def test_tensors_with_many_zeros_are_stored_without_them(tmp_path: Path, level: str) -> None:
    tensors = {name: bf16(array) for name, array in weights().items()}
    pruned = random_array(TensorSpec("p", "F32", (600, 512)))
    pruned[np.random.default_rng(0).random(pruned.shape) < 0.5] = 0
    tensors["pruned"] = bf16(pruned)
    path = tmp_path / "model.safetensors"
    safetensors.numpy.save_file(tensors, path)
    result = pack(path, tmp_path / "packed", level=level)
    layouts = {row["name"]: row["layout"] for row in result["tensors"]}
    assert [name for name, layout in layouts.items() if layout == "sparse/1"] == ["pruned"]
    row = next(row for row in result["tensors"] if row["name"] == "pruned")
    assert row["n_bytes"] < 0.42 * tensors["pruned"].nbytes
    unpack(tmp_path / "packed", tmp_path / "back.safetensors")
    assert (tmp_path / "back.safetensors").read_bytes() == path.read_bytes()
    pack(path, tmp_path / "again", level=level, threads=3)
    assert (tmp_path / "again" / NAME).read_bytes() == (tmp_path / "packed" / NAME).read_bytes()


@pytest.mark.parametrize("level", ["fast", "balanced"])
def test_every_file_comes_back_byte_for_byte(zoo: Path, tmp_path: Path, level: str) -> None:
    result = round_trip(zoo, tmp_path, level=level)
    assert [line.split(":")[0] for line in result["log"]] == ["broken.safetensors"]


@pytest.mark.parametrize("codec", ["raw", "huffman", "rans", "zstd", "lzw"])
def test_every_codec_brings_all_files_back(zoo: Path, tmp_path: Path, codec: str) -> None:
    shutil.rmtree(zoo / "half")
    round_trip(zoo, tmp_path, codec=codec)


def test_archive_does_not_depend_on_the_number_of_threads(zoo: Path, tmp_path: Path) -> None:
    for threads in (1, 3):
        pack(zoo, tmp_path / f"packed{threads}", threads=threads)
    assert tree(tmp_path / "packed1") == tree(tmp_path / "packed3")


def test_archive_is_laid_out_for_loaders(zoo: Path, tmp_path: Path) -> None:
    pack(zoo, tmp_path / "packed")
    names = set(tree(tmp_path / "packed"))
    assert {
        NAME,
        "half/model.tersor.safetensors",
        "config.json",
        "tokenizer.json",
        "shards/model.tersor.safetensors.index.json",
        "shards/model-00001-of-00002.tersor.safetensors",
        "noise.dat.tersor.safetensors",
        "model-1.tersor.safetensors",
    } <= names
    assert not any(
        name.endswith((".bin", "/model.safetensors")) or name == "model.safetensors" for name in names
    )
    config = json.loads((tmp_path / "packed" / "config.json").read_bytes())
    assert config == {"model_type": "bert", "quantization_config": {"quant_method": "tersor"}}


def test_tensors_are_read_from_the_archive(zoo: Path, tmp_path: Path) -> None:
    pack(zoo, tmp_path / "packed")
    with tersor.open(tmp_path / "packed") as archive:
        for name, array in weights().items():
            assert np.array_equal(archive[name], array)
        assert archive["a"].tobytes() == weights()["embed"].tobytes()
        assert np.array_equal(archive["half/model:embed"], weights(0, "F16")["embed"])
        assert archive.specs["dtypes" if "dtypes" in archive else "BF16"].dtype == "BF16"
        assert bytes(archive["noise.dat"]) == (zoo / "noise.dat").read_bytes()


def test_verify_finds_the_packed_folder_sound(zoo: Path, tmp_path: Path) -> None:
    pack(zoo, tmp_path / "packed")
    assert tersor.verify(tmp_path / "packed", against=zoo)["problems"] == []


def test_single_file_comes_back_as_a_file(tmp_path: Path) -> None:
    safetensors.numpy.save_file(weights(), tmp_path / "a.safetensors")
    pack(tmp_path / "a.safetensors", tmp_path / "packed")
    assert sorted(tree(tmp_path / "packed")) == ["a.tersor.safetensors"]
    unpack(tmp_path / "packed", tmp_path / "b.safetensors")
    assert (tmp_path / "b.safetensors").read_bytes() == (tmp_path / "a.safetensors").read_bytes()
    unpack(tmp_path / "packed" / "a.tersor.safetensors", tmp_path / "c.safetensors")
    assert (tmp_path / "c.safetensors").read_bytes() == (tmp_path / "a.safetensors").read_bytes()


@pytest.mark.parametrize("names", [(), ("config.json", "README.md")])
def test_folder_without_anything_to_pack_comes_back(names: tuple[str, ...], tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "empty").mkdir(parents=True)
    for name in names:
        (source / name).write_text("{}")
    round_trip(source, tmp_path)


@settings(max_examples=25, deadline=None)
@given(
    files=st.dictionaries(
        st.text("abc.é", min_size=1, max_size=6).filter(lambda name: name.strip(".")),
        st.binary(max_size=400),
        max_size=4,
    )
)
def test_any_small_files_come_back(files: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> None:
    work = tmp_path_factory.mktemp("any")
    (work / "source").mkdir()
    for name, data in files.items():
        (work / "source" / name).write_bytes(data)
    round_trip(work / "source", work)


def test_header_with_spaces_and_any_order_comes_back(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    raw_safetensors(
        source / "z.safetensors", {"b": ("F32", (3,), b"0123" * 3), "a": ("U8", (1,), b"5")}, indent=4
    )
    round_trip(source, tmp_path)
    with tersor.open(tmp_path / "packed") as archive:
        assert list(archive) == ["b", "a"]


@pytest.mark.parametrize("name", ["tersor.index", "deep"])
def test_tensor_that_the_format_cannot_hold_makes_the_file_plain(name: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    shape = (1,) * 33 if name == "deep" else (1,)
    raw_safetensors(source / "model.safetensors", {name: ("U8", shape, b"5"), "other": ("U8", (1,), b"6")})
    result = round_trip(source, tmp_path)
    assert "packed as plain bytes" in result["log"][0]
    assert [row["name"] for row in result["tensors"]] == ["model.safetensors"]


def test_gaps_between_tensors_come_back(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    entries = {"a": {"dtype": "U8", "shape": [2], "data_offsets": [3, 5]}}
    text = json.dumps(entries).encode()
    (source / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + b"gapXYtail")
    round_trip(source, tmp_path)
    with tersor.open(tmp_path / "packed") as archive:
        assert bytes(archive["a"]) == b"XY"


def test_equal_tensors_are_stored_once(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    embed = weights()["embed"]
    safetensors.numpy.save_file({"embed": embed, "head": embed.copy()}, source / "model.safetensors")
    result = round_trip(source, tmp_path)
    assert sorted(row["layout"] for row in result["tensors"]) == ["alias/1", "dense/1"]


def test_links_are_packed_as_the_files_they_lead_to(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    safetensors.numpy.save_file(weights(), tmp_path / "blob")
    os.symlink(tmp_path / "blob", source / "model.safetensors")
    round_trip(source, tmp_path)


def test_config_that_is_no_json_comes_back(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    safetensors.numpy.save_file(weights(), source / "model.safetensors")
    (source / "config.json").write_bytes(b"\xff{")
    result = round_trip(source, tmp_path)
    assert result["log"][0].startswith("config.json:")


def test_result_counts_all_bytes_and_parameters(zoo: Path, tmp_path: Path) -> None:
    result = pack(zoo, tmp_path / "packed")
    packed = list((tmp_path / "packed").rglob("*.tersor.safetensors"))
    assert result["output"]["n_bytes"] == sum(path.stat().st_size for path in packed)
    assert result["output"]["ratio"] == result["output"]["n_bytes"] / result["input"]["n_bytes"]
    assert result["input"]["path"] == str(zoo)
    assert result["peak_rss_bytes"] > 1 << 20
    assert json.loads(json.dumps(result)) == result


def test_progress_ends_at_all_bytes(zoo: Path, tmp_path: Path) -> None:
    for work in (
        lambda report: pack(zoo, tmp_path / "packed", progress=report),
        lambda report: unpack(tmp_path / "packed", tmp_path / "back", progress=report),
    ):
        calls: list[tuple[int, int]] = []
        work(lambda done, total, calls=calls: calls.append((done, total)))
        assert calls[-1][0] == calls[-1][1]
        assert [done for done, _ in calls] == sorted(done for done, _ in calls)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [("level", "fats", "did you mean 'fast'"), ("codec", "hufman", "did you mean 'huffman'")],
)
def test_unknown_option_names_the_nearest(option: str, value: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=message):
        pack(tmp_path, tmp_path / "out", **{option: value})


def test_existing_output_is_left_alone(zoo: Path, tmp_path: Path) -> None:
    pack(zoo, tmp_path / "packed")
    before = tree(tmp_path / "packed")
    with pytest.raises(OutputExistsError):
        pack(zoo / "half", tmp_path / "packed")
    assert tree(tmp_path / "packed") == before
    pack(zoo / "half", tmp_path / "packed", force=True)
    assert tree(tmp_path / "packed") != before


def test_lossy_archive_cannot_be_unpacked(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    write_archive(tmp_path / "out" / NAME, small_lossy(), folder=FolderRecord(False, [], [], [], False))
    with pytest.raises(UsageError, match=r"tersor\.load"):
        unpack(tmp_path / "out", tmp_path / "back")


def test_one_file_of_a_folder_cannot_be_unpacked_alone(zoo: Path, tmp_path: Path) -> None:
    pack(zoo, tmp_path / "packed")
    for name in (NAME, "noise.dat.tersor.safetensors"):
        with pytest.raises(UsageError, match="give the folder"):
            unpack(tmp_path / "packed" / name, tmp_path / "back")


def damage_index(path: Path, change) -> None:
    parts = Parts.of(path.read_bytes())
    change(parts.index)
    path.write_bytes(parts.join())


def set_hash(index: list) -> None:
    index[5][0][2] = bytes(32)


def set_length(index: list) -> None:
    index[5][0][1] += 1


def set_twice(index: list) -> None:
    index[7][2].append(["model.safetensors", 0, bytes(32), b""])


def set_inside(index: list) -> None:
    index[7][2].append(["model.safetensors/x", 0, bytes(32), b""])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_hash, "SHA-256"),
        (set_length, "its pieces are"),
        (set_twice, "one path twice"),
        (set_inside, "both as a file and as a folder"),
    ],
)
def test_damaged_archive_leaves_no_output(change, message: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    safetensors.numpy.save_file(weights(), source / "model.safetensors")
    pack(source, tmp_path / "packed")
    damage_index(tmp_path / "packed" / NAME, change)
    with pytest.raises(CorruptError, match=message):
        unpack(tmp_path / "packed", tmp_path / "back")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["packed", "source"]


def test_changed_side_file_raises_corrupt(zoo: Path, tmp_path: Path) -> None:
    pack(zoo, tmp_path / "packed")
    (tmp_path / "packed" / "README.md").write_text("jello")
    with pytest.raises(CorruptError, match=r"README\.md"):
        unpack(tmp_path / "packed", tmp_path / "back")
    assert not (tmp_path / "back").exists()


def run_python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True)


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "noise.dat").write_bytes(np.random.default_rng(0).bytes(8 << 20))
    return tmp_path / "source"


def test_full_disk_raises_output_error_and_leaves_nothing(noise: Path, tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys, tersor;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20));"
        "tersor.pack(sys.argv[1], sys.argv[2])"
    )
    done = run_python(code, noise, tmp_path / "packed")
    assert "tersor.errors.OutputError" in done.stderr.splitlines()[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_killed_pack_leaves_no_output_and_the_next_run_no_trace(noise: Path, tmp_path: Path) -> None:
    code = (
        "import os, signal, sys, tersor;"
        "tersor.pack(sys.argv[1], sys.argv[2], progress=lambda done, total: os.kill(os.getpid(), signal.SIGKILL))"
    )
    assert run_python(code, noise, tmp_path / "packed").returncode == -signal.SIGKILL
    assert not (tmp_path / "packed").exists()
    pack(noise, tmp_path / "packed")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["packed", "source"]


def test_interrupted_unpack_leaves_nothing(noise: Path, tmp_path: Path) -> None:
    pack(noise, tmp_path / "packed")

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unpack(tmp_path / "packed", tmp_path / "back", progress=interrupt)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["packed", "source"]
