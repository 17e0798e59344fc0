"""llama.cpp's K- and I-quants with importance matrix, by ggml's own `ggml_quantize_chunk` of the xllamacpp wheel.

Vectors stay F32, as llama.cpp keeps them. Which tensor gets which type follows llama.cpp's mixtures
(llama_tensor_get_type in llama-quant.cpp; with importance matrix, less than four query heads to a key head, no
experts): more bits for value and second MLP matrices, Q6_K for the output head, less for queries and keys of IQ3_XXS.
An embedding that serves as head too takes the embeddings' type here, not the head's larger one. Where a row is no
multiple of the block of 256, llama.cpp would take a larger type; here blocks are laid over joined rows instead, which
is exactly the format's own size and so in its favour.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from tersor.bench.quality.peers import QualityJob, QualityPeer, Tensor, tensors_of, write_tensor

# ggml.h's enum ggml_type.
TYPES = {
    "q5_0": 6, "q8_0": 8, "q2_K": 10, "q3_K": 11, "q4_K": 12, "q5_K": 13, "q6_K": 14,
    "iq3_xxs": 18, "iq3_s": 21, "iq2_s": 22, "iq4_xs": 23,
}  # fmt: skip
BASE = {
    "Q8_0": "q8_0", "Q6_K": "q6_K", "Q5_K_M": "q5_K", "Q4_K_M": "q4_K", "IQ4_XS": "iq4_xs", "Q3_K_M": "q3_K",
    "IQ3_S": "iq3_s", "IQ3_XXS": "iq3_xxs", "Q2_K": "q2_K", "IQ2_M": "iq2_s",
}  # fmt: skip
_VALUE = re.compile(r"v_proj|\.value\.|attn_v")
_SECOND_MLP = re.compile(r"down_proj|(?<!attention)\.output\.dense|mlp\.c_proj|fc2")
_ATTENTION_OUTPUT = re.compile(r"o_proj|attention\.output\.dense|attn\.c_proj|out_proj")
_QUERY_OR_KEY = re.compile(r"[qk]_proj|\.(query|key)\.|attn_[qk]")
_QUERY_KEY_VALUE = re.compile(r"c_attn|qkv_proj|query_key_value")
_JOINED = {"Q3_K_M": "q4_K", "Q4_K_M": "q5_K", "Q5_K_M": "q6_K"}
"""Types of matrices that hold queries, keys and values."""
_LAYER = re.compile(r"\.(\d+)\.")


class _Traits(ctypes.Structure):
    """ggml.h's struct ggml_type_traits."""

    _fields_ = (
        ("type_name", ctypes.c_char_p),
        ("block_size", ctypes.c_int64),
        ("block_size_interleave", ctypes.c_int64),
        ("type_size", ctypes.c_size_t),
        ("is_quantized", ctypes.c_bool),
        ("to_float", ctypes.c_void_p),
        ("from_float_ref", ctypes.c_void_p),
    )


