"""Targets of source files: what is taken must restore the file byte for byte and read within it."""

from __future__ import annotations

import io
import os
import pickle
import tempfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from fuzz.target import Target
from tersor.errors import CorruptError
from tersor.sources import SOURCES
from tersor.sources.base import ExactSource
from tersor.sources.extents import StructureError
from tersor.sources.inert_pickle import InertUnpickler

MAX_READ_BYTES = 1 << 22
_NAMES = {"collections.OrderedDict", "torch._utils._rebuild_tensor_v2"}


def _parse_as(kind: str, suffix: str) -> Callable[[bytes], None]:
    """Open the bytes as a file of a kind, read all that is in it."""

    def parse(data: bytes) -> None:
        # In memory where the system has such a folder: each input is a file.
        memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
        with tempfile.NamedTemporaryFile(suffix=suffix, dir=memory) as file:
            file.write(data)
            file.flush()
            if data:  # an empty file is refused before its kind is asked for
                with SOURCES.get(kind)(Path(file.name)) as source:
                    _check(source, data)  # type: ignore[arg-type]  # all of these are exact

    return parse


def _check(source: ExactSource, data: bytes) -> None:
    for spec in source.specs:
        if spec.n_bytes <= MAX_READ_BYTES:
            array = source.read(spec.name)
            assert array.shape == spec.numpy_shape
            assert array.dtype == spec.numpy_dtype
    parts = b"".join(source.segment_bytes(segment) for segment in source.segments())
    assert parts == data, "the segments are the file"


def parse_pickle(data: bytes) -> None:
    """A pickle that must stay inert: names are only names, nothing is called."""
    try:
        InertUnpickler(memoryview(data), _NAMES, {"collections.OrderedDict"}).load()
    except StructureError as exc:
        raise CorruptError(str(exc)) from exc  # as the source that holds the pickle does


def pickle_seeds() -> list[bytes]:
    values = (
        {"a": (1, -2.5, None, True), "b": ["x" * 300, "é", 1 << 40]},
        OrderedDict(step=3, nested={"deep": [[[1]]]}),
        [(), (1,), (1, 2), (1, 2, 3), {}, [], -1, 1 << 31, 2.0],
    )
    return [pickle.dumps(value, protocol) for value in values for protocol in (2, 4)]


def safetensors_seeds() -> list[bytes]:
    arrays = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "b.c": np.ones(5, np.int8),
        "s": np.array(1.5),
    }
    return [save(arrays), save(arrays, {"format": "pt"}), save({"empty": np.zeros((0, 4), np.float16)})]


def zip_seeds() -> list[bytes]:
    made = []
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", compression) as archive:
            for name in ("a", "b"):
                array = io.BytesIO()
                np.save(array, np.arange(6, dtype=np.int16))
                archive.writestr(f"{name}.npy", array.getvalue())
        made.append(buffer.getvalue())
    return made


def _samples(*names: str) -> Callable[[], list[bytes]]:
    def seeds() -> list[bytes]:
        from sample_files import SAMPLES  # imports torch, which only these seeds need

        return [SAMPLES[name]() for name in names]

    return seeds


TARGETS = (
    Target("source_safetensors", _parse_as("safetensors", ".safetensors"), safetensors_seeds),
    Target("source_gguf", _parse_as("gguf", ".gguf"), _samples("model.gguf")),
    Target("source_onnx", _parse_as("onnx", ".onnx"), _samples("model.onnx")),
    Target("source_npz", _parse_as("npz", ".npz"), zip_seeds),
    Target("source_npy", _parse_as("npy", ".npy"), _samples("array.npy")),
    Target("source_torch_zip", _parse_as("torch-zip", ".bin"), _samples("model.bin")),
    Target("source_torch_stream", _parse_as("torch-stream", ".bin"), _samples("old.bin")),
    Target("source_pickle", parse_pickle, pickle_seeds),
)
