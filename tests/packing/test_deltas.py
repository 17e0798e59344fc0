"""`pack --base`: what is stored against the base, how the base is found, and that no wrong one is used."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from click.testing import CliRunner

import tersor
from archives import random_array
from damage import Parts
from tersor.archive.base_model import identity, open_base_model
from tersor.cli.app import group
from tersor.errors import CorruptError, UsageError
from tersor.types import TensorSpec

Tensors = dict[str, np.ndarray]
NAME = "model.tersor.safetensors"


def base_tensors() -> Tensors:
    shapes = {"bert.embed.weight": (400, 64), "bert.layer.weight": (128, 64), "bert.layer.bias": (64,)}
    tensors = {name: random_array(TensorSpec(name, "F32", shape), 3) for name, shape in shapes.items()}
    return {**tensors, "bert.ids": np.arange(512)}


def tuned_tensors(prefix: str = "bert.") -> Tensors:
    """The base, its embedding and layer moved a little, and a new head."""
    tensors = {name.replace("bert.", prefix): array for name, array in base_tensors().items()}
    for number, name in enumerate(("embed.weight", "layer.weight")):
        update = np.random.default_rng(number).standard_normal(tensors[prefix + name].shape) * 3e-5
        tensors[prefix + name] = (tensors[prefix + name] + update).astype(np.float32)
    return {**tensors, "classifier.weight": random_array(TensorSpec("c", "F32", (7, 64)), 9)}


def save(folder: Path, tensors: Tensors) -> Path:
    folder.mkdir(parents=True)
    safetensors.numpy.save_file(tensors, folder / "model.safetensors")
    return folder


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TERSOR_BASE", raising=False)


@pytest.fixture
def models(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Base, tuned model, and where the packed one goes."""
    return (
        save(tmp_path / "base", base_tensors()),
        save(tmp_path / "tuned", tuned_tensors()),
        tmp_path / "packed",
    )


def stored(path: Path) -> dict[str, str]:
    return {
        row["name"]: row["codec"] for row in tersor.inspect(path)["tensors"] if row["layout"] == "delta/1"
    }


def assert_restores(packed: Path, original: Path, **options: Any) -> None:
    output = packed.with_name(packed.name + "-restored")
    tersor.unpack(packed, output, **options)
    assert (output / "model.safetensors").read_bytes() == (original / "model.safetensors").read_bytes()


@pytest.mark.parametrize("level", ["fast", "balanced"])
def test_what_is_smaller_against_the_base_is_stored_so_and_all_is_restored(
    models: tuple[Path, Path, Path], level: str
) -> None:
    base, tuned, packed = models
    result = tersor.pack(tuned, packed, base=base, level=level)
    alone = tersor.pack(tuned, packed.with_name("alone"), level=level)
    assert result["output"]["n_bytes"] < 0.9 * alone["output"]["n_bytes"]
    assert stored(packed) == {
        "bert.embed.weight": "difference of bert.embed.weight",
        "bert.layer.weight": "difference of bert.layer.weight",
        "bert.layer.bias": "equal of bert.layer.bias",
        "bert.ids": "equal of bert.ids",
    }
    assert_restores(packed, tuned)
    assert tersor.verify(packed)["ok"]


def test_names_that_differ_by_a_prefix_are_matched(tmp_path: Path) -> None:
    base, tuned = save(tmp_path / "b", base_tensors()), save(tmp_path / "t", tuned_tensors("model.text."))
    tersor.pack(tuned, tmp_path / "packed", base=base)
    assert stored(tmp_path / "packed")["model.text.layer.weight"] == "difference of bert.layer.weight"
    assert_restores(tmp_path / "packed", tuned)


