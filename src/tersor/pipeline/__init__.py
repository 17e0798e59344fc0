"""`compress`: a checkpoint, calibrated, quantized to a size or a loss, entropy coded and written as an archive."""

from __future__ import annotations

from tersor.pipeline.compression import compress

__all__ = ["compress"]
