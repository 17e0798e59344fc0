"""Write the missing goldens of codecs, tests/golden/codecs/NAME.json; never touches one that exists.

Use: python tests/conformance/make_codec_goldens.py
A golden is a promise: files of this version stay readable. A case holds the data and one payload of it, both in
hexadecimal; where a plain decoder exists (tests/plain_codecs.py), a test checks the payload with that one too.
"""

from __future__ import annotations

import json
from pathlib import Path

from tersor.codec import CODECS, make_codec
from tersor.codec.constant import is_constant

FOLDER = Path(__file__).parent.parent / "golden" / "codecs"


def skewed_bytes(n_bytes: int, n_symbols: int) -> bytes:
    """Return pseudo-random bytes with few large ones, the same on every machine."""
    state, data = 1, bytearray()
    for _ in range(n_bytes):
        state = (state * 1103515245 + 12345) % 2**31
        uniform = (state >> 16) / 2**15
        data.append(int(n_symbols * uniform**3))
    return bytes(data)


def golden_inputs() -> dict[str, bytes]:
    """Return named data, each within a few kilobytes, that together reach every form of the codecs."""
    return {
        "empty": b"",
        "one byte": b"a",
        "one symbol": b"\xff" * 300,
        "word": b"abracadabra",
        "two symbols": b"ab" * 20,
        "all symbols": bytes(range(256)),
        "skewed, short": skewed_bytes(200, 40),
        "skewed, long": skewed_bytes(2000, 100),
        "every byte value, long": skewed_bytes(2500, 256),
    }


def golden_cases(name: str) -> list[dict[str, str]]:
    """Return what the golden of codec `name` holds."""
    inputs = {what: data for what, data in golden_inputs().items() if name != "constant" or is_constant(data)}
    return [
        {"what": what, "data": data.hex(), "payload": make_codec(name).encode(data).hex()}
        for what, data in inputs.items()
    ]


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in CODECS.names():
        path = FOLDER / f"{name}.json"
        if not path.exists():
            path.write_text(json.dumps({"codec": name, "cases": golden_cases(name)}, indent=1) + "\n")
            print(f"wrote {path}")


if __name__ == "__main__":
    main()
