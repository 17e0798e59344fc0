"""Lossless: `pack` a checkpoint (or any folder or file) into an archive, `unpack` it byte for byte."""

from __future__ import annotations

from tersor.packing.packer import AUTO, LEVELS, pack
from tersor.packing.unpacker import unpack

__all__ = ["AUTO", "LEVELS", "pack", "unpack"]
