"""GGUF files: tensors by name, quantized ones as blocks, and limits on everything the head says."""

from __future__ import annotations

import struct
import time
from pathlib import Path

import pytest

from sample_files import GGUF_METADATA, every_gguf_type, gguf_file, gguf_string, random_bytes
from tersor.errors import CorruptError, NewerFormatError, UnknownNameError
from tersor.sources.gguf import GgufFile, gguf_block_fields
from tersor.sources.gguf_types import BLOCK_TYPES

# ggml's type_size of each block, from the table in its documentation.
BLOCK_BYTES = {
    "Q4_0": 18,
    "Q4_1": 20,
    "Q5_0": 22,
    "Q5_1": 24,
    "Q8_0": 34,
    "Q8_1": 36,
    "Q2_K": 84,
    "Q3_K": 110,
}
BLOCK_BYTES |= {
    "Q4_K": 144,
    "Q5_K": 176,
    "Q6_K": 210,
    "Q8_K": 292,
    "IQ2_XXS": 66,
    "IQ2_XS": 74,
    "IQ3_XXS": 98,
}
BLOCK_BYTES |= {"IQ1_S": 50, "IQ4_NL": 18, "IQ3_S": 110, "IQ2_S": 82, "IQ4_XS": 136, "IQ1_M": 56}
BLOCK_BYTES |= {"TQ1_0": 54, "TQ2_0": 66, "MXFP4": 17}


def opened(content: bytes, tmp_path: Path) -> GgufFile:
    (tmp_path / "x.gguf").write_bytes(content)
    return GgufFile(tmp_path / "x.gguf")


@pytest.mark.parametrize("version", [2, 3])
def test_tensors_are_found_with_their_bytes(version: int, tmp_path: Path) -> None:
    tensors = every_gguf_type()
    file = opened(gguf_file(tensors, version=version), tmp_path)
    assert [spec.name for spec in file.specs] == [name for name, *_ in tensors]
    for name, _, _, content in tensors:
        assert bytes(file.raw(name)) == content
    assert (file.spec("float").dtype, file.spec("float").shape) == ("F32", (3, 4))
    assert file.spec("half").dtype == "BF16"


def test_quantized_tensor_is_rows_of_blocks(tmp_path: Path) -> None:
    file = opened(gguf_file(every_gguf_type()), tmp_path)
    assert (file.spec("Q4_1").dtype, file.spec("Q4_1").shape) == ("U8", (6, 20))
    assert file.block_types["Q6_K"] == "Q6_K"
    assert "float" not in file.block_types


@pytest.mark.parametrize("name", BLOCK_BYTES)
def test_fields_of_a_block_cover_it(name: str) -> None:
    fields = gguf_block_fields(name)
    assert [at for field in fields for at in field.positions] == list(range(BLOCK_BYTES[name]))
    assert {field.kind for field in fields} <= {
        "scale",
        "min",
        "scales",
        "sum",
        "codes",
        "high_bits",
        "signs",
    }


def test_every_block_type_is_checked_here() -> None:
    assert {block.name for block in BLOCK_TYPES.values()} == set(BLOCK_BYTES)


def test_unknown_block_type_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"did you mean 'Q4_K'\?"):
        gguf_block_fields("Q4_KM")


def test_default_alignment_is_32(tmp_path: Path) -> None:
    content = gguf_file([("a", (3,), 0, random_bytes(12))], metadata=(), alignment=32)
    assert opened(content, tmp_path).extents["a"][0] % 32 == 0


def entry(value: bytes) -> tuple[bytes, ...]:
    return (gguf_string("key") + value,)


NESTED = struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 9 + struct.pack("<IQ", 0, 0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"GGUX" + bytes(20), "does not start with GGUF"),
        (b"GGUF\3\0\0\0" + struct.pack("<QQ", 1 << 40, 0), "1099511627776 tensors"),
        (b"GGUF\3\0\0\0" + struct.pack("<QQ", 0, 1 << 40), "more than 4194304 metadata values"),
        (gguf_file([], metadata=entry(struct.pack("<I", 77))), "metadata of type 77"),
        (gguf_file([], metadata=entry(struct.pack("<IQ", 8, 1 << 60))), "outside the file"),
        (gguf_file([], metadata=entry(struct.pack("<IIQ", 9, 10, 1 << 62))), "outside the file"),
        (gguf_file([], metadata=entry(struct.pack("<IIQ", 9, 8, 1 << 62))), "metadata values"),
        (gguf_file([], metadata=entry(NESTED)), "nested too deep"),
        (gguf_file([], metadata=(struct.pack("<Q", 1 << 20),)), "a name of 1048576 bytes"),
        (gguf_file([], metadata=(struct.pack("<Q", 1) + b"\xff" + bytes(8),)), "not UTF-8"),
        (
            gguf_file([], metadata=(gguf_string("general.alignment") + struct.pack("<II", 4, 0),)),
            "alignment is 0",
        ),
        (gguf_file([("a", (1,) * 5, 0, bytes(4))]), "has 5 dimensions"),
        (gguf_file([("a", (31,), 2, bytes(18))]), "no multiple of the 32"),
        (gguf_file([("a", (1 << 62, 4), 0, bytes(4))]), "no array can have its shape"),
        (gguf_file([("a", (4,), 0, bytes(4))]), "needs 64..|lies at"),
        (gguf_file([("a", (1,), 0, bytes(4)), ("a", (1,), 0, bytes(4))]), "two tensors are called 'a'"),
        (gguf_file([("a", (4,), 0, bytes(16))], alignment=8), "lies at|holds"),
    ],
)
def test_heads_that_lie_are_refused(content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(CorruptError, match=message):
        opened(content, tmp_path)


def test_offset_off_the_alignment_is_refused(tmp_path: Path) -> None:
    tensors = [("a", (1,), 0, bytes(4)), ("b", (1,), 0, bytes(4))]
    content = gguf_file(tensors, metadata=GGUF_METADATA, alignment=16)
    with pytest.raises(CorruptError, match="no multiple of the alignment 64"):
        opened(content, tmp_path)


def test_unknown_type_needs_a_newer_tersor(tmp_path: Path) -> None:
    with pytest.raises(NewerFormatError, match="'a' has GGUF type 99"):
        opened(gguf_file([("a", (4,), 99, bytes(4))]), tmp_path)


def test_large_vocabulary_is_walked_fast_and_becomes_a_tensor(tmp_path: Path) -> None:
    tokens = gguf_string("tokens") + struct.pack("<IIQ", 9, 8, 50_000)
    tokens += b"".join(gguf_string(f"token{number}") for number in range(50_000))
    started = time.perf_counter()
    file = opened(gguf_file([("a", (1,), 0, bytes(4))], metadata=(tokens,), alignment=32), tmp_path)
    assert time.perf_counter() - started < 5
    assert [spec.name for spec in file.specs] == ["bytes@0", "a"]
