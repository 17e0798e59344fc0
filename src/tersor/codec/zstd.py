"""Codec `zstd`: one standard Zstandard frame (RFC 8878)."""

from __future__ import annotations

import threading
from typing import ClassVar

import zstandard

from tersor.codec.base import Buffer, input_bytes, output_bytes
from tersor.errors import CorruptError, UsageError

MAGIC = b"\x28\xb5\x2f\xfd"
MIN_LEVEL, MAX_LEVEL = 1, 19
MAX_WINDOW_BYTES = 8 << 20  # what level 19 uses; a reader that streams needs no more memory than this

_ZERO_BITS = (
    0b11000  # of the frame header's first byte: one is reserved, one unused, which zstd itself ignores
)

_of_thread = threading.local()


class Zstd:
    """Zstandard with the content size in the frame, without checksum and dictionary.

    level: 1..19 (default 3); higher is smaller and slower to encode, decoding is the same.
    Raises: UsageError for another level.
    """

    name: ClassVar[str] = "zstd"

    def __init__(self, level: int = 3) -> None:
        if not MIN_LEVEL <= level <= MAX_LEVEL:
            raise UsageError(f"zstd level {level} is not in {MIN_LEVEL}..{MAX_LEVEL}; the default is 3")
        self.level = level

    def encode(self, data: Buffer) -> bytes:
        """Return one frame, or nothing for no data."""
        view = input_bytes(data)
        if view.size == 0:
            return b""
        return _compressor(self.level).compress(view.data)

    def decode(self, payload: Buffer, out: memoryview) -> None:
        """Fill `out`. Raises: CorruptError, before allocating if the frame declares another size."""
        source, target = input_bytes(payload).data, output_bytes(out)
        if target.size == 0 and len(source) == 0:
            return
        _check_frame(source, target.size)
        try:
            content = zstandard.ZstdDecompressor().decompress(source, allow_extra_data=False)
        except zstandard.ZstdError as error:
            raise CorruptError(f"zstd payload: {error}; the file is damaged") from error
        if len(content) != target.size:
            raise CorruptError(f"zstd payload: decodes to {len(content)} bytes, needs {target.size}")
        target.data[:] = content


def _compressor(level: int) -> zstandard.ZstdCompressor:
    """Return the thread's compressor of a level: making one takes longer than coding some kilobytes."""
    compressors = _of_thread.__dict__
    if str(level) not in compressors:
        compressors[str(level)] = zstandard.ZstdCompressor(
            level=level, write_checksum=False, write_content_size=True, write_dict_id=False
        )
    compressor: zstandard.ZstdCompressor = compressors[str(level)]
    return compressor


def _check_frame(payload: memoryview, n_out: int) -> None:
    """Raise CorruptError unless `payload` starts with the header of a frame as `Zstd.encode` writes them."""
    if bytes(payload[:4]) != MAGIC:
        raise CorruptError(f"zstd payload: starts with {bytes(payload[:4]).hex()!r}, needs {MAGIC.hex()!r}")
    try:
        frame = zstandard.get_frame_parameters(payload)
    except zstandard.ZstdError as error:
        raise CorruptError(f"zstd payload: {error}; the file is damaged") from error
    if n_out == 0 or frame.content_size != n_out:
        raise CorruptError(f"zstd payload: the frame declares {frame.content_size} bytes, needs {n_out}")
    if frame.window_size > max(MAX_WINDOW_BYTES, n_out):
        raise CorruptError(
            f"zstd payload: window of {frame.window_size} bytes, at most {MAX_WINDOW_BYTES} allowed"
        )
    if frame.dict_id or frame.has_checksum:
        raise CorruptError("zstd payload: names a dictionary or a checksum, which tersor never writes")
    if payload[len(MAGIC)] & _ZERO_BITS:
        raise CorruptError("zstd payload: sets a bit of the frame header that must be 0; the file is damaged")
