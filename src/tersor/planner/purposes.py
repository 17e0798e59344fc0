"""What the programs that shall run a model can take, tensor by tensor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tersor.calibrate.roles import ParameterRole
from tersor.types import TensorSpec

WHOLE_ROW = 0


@dataclass(frozen=True, slots=True)
class Purpose:
    """One program, or family of them.

    quantizes: kinds of parameters (of ParameterRole) that may be quantized; all others stay as they are.
    heads: a language model's head may be quantized.
    group_sizes: allowed columns per scale, the best first; WHOLE_ROW is a scale per row.
    bits: allowed widths of a code. fixed: options that are given.
    what: one line, for the plan.
    """

    name: str
    what: str
    quantizes: frozenset[str]
    heads: bool
    bits: tuple[int, ...]
    group_sizes: tuple[int, ...]
    fixed: Mapping[str, Any]

    def why_not(self, spec: TensorSpec, role: ParameterRole | None) -> str:
        """Why a tensor is kept as it is; "" if it may be quantized."""
        kind = "other" if role is None else role.kind
        if role is None or kind not in self.quantizes or len(spec.shape) != 2:
            return f"{self.name} takes it as it is ({kind})"
        if role.is_vocabulary and kind != "embedding" and not self.heads:
            return f"{self.name} takes it as it is (head over the vocabulary)"
        if not self.sizes_for(role.n_inputs):
            sizes = ", ".join(map(str, self.group_sizes))
            return f"{self.name} has groups of {sizes} columns, none divides {role.n_inputs}"
        return ""

    def sizes_for(self, columns: int) -> tuple[int, ...]:
        """The group sizes that fit a matrix of so many columns."""
        return tuple(size for size in self.group_sizes if size == WHOLE_ROW or columns % size == 0)


_LINEAR = frozenset({"linear", "conv1d"})

# vLLM: compressed-tensors pack-quantized, integers of 4 or 8 bits, scales in the model's 16-bit type.
# GGUF: Q4_0, Q5_0, Q8_0 (Q4_1, Q5_1 with zero points): blocks of 32 with a float16 scale.
# CPU: torch's _weight_int8pack_mm and dynamic int8 (a scale per row), _weight_int4pack_mm_for_cpu (groups).
_PURPOSES = (
    Purpose(
        "vllm",
        "group-quantized linear layers of 4 or 8 bits, all else as it is",
        _LINEAR,
        False,
        (4, 8),
        (128, 64, 32),
        {"granularity": "group", "scale_dtype": "float16", "max_code": None, "delta": None},
    ),
    Purpose(
        "gguf",
        "blocks of 32 weights of 4, 5 or 8 bits with a float16 scale",
        _LINEAR | {"embedding"},
        True,
        (4, 5, 8),
        (32,),
        {"granularity": "group", "scale_dtype": "float16", "max_code": None, "delta": None},
    ),
    Purpose(
        "cpu",
        "8 bits with a scale per row, or 4 bits in groups",
        _LINEAR | {"embedding"},
        True,
        (4, 8),
        (256, 128, 64, 32, WHOLE_ROW),
        {"granularity": "group", "max_code": None, "delta": None},
    ),
)
PURPOSES = {purpose.name: purpose for purpose in _PURPOSES}


def allows(purpose: Purpose, options: Mapping[str, Any]) -> bool:
    """Whether what a method makes with these options is in a layout of the purpose."""
    bits, size = options.get("bits"), options.get("group_size")
    if bits is not None and bits not in purpose.bits:
        return False
    if size is not None and size not in purpose.group_sizes:
        return False
    if purpose.name == "cpu" and bits is not None and size is not None:
        return bool((bits == 8) == (size == WHOLE_ROW))
    return all(options[name] == value for name, value in purpose.fixed.items() if name in options)
