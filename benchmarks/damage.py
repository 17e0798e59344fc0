"""Row 8: every single bit of small archives flipped, every truncation, through `verify`.

Use: python benchmarks/damage.py      about 10 minutes
Each damaged archive must be refused (problems found, or an error with exit code 3), or every tensor and restored file
must still be right. Those bits are listed; docs/limits.md says what they may be: a row length beyond the block's
words, or a zstd sequence that copies the same bytes from another place. In this process for speed; a sample goes
through the command for its exit code. Limits: 10 s for one verify; 256 MiB of address space and 48 MiB of memory more
than before the first.
Small files beside the archive (tokenizer) get one flipped bit in every byte: `verify` knows their hashes. config.json
is not damaged: users may edit it, so `verify` leaves it alone; the original is in the archive.
"""

from __future__ import annotations

import random
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from common import MIB, Table, arguments, finish, make_tiny_bert, python, tersor, tree, work_folder
from tersor.archive.reader import open_archive
from tersor.archive.verify import verify
from tersor.errors import CorruptError, TersorError
from tersor.packing import unpack

MAX_SECONDS = 10
MAX_ADDRESS_BYTES = 256 * MIB
MAX_PEAK_BYTES = 48 * MIB
N_COMMANDS = 12
# In another process: numpy's file writer would hide what verify allocates.
MAKE_WEIGHTS = """
import sys
import ml_dtypes, numpy as np
from safetensors.numpy import save_file
rng = np.random.default_rng(0)
save_file({
    "embed": (rng.standard_normal((40, 16)) * .05).astype(ml_dtypes.bfloat16),
    "dense": (rng.standard_normal((16, 16)) * .05).astype(np.float32),
    "norm": np.ones(16, np.float16), "ids": np.arange(32), "scalar": np.array(1.5, np.float32),
    "empty": np.zeros((0, 4), np.float32),
}, sys.argv[1])
"""

Contents = dict[str, tuple[str, tuple[int, ...], bytes]]


class UnexpectedError(Exception):
    """What must not happen to a reader."""


@dataclass(slots=True)
class Case:
    """One archive. folder: undamaged; damaged: its copy to damage; is_lossless: `unpack` restores it."""

    name: str
    folder: Path
    damaged: Path
    is_lossless: bool

    def archive_file(self) -> Path:
        (path,) = self.damaged.glob("*.tersor.safetensors")
        return path


def contents(folder: Path) -> Contents:
    """Every tensor that an archive gives: dtype, shape, bytes."""
    with open_archive(folder) as archive:
        return {n: (archive.specs[n].dtype, archive.specs[n].shape, a.tobytes()) for n, a in archive.items()}


def is_refused(case: Case) -> bool:
    """Whether `verify` finds the damage. Raises UnexpectedError if it fails otherwise than with exit code 3."""
    signal.alarm(MAX_SECONDS)
    try:
        return not verify(case.damaged)["ok"]
    except TersorError as exc:
        if exc.exit_code != CorruptError.exit_code:
            raise UnexpectedError(f"exit code {exc.exit_code}: {type(exc).__name__}: {exc}") from exc
        return True
    finally:
        signal.alarm(0)


def gives_the_same(case: Case, expected: Contents) -> bool:
    """Whether an archive that passed gives the right data."""
    if contents(case.damaged) != expected:
        return False
    if case.is_lossless:
        back = case.damaged.with_name("back")
        unpack(case.damaged, back)
        same = tree(back) == tree(case.damaged.with_name("model"))
        shutil.rmtree(back)
        return same
    return True


@dataclass(slots=True)
class Tally:
    """What became of the damaged archives. unused: places whose damage leaves all data right."""

    n: int = 0
    n_refused: int = 0
    unused: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    slowest: float = 0.0


def try_all(case: Case, path: Path, damages: Iterator[tuple[str, bytes]], expected: Contents) -> Tally:
    """Write each damaged content to `path` and verify; the original content is put back at the end."""
    original, tally = path.read_bytes(), Tally()
    for place, data in damages:
        path.write_bytes(data)
        tally.n += 1
        started = time.monotonic()
        try:
            if is_refused(case):
                tally.n_refused += 1
            elif gives_the_same(case, expected):
                tally.unused.append(place)
            else:
                tally.failures.append(f"{place}: passes and reads wrong")
        except UnexpectedError as exc:
            tally.failures.append(f"{place}: {exc}")
        tally.slowest = max(tally.slowest, time.monotonic() - started)
    path.write_bytes(original)
    return tally