class Ggml(QualityPeer):
    """ggml through ctypes."""

    settings: ClassVar[Sequence[str]] = tuple(BASE)

    def __init__(self) -> None:
        from importlib.metadata import version
        from importlib.util import find_spec

        spec = find_spec("xllamacpp")
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError("no xllamacpp", name="xllamacpp")
        library = next(path for path in Path(spec.origin).parent.glob("*.so"))
        self.version = f"xllamacpp {version('xllamacpp')}"
        self._ggml = ctypes.CDLL(str(library))
        self._ggml.ggml_get_type_traits.restype = ctypes.POINTER(_Traits)
        self._ggml.ggml_quantize_chunk.restype = ctypes.c_size_t
        self._ggml.ggml_quantize_chunk.argtypes = [
            ctypes.c_int,
            *[ctypes.c_void_p] * 2,
            *[ctypes.c_int64] * 3,
            ctypes.c_void_p,
        ]

    def quantize(self, job: QualityJob) -> int:
        n_bytes = 0
        n_layers = 1 + max((_layer(tensor.name) for tensor in tensors_of(job)), default=0)
        for tensor in tensors_of(job):
            if tensor.values.ndim < 2 or tensor.role == "other":
                write_tensor(job, tensor.number, tensor.values)
                n_bytes += tensor.values.nbytes
                continue
            kind = choose_type(job.setting, tensor, n_layers)
            restored, size = self._round_trip(tensor, kind)
            write_tensor(job, tensor.number, restored)
            n_bytes += size
        return n_bytes

    def _round_trip(self, tensor: Tensor, kind: str) -> tuple[Any, int]:
        """Return the tensor as a type restores it, and its bytes in that type."""
        import numpy as np

        traits = self._ggml.ggml_get_type_traits(TYPES[kind]).contents
        if traits.type_name.decode().lower() != kind.lower():
            raise RuntimeError(f"type {TYPES[kind]} of this ggml is {traits.type_name!r}, needs {kind}")
        rows, columns = tensor.values.shape
        joined = 1
        while columns * joined % traits.block_size:
            joined *= 2
        padding = -rows % joined
        matrix = np.ascontiguousarray(np.pad(tensor.values, ((0, padding), (0, 0))), np.float32)
        n_rows, n_columns = (rows + padding) // joined, columns * joined
        coded = np.zeros(n_rows * n_columns // traits.block_size * traits.type_size, np.uint8)
        weights = None if tensor.importance is None else np.tile(tensor.importance, joined).astype(np.float32)
        address = None if weights is None else weights.ctypes.data
        n_coded = self._ggml.ggml_quantize_chunk(
            TYPES[kind], matrix.ctypes.data, coded.ctypes.data, 0, n_rows, n_columns, address
        )
        if n_coded != coded.nbytes:
            raise RuntimeError(f"{tensor.name}: ggml wrote {n_coded} bytes of {kind}, needs {coded.nbytes}")
        restored = np.empty((rows + padding, columns), np.float32)
        to_float = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)(traits.to_float)
        to_float(coded.ctypes.data, restored.ctypes.data, n_rows * n_columns)
        return restored[:rows], coded.nbytes


def choose_type(setting: str, tensor: Tensor, n_layers: int) -> str:
    """Return the type that llama.cpp's mixture gives a tensor of a model of so many layers (with importance matrix)."""
    base = BASE[setting]
    if tensor.role == "head":
        return "q8_0" if setting == "Q8_0" else "q5_K" if setting in ("IQ3_XXS", "IQ2_M") else "q6_K"
    if tensor.role == "embedding":
        return "iq3_s" if setting in ("IQ3_XXS", "IQ2_M") else base
    if setting in _JOINED and _QUERY_KEY_VALUE.search(tensor.name):
        return _JOINED[setting]
    layer = _layer(tensor.name)
    early = layer < n_layers // 8
    more_bits = early or layer >= 7 * n_layers // 8 or (layer - n_layers // 8) % 3 == 2
    is_value, is_second = bool(_VALUE.search(tensor.name)), bool(_SECOND_MLP.search(tensor.name))
    is_output = bool(_ATTENTION_OUTPUT.search(tensor.name))
    if setting in ("Q4_K_M", "Q5_K_M") and more_bits and (is_value or is_second):
        return "q6_K"
    if setting == "Q3_K_M":
        if is_value:
            return "q5_K" if layer < 2 else "q4_K"
        if is_second:
            return "q5_K" if layer < n_layers // 16 else "q4_K"
        return "q4_K" if is_output else base
    if setting == "Q2_K" and (is_value or is_second or is_output):
        return "q3_K"
    if setting == "IQ2_M" and (is_value or is_output or (is_second and early)):
        return "iq3_s"
    if setting == "IQ3_XXS" and is_output:
        return "iq3_s"
    if setting == "IQ3_XXS" and _QUERY_OR_KEY.search(tensor.name):
        return "iq2_s"
    return base


def _layer(name: str) -> int:
    found = _LAYER.search(name)
    return int(found.group(1)) if found else 0
