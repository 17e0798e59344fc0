"""Codec `rans`: order-0 entropy coding of bytes by interleaved alias rANS (docs/format-codecs.md).

The float and code streams of the layouts use the same coder with tables that the whole file shares; this
codec carries its table in each payload and knows nothing of dtypes.
"""

from __future__ import annotations

from typing import ClassVar

from tersor import _core
from tersor.codec.base import Buffer, input_bytes, output_bytes


class Rans:
    """Interleaved rANS (Duda, arXiv:1311.2540; Giesen, arXiv:1402.3392) over the alias method, 12-bit probabilities.

    Codes up to 127 different bytes with a frequency of their own, the rest as escapes; gains nothing on
    data whose bytes are nearly uniform.
    """

    name: ClassVar[str] = "rans"

    def encode(self, data: Buffer) -> bytes:
        return _core.rans_encode(input_bytes(data))

    def decode(self, payload: Buffer, out: memoryview) -> None:
        _core.rans_decode(input_bytes(payload), output_bytes(out))