def test_equal_tensors_cost_under_64_bytes_of_index_and_no_stream(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    names = [f"encoder.layer.{layer}.{part}.weight" for layer in range(50) for part in ("query", "key")]
    model = save(tmp_path / "m", {name: rng.random((32, 32), np.float32) for name in names})
    tersor.pack(model, tmp_path / "p", base=model)
    parts = Parts.of((tmp_path / "p" / NAME).read_bytes())
    assert len(stored(tmp_path / "p")) == len(names)
    assert sum(row["n_bytes"] for row in tersor.inspect(tmp_path / "p")["tensors"]) == 0
    assert parts.header["tersor.index"]["data_offsets"][1] / len(names) < 64


def test_a_tensor_that_the_base_does_not_help_is_stored_by_itself(tmp_path: Path) -> None:
    base = save(tmp_path / "b", {"w.weight": random_array(TensorSpec("w", "F32", (200, 64)), 1)})
    other = save(tmp_path / "o", {"w.weight": random_array(TensorSpec("w", "F32", (200, 64)), 2)})
    tersor.pack(other, tmp_path / "p", base=base)
    assert stored(tmp_path / "p") == {}
    assert tersor.inspect(tmp_path / "p")["base"] is None
    shutil.rmtree(base)
    assert_restores(tmp_path / "p", other)


def test_rows_are_read_from_the_archive_and_the_base(models: tuple[Path, Path, Path]) -> None:
    base, tuned, packed = models
    tersor.pack(tuned, packed, base=base)
    with tersor.open(packed) as archive:
        for name, array in tuned_tensors().items():
            np.testing.assert_array_equal(archive[name], array)
        part = archive.read("bert.embed.weight", rows=slice(11, 77), columns=slice(3, 9))
        np.testing.assert_array_equal(part, tuned_tensors()["bert.embed.weight"][11:77, 3:9])


def test_base_may_be_an_archive_and_has_the_same_content_hash(models: tuple[Path, Path, Path]) -> None:
    base, tuned, packed = models
    packed_base = packed.with_name("packed-base")
    tersor.pack(base, packed_base)
    plain, archived = open_base_model(base), open_base_model(packed_base)
    assert identity(plain) == identity(archived)
    tersor.pack(tuned, packed, base=packed_base)
    assert tersor.inspect(packed)["base"] == {"path": "../packed-base", "blake3": identity(plain).hex()}
    plain.close()
    archived.close()
    assert_restores(packed, tuned)
    assert tersor.verify(packed, base=base)["ok"]


def test_moved_base_is_found_by_argument_or_environment_or_named_by_its_hash(
    models: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    base, tuned, packed = models
    tersor.pack(tuned, packed, base=base)
    moved = base.rename(base.with_name("elsewhere"))
    needed = tersor.inspect(packed)["base"]["blake3"]
    for call in (lambda: tersor.unpack(packed, packed.with_name("x")), lambda: tersor.verify(packed)):
        with pytest.raises(UsageError, match=f"{needed}; it is not at .*base; give it with --base PATH"):
            call()
    assert not packed.with_name("x").exists()
    with tersor.open(packed) as archive, pytest.raises(UsageError, match=needed):
        archive["bert.layer.bias"]
    assert_restores(packed, tuned, base=moved)
    monkeypatch.setenv("TERSOR_BASE", str(moved))
    assert tersor.verify(packed)["ok"]


def test_wrong_base_is_refused_by_the_hash_of_its_tensor(models: tuple[Path, Path, Path]) -> None:
    base, tuned, packed = models
    tersor.pack(tuned, packed, base=base)
    wrong = save(
        packed.with_name("wrong"), {**base_tensors(), "bert.layer.weight": np.ones((128, 64), np.float32)}
    )
    with pytest.raises(
        UsageError, match=r"is not that base: BLAKE3 of tensor 'bert\.layer\.weight' is .*, needs"
    ):
        tersor.verify(packed, base=wrong)
    other_shape = save(packed.with_name("shape"), {"bert.layer.weight": np.ones((64, 128), np.float32)})
    with (
        tersor.open(packed, base=other_shape) as archive,
        pytest.raises(UsageError, match=r"is F32 \[64, 128\] there, needs F32 \[128, 64\]"),
    ):
        archive["bert.layer.weight"]


def test_an_archive_that_needs_a_base_is_no_base(models: tuple[Path, Path, Path]) -> None:
    base, tuned, packed = models
    tersor.pack(tuned, packed, base=base)
    with pytest.raises(UsageError, match="a base must stand alone"):
        tersor.pack(tuned, packed.with_name("second"), base=packed)
    with pytest.raises(UsageError, match="a base must stand alone"):
        tersor.verify(packed, base=packed)


def test_threads_and_repetition_change_no_byte(models: tuple[Path, Path, Path]) -> None:
    base, tuned, packed = models
    tersor.pack(tuned, packed, base=base)
    first = (packed / NAME).read_bytes()
    tersor.pack(tuned, packed, base=base, threads=3, force=True)
    assert (packed / NAME).read_bytes() == first


@pytest.mark.parametrize(
    ("hint", "message"),
    [("/etc/base", "needs a relative one"), ("a\0b", "needs a relative one"), ("x" * 5000, "hint|length")],
)
def test_hostile_path_of_the_base_is_corrupt(
    models: tuple[Path, Path, Path], hint: str, message: str
) -> None:
    base, tuned, packed = models
    tersor.pack(tuned, packed, base=base)
    parts = Parts.of((packed / NAME).read_bytes())
    parts.index[8][0] = hint
    (packed / NAME).write_bytes(parts.join())
    with pytest.raises(CorruptError, match=message):
        tersor.open(packed)


@pytest.mark.parametrize("field", [3, 4, 6, 8])
def test_forged_equal_tensor_is_corrupt(models: tuple[Path, Path, Path], field: int) -> None:
    base, tuned, packed = models
    tersor.pack(tuned, packed, base=base)
    parts = Parts.of((packed / NAME).read_bytes())
    [number] = [n for n, record in enumerate(parts.index[4]) if record[1] == [64]]
    parts.index[4][number][field] = {3: [0, None, b"x" * 16], 4: None, 6: 1, 8: b"\x01"}[field]
    (packed / NAME).write_bytes(parts.join())
    with tersor.open(packed) as archive, pytest.raises(CorruptError):
        archive["bert.layer.bias"]


def test_command_line_takes_the_base(models: tuple[Path, Path, Path]) -> None:
    base, tuned, packed = models
    restored = packed.with_name("restored")
    for words in (
        ["pack", str(tuned), "-o", str(packed), "--base", str(base)],
        ["verify", str(packed), "--base", str(base)],
        ["unpack", str(packed), "-o", str(restored), "--base", str(base)],
    ):
        result = CliRunner().invoke(group, words)
        assert result.exit_code == 0, result.output
    assert (restored / "model.safetensors").read_bytes() == (tuned / "model.safetensors").read_bytes()
