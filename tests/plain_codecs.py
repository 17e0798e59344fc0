"""Decoders of `huffman` and `lzw` in plain Python, written from the format document, to check the real ones."""

from __future__ import annotations


def bits_of(data: bytes) -> list[int]:
    """Bits of `data`, lowest bit of each byte first."""
    return [byte >> k & 1 for byte in data for k in range(8)]


def decode_huffman(payload: bytes, n_out: int) -> bytes:
    if n_out == 0:
        return b""
    form, rest = payload[0], payload[1:]
    if form == 0:
        return rest * n_out
    lengths, rest = _code_lengths(rest)
    codes = _canonical_codes(lengths)
    sizes = []
    for _ in range(form - 1):
        size, rest = _varint(rest)
        sizes.append(size)
    decoded = b""
    for k in range(form):
        n_symbols = n_out * (k + 1) // form - n_out * k // form
        stream, rest = (rest[: sizes[k]], rest[sizes[k] :]) if k < form - 1 else (rest, b"")
        decoded += _huffman_stream(stream, codes, n_symbols)
    return decoded


def _code_lengths(data: bytes) -> tuple[dict[int, int], bytes]:
    nibbles = iter([half for byte in data for half in (byte & 15, byte >> 4)])
    lengths: dict[int, int] = {}
    symbol = n_read = 0
    while sum(2**-length for length in lengths.values()) < 1:
        nibble = next(nibbles)
        n_read += 1
        if 1 <= nibble <= 12:
            lengths[symbol] = nibble
            symbol += 1
        elif nibble == 0:
            symbol += 1
        elif nibble == 13:
            symbol += 2 + next(nibbles)
            n_read += 1
        else:
            symbol += 18 + next(nibbles) + 16 * next(nibbles)
            n_read += 2
    return lengths, data[(n_read + 1) // 2 :]


def _canonical_codes(lengths: dict[int, int]) -> dict[str, int]:
    codes: dict[str, int] = {}
    code = previous = 0
    for length, symbol in sorted((length, symbol) for symbol, length in lengths.items()):
        code <<= length - previous
        codes[format(code, f"0{length}b")] = symbol
        code, previous = code + 1, length
    return codes


def _varint(data: bytes) -> tuple[int, bytes]:
    value = shift = 0
    for at, byte in enumerate(data):
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, data[at + 1 :]
    raise AssertionError("varint has no end")


def _huffman_stream(stream: bytes, codes: dict[str, int], n_symbols: int) -> bytes:
    bits = bits_of(stream)
    assert 1 in bits[-8:]
    while bits.pop() == 0:  # zeros, then the mark of the end
        pass
    decoded, code = bytearray(), ""
    for bit in bits:
        code += str(bit)
        if code in codes:
            decoded.append(codes[code])
            code = ""
    assert code == ""
    assert len(decoded) == n_symbols
    return bytes(decoded)


def decode_lzw(payload: bytes, n_out: int) -> bytes:
    position, n_codes = 0, 0
    decoded, phrases, previous = bytearray(), [], b""
    while len(decoded) < n_out:
        largest = min(256 + n_codes, 65535)
        width = largest.bit_length()
        code = _bits(payload, position, width)
        position += width
        assert code <= largest
        if code == 256:
            phrases, previous, n_codes = [], b"", 0
            continue
        if code < 256:
            phrase = bytes([code])
        elif code - 257 < len(phrases):
            phrase = phrases[code - 257]
        else:
            phrase = previous + previous[:1]
        if n_codes > 0 and 256 + n_codes <= 65535:
            phrases.append(previous + phrase[:1])
        decoded += phrase
        previous, n_codes = phrase, n_codes + 1
    n_bits_left = 8 * len(payload) - position
    assert 0 <= n_bits_left < 8
    assert _bits(payload, position, n_bits_left) == 0
    return bytes(decoded)


def _bits(data: bytes, position: int, width: int) -> int:
    """Bits `position` to `position + width` of `data` as a number, the first one lowest."""
    piece = data[position // 8 : (position + width + 7) // 8]
    return int.from_bytes(piece, "little") >> position % 8 & ((1 << width) - 1)
