"""Sources that find tensors inside a container: every byte accounted for, and no damage gets past the checks."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from sample_files import KINDS, SAMPLES
from tersor.errors import CorruptError, NewerFormatError, UnknownNameError
from tersor.sources import SOURCES, open_exact
from tersor.sources.base import ExactSource, Literal, TensorBytes
from tersor.sources.extents import MAX_GAP_BYTES, Contents, ExtentFile, Place
from tersor.types import TensorSpec


def place(name: str, begin: int, end: int) -> Place:
    return Place(TensorSpec(name, "U8", (end - begin,)), begin, end)


class Fixed(ExtentFile):
    """A file whose tensors a test names."""

    kind = "fixed"
    contents = Contents([])

    def locate(self, data: memoryview) -> Contents:
        return self.contents


def opened(path: Path, content: bytes, places: list[Place], aliases: dict[str, str] | None = None) -> Fixed:
    path.write_bytes(content)
    Fixed.contents = Contents(places, aliases or {})
    return Fixed(path)


def rebuild(source: ExactSource) -> bytes:
    return b"".join(source.segment_bytes(part) for part in source.segments())


def check_source(source: ExactSource, content: bytes) -> None:
    """What `ExactSource` promises."""
    assert rebuild(source) == content
    for spec in source.specs:
        array = source.read(spec.name)
        assert (array.shape, array.dtype) == (spec.numpy_shape, spec.numpy_dtype)
        assert array.flags.aligned
        assert not array.flags.writeable
        assert array.tobytes() == bytes(source.raw(spec.name))
        source.release(spec.name)
    named = [part.name for part in source.segments() if isinstance(part, TensorBytes)]
    assert sorted(named) == sorted({spec.name for spec in source.specs} - source.aliases.keys())


@pytest.mark.parametrize("name", SAMPLES)
def test_every_kind_restores_its_file_and_keeps_the_contract(name: str, tmp_path: Path) -> None:
    content = SAMPLES[name]()
    (tmp_path / name).write_bytes(content)
    refused: list[str] = []
    with open_exact(tmp_path / name, refused.append) as source:
        assert (source.kind, refused) == (KINDS[name], [])
        check_source(source, content)


@pytest.mark.parametrize("name", SAMPLES)
def test_truncated_file_is_refused_and_packed_as_it_is(name: str, tmp_path: Path) -> None:
    content, kind = SAMPLES[name](), SOURCES.get(KINDS[name])
    path = tmp_path / name
    for length in range(0, len(content), max(len(content) // 100, 1)):
        path.write_bytes(content[:length])
        if kind.kind != "onnx":  # a protobuf may end after any field
            with pytest.raises(CorruptError, match=name.replace(".", r"\.")):
                kind(path)
        with open_exact(path) as source:
            check_source(source, content[:length])


@pytest.mark.parametrize("name", SAMPLES)
def test_changed_bytes_never_crash_nor_lose_a_byte(name: str, tmp_path: Path) -> None:
    content, path, chance = SAMPLES[name](), tmp_path / name, random.Random(0)
    for _ in range(250):
        changed = bytearray(content)
        for _ in range(chance.choice((1, 1, 2, 8))):
            changed[chance.randrange(len(changed))] = chance.choice(
                (0, 1, 127, 128, 255, chance.randrange(256))
            )
        path.write_bytes(changed)
        with open_exact(path) as source:
            check_source(source, bytes(changed))


def test_gaps_are_literals_and_long_gaps_are_tensors(tmp_path: Path) -> None:
    content = np.random.default_rng(0).bytes(MAX_GAP_BYTES + 40)
    source = opened(tmp_path / "x", content, [place("b", 20, 30), place("a", 5, 10)])
    assert [spec.name for spec in source.specs] == ["a", "b", "bytes@30"]
    assert source.segments()[:2] == [Literal(0, 5), TensorBytes("a")]
    check_source(source, content)


def test_aliases_come_last_and_read_alike(tmp_path: Path) -> None:
    source = opened(tmp_path / "x", b"0123456789", [place("a", 5, 10)], {"b": "a"})
    assert [spec.name for spec in source.specs] == ["a", "b"]
    assert bytes(source.raw("b")) == b"56789"
    check_source(source, b"0123456789")


@pytest.mark.parametrize(
    ("places", "message"),
    [
        ([place("a", 0, 5), place("b", 4, 6)], "'b' lies at 4..6, needs 5..10"),
        ([place("a", 6, 11)], "'a' lies at 6..11"),
        ([place("a", 0, 1), place("a", 1, 2)], "two tensors are called 'a'"),
        ([Place(TensorSpec("a", "F32", (2,)), 0, 5)], "8 bytes, the file holds 5"),
        ([Place(TensorSpec("a", "F32", (0, 1 << 62, 2)), 0, 0)], "no array can have its shape"),
        ([Place(TensorSpec("a", "F32", (0,) * 65), 0, 0)], "no array can have its shape"),
    ],
)
def test_places_that_cannot_be_are_refused(places: list[Place], message: str, tmp_path: Path) -> None:
    with pytest.raises(CorruptError, match=message):
        opened(tmp_path / "x", b"0123456789", places)


def test_unknown_tensor_names_the_nearest(tmp_path: Path) -> None:
    source = opened(tmp_path / "x", b"0123456789", [place("weight", 0, 5)])
    with pytest.raises(UnknownNameError, match=r"did you mean 'weight'\?"):
        source.read("wieght")


def test_refusal_of_a_newer_kind_is_told_and_the_file_is_plain(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"GGUF\x09\0\0\0" + bytes(16))
    refused: list[str] = []
    assert open_exact(tmp_path / "x.gguf", refused.append).kind == "plain"
    assert "GGUF version 9" in refused[0]
    with pytest.raises(NewerFormatError, match="GGUF version 9"):
        SOURCES.get("gguf")(tmp_path / "x.gguf")
