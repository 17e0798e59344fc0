"""Row 13: mutated archives, hostile on purpose: every one must read as the original or be refused.

Use: python benchmarks/mutations.py                   20,000 archives, about 15 seconds
     python benchmarks/mutations.py --count 100000    the figure of the issue, about a minute
     python benchmarks/mutations.py --seed 7          other mutations
Kinds: flipped bits, truncations, overwritten runs, swapped and repeated blocks, forged values in the index *with all
checksums made right again*, deeply nested values, an index that unpacks to too much. Everything in an accepted file is
decoded. A failure is: an exception that is none of tersor's, other bytes than the original's where the file's own
hashes were not forged, more than 5 s, or more than 256 MiB of address space above the start.
"""

from __future__ import annotations

import copy
import random
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec

from common import MIB, Table, arguments, finish, work_folder

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from archives import every_dtype, small_lossy, write_archive
from damage import Parts, open_bytes
from tersor.archive.restore import file_bytes, tensor_bytes
from tersor.errors import TersorError
from tersor.packing import pack

MAX_SECONDS = 5
MAX_ADDRESS_BYTES = 256 * MIB
NUMBERS = (
    -1,
    0,
    1,
    2,
    7,
    31,
    32,
    255,
    256,
    1 << 16,
    1 << 20,
    (1 << 31) - 1,
    1 << 32,
    1 << 47,
    (1 << 48) - 1,
    (1 << 64) - 1,
)
OTHERS: tuple[Any, ...] = (
    None,
    True,
    0.5,
    "",
    "x",
    "dense/1",
    b"",
    b"\xff" * 9,
    b"\0" * 40,
    [],
    [0],
    {},
    {"a": 1},
)
Mutation = Callable[[bytes, random.Random], bytes]
Contents = dict[str, bytes]


class TooSlowError(Exception):
    """A reader that does not come back."""


def flip_bits(data: bytes, chance: random.Random) -> bytes:
    damaged = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 8))):
        bit = chance.randrange(8 * len(data))
        damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


def truncate(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data))]


def overwrite(data: bytes, chance: random.Random) -> bytes:
    begin, length = chance.randrange(len(data)), chance.randrange(1, 64)
    filler = chance.choice((chance.randbytes(length), bytes(length), b"\xff" * length))
    return data[:begin] + filler + data[begin + length :]


