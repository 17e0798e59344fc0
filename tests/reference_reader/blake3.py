"""BLAKE3, hash mode, 32 bytes (the BLAKE3 paper, section 2), all chunks side by side in numpy."""

import numpy as np

IV = np.array(
    [0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19],
    np.uint32,
)
PERMUTATION = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8]
CHUNK_START, CHUNK_END, PARENT, ROOT = 1, 2, 4, 8
BLOCK_BYTES, CHUNK_BYTES, ROUNDS = 64, 1024, 7
COLUMNS_AND_DIAGONALS = [
    (0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
    (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14),
]  # fmt: skip


def _rotate_right(words: np.ndarray, count: int) -> np.ndarray:
    return words >> np.uint32(count) | words << np.uint32(32 - count)


def _mix(state: list[np.ndarray], places: tuple[int, int, int, int], x: np.ndarray, y: np.ndarray) -> None:
    a, b, c, d = places
    state[a] = state[a] + state[b] + x
    state[d] = _rotate_right(state[d] ^ state[a], 16)
    state[c] = state[c] + state[d]
    state[b] = _rotate_right(state[b] ^ state[c], 12)
    state[a] = state[a] + state[b] + y
    state[d] = _rotate_right(state[d] ^ state[a], 8)
    state[c] = state[c] + state[d]
    state[b] = _rotate_right(state[b] ^ state[c], 7)


def _compress(
    chaining: np.ndarray, words: np.ndarray, counters: np.ndarray, n_bytes: int, flags: int
) -> np.ndarray:
    """The next chaining values (n, 8) of n independent blocks of 16 words: one compression each."""
    n = len(words)
    state = [chaining[:, i] for i in range(8)] + [np.full(n, IV[i]) for i in range(4)]
    state += [(counters & 0xFFFFFFFF).astype(np.uint32), (counters >> 32).astype(np.uint32)]
    state += [np.full(n, n_bytes, np.uint32), np.full(n, flags, np.uint32)]
    message = [words[:, i] for i in range(16)]
    for _ in range(ROUNDS):
        for step, places in enumerate(COLUMNS_AND_DIAGONALS):
            _mix(state, places, message[2 * step], message[2 * step + 1])
        message = [message[i] for i in PERMUTATION]
    return np.stack([state[i] ^ state[i + 8] for i in range(8)], axis=1)


def _chunk_values(data: bytes, n: int, first: int, only_chunk: bool) -> np.ndarray:
    """The chaining values (n, 8) of n equally long chunks that fill `data`, numbered from `first`."""
    length = len(data) // n
    n_blocks = max(1, -(-length // BLOCK_BYTES))
    padded = np.zeros((n, n_blocks * BLOCK_BYTES), np.uint8)
    padded[:, :length] = np.frombuffer(data, np.uint8).reshape(n, length)
    words = padded.view("<u4").reshape(n, n_blocks, 16)
    counters = np.arange(first, first + n, dtype=np.int64)
    values = np.broadcast_to(IV, (n, 8))
    for block in range(n_blocks):
        is_last = block == n_blocks - 1
        flags = (CHUNK_START if block == 0 else 0) | (CHUNK_END if is_last else 0)
        flags |= ROOT if is_last and only_chunk else 0
        n_bytes = min(BLOCK_BYTES, length - block * BLOCK_BYTES)
        values = _compress(values, words[:, block], counters, n_bytes, flags)
    return values


def _parents(values: np.ndarray) -> np.ndarray:
    """One level up: neighbours are paired, an odd last value moves up as it is."""
    n_pairs = len(values) // 2
    words = values[: 2 * n_pairs].reshape(n_pairs, 16)
    flags = PARENT | (ROOT if len(values) == 2 else 0)
    keys = np.broadcast_to(IV, (n_pairs, 8))
    above = _compress(keys, words, np.zeros(n_pairs, np.int64), BLOCK_BYTES, flags)
    return np.concatenate([above, values[2 * n_pairs :]])


def blake3(data: bytes) -> bytes:
    """The 32-byte BLAKE3 hash of `data`."""
    data = bytes(data)
    n_full = len(data) // CHUNK_BYTES
    tail = data[n_full * CHUNK_BYTES :]
    n_chunks = max(1, n_full + bool(tail))
    levels = []
    if n_full:
        levels.append(_chunk_values(data[: n_full * CHUNK_BYTES], n_full, 0, n_chunks == 1))
    if tail or not n_full:
        levels.append(_chunk_values(tail, 1, n_full, n_chunks == 1))
    values = np.concatenate(levels)
    while len(values) > 1:
        values = _parents(values)
    return values[0].astype("<u4").tobytes()
