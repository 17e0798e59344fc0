"""What zipnn 0.5 makes of one file: prints {"n_bytes", "encode_seconds": [...], "decode_seconds": [...]}.

Use: PYTHON_WITH_ZIPNN benchmarks/zipnn_peer.py FILE bfloat16|float16|float32 RUNS      used by lossless.py
zipnn needs a torch of its own, so it lives in another environment than tersor: python -m venv zipnn-venv;
zipnn-venv/bin/pip install zipnn numpy; then ZIPNN_PYTHON=zipnn-venv/bin/python.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from zipnn import ZipNN


def main(path: str, dtype: str, n_runs: str) -> None:
    original = Path(path).read_bytes()
    coder = ZipNN(input_format="byte", bytearray_dtype=dtype)
    encode_seconds, decode_seconds = [], []
    for _ in range(int(n_runs)):
        data = bytearray(original)  # a copy: `compress` alters its input
        started = time.monotonic()
        packed = coder.compress(data)
        encode_seconds.append(time.monotonic() - started)
        started = time.monotonic()
        restored = coder.decompress(packed)
        decode_seconds.append(time.monotonic() - started)
        if bytes(restored) != original:
            sys.exit(f"zipnn does not restore {path}")
    print(
        json.dumps(
            {"n_bytes": len(packed), "encode_seconds": encode_seconds, "decode_seconds": decode_seconds}
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