def swap_blocks(data: bytes, chance: random.Random) -> bytes:
    """Two runs of the streams change places; half the time one is put in the other's place."""
    parts = Parts.of(data)
    length = chance.randrange(1, max(len(parts.streams) // 2, 2))
    a, b = sorted(chance.sample(range(max(len(parts.streams) - length, 2)), 2))
    streams = bytearray(parts.streams)
    first, second = streams[a : a + length], streams[b : b + length]
    streams[b : b + len(second)] = first[: len(second)]
    if chance.random() < 0.5:
        streams[a : a + len(second)] = second
    parts.streams = bytes(streams[: len(parts.streams)])
    return parts.join()


def forge(data: bytes, chance: random.Random) -> bytes:
    """One to three values of the index replaced, every checksum right."""
    parts = Parts.of(data)
    for _ in range(chance.choice((1, 1, 2, 3))):
        holder, number = chance.choice(list(_places(parts.index)))
        old = holder[number]
        if isinstance(old, int) and chance.random() < 0.7:
            holder[number] = chance.choice((*NUMBERS, old + 1, old - 1, old * 2))
        elif isinstance(old, bytes) and old and chance.random() < 0.7:
            holder[number] = flip_bits(old, chance) if chance.random() < 0.7 else old[:-1]
        else:
            holder[number] = copy.deepcopy(chance.choice((*NUMBERS[:-1], *OTHERS)))
    return parts.join()


def nest(data: bytes, chance: random.Random) -> bytes:
    """A value of the index replaced by arrays or maps inside each other, to a great depth."""
    parts, depth = Parts.of(data), chance.choice((10, 500, 5000, 200_000))
    marker = b"\xc4\x08<<deep>>"
    raw = [
        (parts.index, 6),
        *((record, 3) for record in parts.index[4]),
    ]  # provenance and metas, kept undecoded
    holder, number = chance.choice(raw if chance.random() < 0.5 else list(_places(parts.index)))
    holder[number] = marker[2:]
    level = chance.choice((b"\x91", b"\x81\xa1a"))
    parts.index = msgspec.msgpack.encode(parts.index).replace(marker, level * depth + b"\xc0")
    return parts.join()


def forge_lengths(data: bytes, chance: random.Random) -> bytes:
    """Lengths that the header or the prefix claims; or an index of zeros that unpacks to far more than it takes."""
    parts = Parts.of(data)
    kind = chance.randrange(3)
    if kind == 0:
        parts.index_length = chance.choice(NUMBERS[1:-4])
    elif kind == 1:
        parts.index = bytes(chance.choice((1 << 16, 1 << 20, 1 << 24)))
    else:
        entry = chance.choice(
            [entry for name, entry in parts.header.items() if name not in ("__metadata__", "tersor.index")]
        )
        entry["data_offsets"][chance.randrange(2)] = chance.choice(NUMBERS)
    return parts.join()


KINDS: dict[str, tuple[Mutation, bool]] = {  # whether the file's own hashes may have been forged
    "flipped bits": (flip_bits, False),
    "truncated": (truncate, False),
    "overwritten": (overwrite, False),
    "swapped blocks": (swap_blocks, False),
    "forged index": (forge, True),
    "deep nesting": (nest, True),
    "forged lengths": (forge_lengths, True),
}


def _places(value: Any) -> Iterator[tuple[list[Any], int]]:
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield value, number
            yield from _places(item)


def read_all(data: bytes) -> Contents:
    """Decode every tensor, hash and file of an archive file."""
    found: Contents = {}
    with open_bytes(data) as archive:
        (file,) = archive.files
        file.index.provenance_dict()
        for name in archive:
            found[name] = archive.read(name).tobytes()
            b"".join(tensor_bytes(file, file.numbers[name]))
        for record in file.index.files:
            found[f"file {record.path}"] = b"".join(file_bytes(file, record))
    return found


def outcome(data: bytes, expected: Contents, may_differ: bool) -> str:
    """Return "refused", "same", "other, as forged", or what went wrong after "FAILED: "."""
    signal.alarm(MAX_SECONDS)
    try:
        found = read_all(data)
    except TersorError:
        return "refused"
    except (Exception, TooSlowError) as exc:  # noqa: BLE001 (to find every exception that should not be is the purpose)
        return f"FAILED: {type(exc).__name__}: {exc}"
    finally:
        signal.alarm(0)
    if found == expected:
        return "same"
    return "other, as forged" if may_differ else "FAILED: wrong bytes"


def make_originals(work: Path) -> list[bytes]:
    """A compressed archive, one of every dtype, and a packed file, a few KB each."""
    for name, tensors in (("lossy", small_lossy()), ("dtypes", every_dtype())):
        write_archive(work / name, tensors)
    (work / "text.txt").write_bytes(b"It was the best of times, it was the worst of times. " * 40)
    pack(work / "text.txt", work / "packed")
    return [path.read_bytes() for path in (work / "lossy", work / "dtypes", *(work / "packed").iterdir())]


def _too_slow(number: int, frame: FrameType | None) -> None:
    raise TooSlowError(f"more than {MAX_SECONDS} s")


def _limit_memory() -> None:
    with open("/proc/self/statm") as file:
        size = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MAX_ADDRESS_BYTES, resource.RLIM_INFINITY))


def main() -> None:
    options = arguments(__doc__, count="archives in all (default 20000)", seed="of the mutations (default 0)")
    count, chance = int(options.count or 20_000), random.Random(int(options.seed or 0))
    tallies: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    slowest = dict.fromkeys(KINDS, 0.0)
    failures: list[str] = []
    with work_folder(options.work) as work:
        originals = make_originals(work)
    expected = [read_all(data) for data in originals]
    signal.signal(signal.SIGALRM, _too_slow)
    _limit_memory()
    for number in range(count):
        kind = list(KINDS)[number % len(KINDS)]
        mutate, may_differ = KINDS[kind]
        which = chance.randrange(len(originals))
        data = mutate(originals[which], chance)
        started = time.monotonic()
        result = outcome(data, expected[which], may_differ)
        slowest[kind] = max(slowest[kind], time.monotonic() - started)
        tallies[kind][result.partition(":")[0]] += 1
        if result.startswith("FAILED"):
            failures.append(f"number {number}, {kind}: {result}")
    table = Table(
        f"{count:,} mutated archives",
        "mutation | archives | refused | same data | other, as forged | failed | slowest | ok",
    )
    for kind, tally in tallies.items():
        wrong = [failure for failure in failures if f", {kind}: " in failure]
        ok = table.check(not wrong, f"{kind}: {'; '.join(wrong[:5])}")
        figures = (tally[name] for name in ("refused", "same", "other, as forged", "FAILED"))
        table.add(kind, tally.total(), *figures, f"{1000 * slowest[kind]:.0f} ms", ok)
    finish(table)


if __name__ == "__main__":
    main()