def bit_flips(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Every bit of the data flipped, one at a time."""
    for bit in range(8 * len(data)):
        yield f"byte {bit // 8} bit {bit % 8}", flipped(data, bit)


def byte_flips(data: bytes) -> Iterator[tuple[str, bytes]]:
    """A bit of every byte."""
    for byte in range(len(data)):
        yield f"byte {byte}", flipped(data, 8 * byte + byte % 8)


def truncations(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Every shorter length."""
    for length in range(len(data)):
        yield f"length {length}", data[:length]


def flipped(data: bytes, bit: int) -> bytes:
    damaged = bytearray(data)
    damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


def make_cases(work: Path) -> list[Case]:
    """A compressed and two packed archives of a few KB, each with a copy to damage beside it."""
    model = make_tiny_bert(work / "compressed" / "model", hidden=8, layers=1)
    tersor("compress", model, "-o", work / "compressed" / "archive", "--size", "0.25x", "--json", "-q").json()
    small = work / "packed" / "model"
    small.mkdir(parents=True)
    (small / "text.dat").write_bytes(b"It was the best of times, it was the worst of times. " * 40)
    tersor("pack", small, "-o", work / "packed" / "archive", "--json", "-q").json()
    weights = work / "weights" / "model"
    weights.mkdir(parents=True)
    made = python(MAKE_WEIGHTS, weights / "model.safetensors")
    if made.code:
        sys.exit(made.stderr)
    tersor("pack", weights, "-o", work / "weights" / "archive", "--json", "-q").json()
    return [_case(work / name, name != "compressed") for name in ("compressed", "packed", "weights")]


def _case(folder: Path, is_lossless: bool) -> Case:
    shutil.copytree(folder / "archive", folder / "damaged")
    return Case(folder.name, folder / "archive", folder / "damaged", is_lossless)


def check(table: Table, case: Case) -> None:
    """All damage to one archive."""
    expected = contents(case.folder)
    archive = case.archive_file()
    others = [
        path
        for path in sorted(case.damaged.rglob("*"))
        if path.is_file() and path not in (archive, case.damaged / "config.json")
    ]
    kinds: list[tuple[str, Path, Callable[[bytes], Iterator[tuple[str, bytes]]]]] = [
        ("every bit flipped", archive, bit_flips),
        ("every truncation", archive, truncations),
        *(("a bit of every byte", path, byte_flips) for path in others),
    ]
    for kind, path, damage in kinds:
        data = path.read_bytes()
        tally = try_all(case, path, damage(data), expected)
        problems = "; ".join(tally.failures[:3]) or "none"
        ok = table.check(not tally.failures, f"{case.name}, {path.name}, {kind}: {problems}")
        unused = _ranges(tally.unused)
        table.add(
            case.name,
            f"{path.name} ({len(data):,} B)",
            kind,
            tally.n,
            tally.n_refused,
            unused,
            len(tally.failures),
            f"{tally.slowest:.2f}",
            ok,
        )


def _ranges(places: list[str]) -> str:
    """Places as text, those of one byte together."""
    by_byte: dict[str, list[str]] = {}
    for place in places:
        byte, _, bit = place.partition(" bit ")
        by_byte.setdefault(byte, []).append(bit)
    return "; ".join(f"{byte} bits {', '.join(bits)}" for byte, bits in by_byte.items()) or "none"


def check_commands(table: Table, case: Case, chance: random.Random) -> None:
    """A sample of damage through `tersor verify`: exit code 3 each time, unless the bit is unused."""
    path = case.archive_file()
    data = path.read_bytes()
    samples = [flipped(data, chance.randrange(8 * len(data))) for _ in range(N_COMMANDS)]
    samples += [data[: chance.randrange(len(data))] for _ in range(N_COMMANDS)]
    codes = []
    for sample in samples:
        path.write_bytes(sample)
        codes.append(tersor("verify", case.damaged, "-q").code)
    path.write_bytes(data)
    ok = table.check(
        set(codes) == {3}, f"{case.name}: `tersor verify` exits with {sorted(set(codes))}, needed 3"
    )
    table.add(
        case.name,
        path.name,
        "`tersor verify`, sample",
        len(codes),
        codes.count(3),
        "",
        len(codes) - codes.count(3),
        "",
        ok,
    )


def _too_slow(number: int, frame: object) -> None:
    raise UnexpectedError(f"verify took more than {MAX_SECONDS} s")


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def limit_address_space() -> None:
    """Let a wild allocation fail instead of succeed lazily."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MAX_ADDRESS_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))


def main() -> None:
    options = arguments(__doc__)
    columns = "archive | file | damage | tried | refused | unused (right data) | failures | slowest s | ok"
    table = Table("Damage", columns)
    signal.signal(signal.SIGALRM, _too_slow)
    with work_folder(options.work) as work:
        cases = make_cases(work)
        chance = random.Random(0)
        for case in cases:
            check_commands(table, case, chance)
        for case in cases:
            is_ok = not is_refused(case) and gives_the_same(case, contents(case.folder))
            table.check(is_ok, f"{case.name}: the undamaged archive is refused")
        limit_address_space()
        before = peak_bytes()
        for case in cases:
            check(table, case)
        grown = peak_bytes() - before
    ok = table.check(
        grown <= MAX_PEAK_BYTES, f"memory grew by {grown / MIB:.0f} MiB, at most {MAX_PEAK_BYTES / MIB:.0f}"
    )
    table.add(
        "all", "", "peak memory above an undamaged verify", "", "", "", f"{grown / MIB:.1f} MiB", "", ok
    )
    finish(table)


if __name__ == "__main__":
    main()
