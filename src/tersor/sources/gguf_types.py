"""GGUF's element types: plain ones by their safetensors names, quantized ones by the parts of a block.

Source of the blocks: ggml-common.h of ggml (structs block_q4_0 ... block_mxfp4).
"""

from __future__ import annotations

from dataclasses import dataclass

from tersor.errors import UnknownNameError
from tersor.registry import did_you_mean

PLAIN_TYPES: dict[int, str] = {
    0: "F32",
    1: "F16",
    24: "I8",
    25: "I16",
    26: "I32",
    27: "I64",
    28: "F64",
    30: "BF16",
}


@dataclass(frozen=True, slots=True)
class BlockField:
    """Bytes of a block that mean one thing.

    kind: "scale", "min" or "sum" of the block (mostly a float16), "scales" of its parts (packed numbers of 4 to 8
        bits), "codes", "high_bits" of the codes, "signs".
    """

    kind: str
    begin: int
    n_bytes: int

    @property
    def positions(self) -> range:
        return range(self.begin, self.begin + self.n_bytes)


@dataclass(frozen=True, slots=True)
class BlockType:
    """A quantized type: blocks of n_elements in n_bytes, cut into fields from first to last byte."""

    name: str
    n_elements: int
    fields: tuple[BlockField, ...]

    @property
    def n_bytes(self) -> int:
        return sum(field.n_bytes for field in self.fields)


def _block(name: str, n_elements: int, *parts: tuple[str, int]) -> BlockType:
    fields: list[BlockField] = []
    position = 0
    for kind, n_bytes in parts:
        fields.append(BlockField(kind, position, n_bytes))
        position += n_bytes
    return BlockType(name, n_elements, tuple(fields))


BLOCK_TYPES: dict[int, BlockType] = {
    2: _block("Q4_0", 32, ("scale", 2), ("codes", 16)),
    3: _block("Q4_1", 32, ("scale", 2), ("min", 2), ("codes", 16)),
    6: _block("Q5_0", 32, ("scale", 2), ("high_bits", 4), ("codes", 16)),
    7: _block("Q5_1", 32, ("scale", 2), ("min", 2), ("high_bits", 4), ("codes", 16)),
    8: _block("Q8_0", 32, ("scale", 2), ("codes", 32)),
    9: _block("Q8_1", 32, ("scale", 2), ("sum", 2), ("codes", 32)),
    10: _block("Q2_K", 256, ("scales", 16), ("codes", 64), ("scale", 2), ("min", 2)),
    11: _block("Q3_K", 256, ("high_bits", 32), ("codes", 64), ("scales", 12), ("scale", 2)),
    12: _block("Q4_K", 256, ("scale", 2), ("min", 2), ("scales", 12), ("codes", 128)),
    13: _block("Q5_K", 256, ("scale", 2), ("min", 2), ("scales", 12), ("high_bits", 32), ("codes", 128)),
    14: _block("Q6_K", 256, ("codes", 128), ("high_bits", 64), ("scales", 16), ("scale", 2)),
    15: _block("Q8_K", 256, ("scale", 4), ("codes", 256), ("sum", 32)),
    16: _block("IQ2_XXS", 256, ("scale", 2), ("codes", 64)),
    17: _block("IQ2_XS", 256, ("scale", 2), ("codes", 64), ("scales", 8)),
    18: _block("IQ3_XXS", 256, ("scale", 2), ("codes", 64), ("scales", 32)),
    19: _block("IQ1_S", 256, ("scale", 2), ("codes", 32), ("high_bits", 16)),
    20: _block("IQ4_NL", 32, ("scale", 2), ("codes", 16)),
    21: _block("IQ3_S", 256, ("scale", 2), ("codes", 64), ("high_bits", 8), ("signs", 32), ("scales", 4)),
    22: _block("IQ2_S", 256, ("scale", 2), ("codes", 32), ("signs", 32), ("high_bits", 8), ("scales", 8)),
    23: _block("IQ4_XS", 256, ("scale", 2), ("scales", 6), ("codes", 128)),
    29: _block("IQ1_M", 256, ("codes", 32), ("high_bits", 16), ("scales", 8)),
    34: _block("TQ1_0", 256, ("codes", 48), ("high_bits", 4), ("scale", 2)),
    35: _block("TQ2_0", 256, ("codes", 64), ("scale", 2)),
    39: _block("MXFP4", 32, ("scale", 1), ("codes", 16)),
}


ELEMENTS_OF_BLOCK = {block.n_bytes: block.n_elements for block in BLOCK_TYPES.values()}
"""Elements of a block by its bytes; types whose blocks are equally long have equally many."""


def gguf_block_fields(name: str) -> tuple[BlockField, ...]:
    """Return the parts of a block of a quantized type ("Q4_1"), in the order of its bytes.

    Guarantee: they cover the block without gaps or overlaps.
    Raises: UnknownNameError naming the nearest.
    """
    known = {block.name: block.fields for block in BLOCK_TYPES.values()}
    if name not in known:
        raise UnknownNameError(
            f"no quantized GGUF type {name!r}{did_you_mean(name, known)} Known: {', '.join(known)}."
        )
    return known[name]
