"""Row 10: integer codes, decoded with every instruction set, and how near a real file comes to their entropy.

Use: python benchmarks/codes.py                        about 2 minutes, one of them for compressing MiniLM to 3.2 bits
     python benchmarks/codes.py --archive FOLDER       an archive that exists, without compressing
Speed: one block of 2^18 codes in two streams, as the writer makes them, from memory to memory by way of tersor._core;
the cases take turns, 40 rounds, the best of each counts (the machine has other guests). Codes are Laplacian, 3.0 to 3.4
bits each. "32 symbols": one table. "classes": 64 symbols, every element with one of 20 tables by row and column.
"values": decoding and multiplying by the steps, into float32. The real file: bits that its
payloads take for each code, and the entropy of its codes given class (and trellis half), which no static code can beat.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import Table, arguments, finish, minilm, run, tersor, work_folder
from tersor.bench.isa import available_isas

ROWS, COLUMNS, TRELLIS_ROWS, ROUNDS = 682, 384, 64, 40
BOUNDS = {  # Gsymbol/s
    ("avx2", "32 symbols, one table"): 2.0,
    ("avx512", "32 symbols, one table"): 3.0,
    ("avx512", "classes and trellis"): 0.8,
}
MAX_EXCESS_BITS = 0.02


@dataclass(frozen=True, slots=True)
class Case:
    """What is coded. symbols: of each table; has_classes: 20 tables, or one."""

    name: str
    symbols: int
    has_classes: bool
    trellis_rows: int


CASES = (
    Case("32 symbols, one table", 32, False, 0),
    Case("64 symbols, one table", 64, False, 0),
    Case("classes", 64, True, 0),
    Case("classes and trellis", 64, True, TRELLIS_ROWS),
)


def actions_of(case: Case) -> dict[str, Callable[[], object]]:
    """Encode, decode and decode to values, each checked once."""
    import numpy as np

    from tersor import _core
    from tersor.layouts.grid import Grid, dequantize
    from tersor.layouts.grid_tables import FIRST_CLASS, N_CLASSES, RANGE, make_class_tables
    from tersor.layouts.tables import compile_tables

    rng = np.random.default_rng(0)
    rows = rng.integers(0, 11, ROWS, np.int32) * case.has_classes
    columns = rng.integers(0, 10, COLUMNS, np.int32) * case.has_classes
    width = 2.0 ** ((rows[:, None] + columns - 10.0 * case.has_classes) / 8)
    codes = np.rint(rng.laplace(0, 1.7 * width)).astype(np.int32)
    halves = 2 if case.trellis_rows else 1
    counts = np.zeros((halves, N_CLASSES, 2 * RANGE + 1), np.uint64)
    outside = np.zeros((halves, N_CLASSES), np.uint64)
    _core.count_codes(codes, rows, columns, case.trellis_rows, FIRST_CLASS, counts, outside)
    tables = compile_tables(make_class_tables("grid", counts, outside, case.symbols))
    decoded, values = np.empty_like(codes), np.empty(codes.shape, np.float32)
    zeros = np.zeros(ROWS, np.int16), np.zeros(COLUMNS, np.int16)
    grid = Grid(decoded, *zeros, rows, columns, case.trellis_rows)

    def encode() -> bytes:
        return bytes(_core.encode_codes(codes, rows, columns, case.trellis_rows, 2, 32, tables))

    payload = np.frombuffer(encode(), np.uint8)

    def decode() -> None:
        _core.decode_codes(payload, rows, columns, case.trellis_rows, tables, decoded)

    def decode_to_values() -> None:
        decode()
        dequantize(grid, values)

    decode()
    assert np.array_equal(decoded, codes)
    return {"encode": encode, "decode": decode, "values": decode_to_values}


def measure() -> dict[str, dict[str, float]]:
    """Gsymbol/s by case and action, with the instruction set of this process."""
    actions = {case.name: actions_of(case) for case in CASES}
    best: dict[str, dict[str, float]] = {name: dict.fromkeys(these, 0.0) for name, these in actions.items()}
    for _ in range(ROUNDS):
        for name, these in actions.items():
            for what, action in these.items():
                started = time.perf_counter()
                action()
                speed = ROWS * COLUMNS / (time.perf_counter() - started) / 1e9
                best[name][what] = max(best[name][what], speed)
    return best


def speeds() -> Table:
    """The speed of every instruction set of this machine, each in a process of its own."""
    table = Table(
        "Codes, Gsymbol/s", "ISA | codes | encode | decode | decode to float32 | bound of decode | ok"
    )
    for isa in available_isas():
        found: dict[str, dict[str, float]] = run(
            sys.executable, __file__, "--measure", "yes", environment={"TERSOR_ISA": isa}
        ).json()
        for name, speed in found.items():
            bound = BOUNDS.get((isa, name))
            ok = "" if bound is None else table.check(speed["decode"] >= bound, f"{isa}, {name}: {speed}")
            figures = (f"{speed[what]:.2f}" for what in ("encode", "decode", "values"))
            table.add(isa, name, *figures, bound or "", ok)
    return table


def grids_of(archive: Path) -> Iterator[tuple[Any, bytes, Any]]:
    """Every stored block of every grid of an archive: as a Grid, its payload, its entropy tables."""
    from tersor.archive.reader import open_archive
    from tersor.layouts.tables import compile_tables

    with open_archive(archive) as opened:
        for file in opened.files:
            for number, record in enumerate(file.index.tensors):
                if not file.layout_name(record).startswith("grid/"):
                    continue
                stored = file.tensor(number)
                decoder = stored._decoder
                for block in map(stored.table.block, range(len(stored.table))):
                    payload, crc = stored.payload(block.number), int(stored.table.checksums[block.number])
                    place = block.rows.start, block.columns.start
                    grid = decoder.decode_grid(payload, crc, *place, block.shape)
                    yield grid, bytes(payload), compile_tables(file.index.table_sets[decoder._meta.table_set])


def coded_bytes(grid: Any, payload: bytes, tables: Any) -> int:
    """Bytes that the codes of a block take in its payload: coded again, they are the payload's end."""
    from tersor import _core
    from tersor.layouts.geometry import choose_lanes, choose_streams

    n_streams = choose_streams(grid.codes.size)
    lanes = choose_lanes(grid.codes.size, n_streams)
    classes = grid.row_classes.astype("i4"), grid.column_classes.astype("i4")
    coded = _core.encode_codes(grid.codes, *classes, grid.trellis_rows, n_streams, lanes, tables)
    assert payload.endswith(coded)
    return len(coded)


class Entropy:
    """The entropy of codes given their class and trellis half."""

    REACH = 20_000  # codes beyond are left out: at 3 bits there are none

    def __init__(self) -> None:
        self._counts: dict[int, Any] = {}

    def add(self, grid: Any) -> None:
        import numpy as np

        from tersor import _core
        from tersor.layouts.grid_tables import FIRST_CLASS, N_CLASSES

        halves = 2 if grid.trellis_rows else 1
        if halves not in self._counts:
            self._counts[halves] = np.zeros((halves, N_CLASSES, 2 * self.REACH + 1), np.uint64)
        outside = np.zeros((halves, N_CLASSES), np.uint64)
        classes = grid.row_classes.astype("i4"), grid.column_classes.astype("i4")
        _core.count_codes(grid.codes, *classes, grid.trellis_rows, FIRST_CLASS, self._counts[halves], outside)

    def bits(self) -> float:
        import numpy as np

        bits = 0.0
        for counts in self._counts.values():
            for given in counts.reshape(-1, counts.shape[-1]):
                used = given[given > 0].astype(np.float64)
                bits -= float((used * np.log2(used / used.sum())).sum())
        return bits


def file_against_entropy(archive: Path) -> Table:
    """Coded bits of a real file's codes beside their entropy."""
    table = Table(
        "Codes of MiniLM at 3.2 bits a parameter",
        "codes | bits each in the file | entropy given class | above it | bound | ok",
    )
    entropy, n_codes, n_bytes = Entropy(), 0, 0
    for grid, payload, tables in grids_of(archive):
        n_codes += grid.codes.size
        n_bytes += coded_bytes(grid, payload, tables)
        entropy.add(grid)
    coded, least = 8 * n_bytes / n_codes, entropy.bits() / n_codes
    ok = table.check(coded - least <= MAX_EXCESS_BITS, f"{coded - least:.4f} bits above the entropy")
    table.add(f"{n_codes:,}", f"{coded:.4f}", f"{least:.4f}", f"{coded - least:.4f}", MAX_EXCESS_BITS, ok)
    return table


def main() -> None:
    options = arguments(__doc__, archive="a compressed model", measure="(for itself) print speeds as JSON")
    if options.measure:
        print(json.dumps(measure()))
        return
    table = speeds()
    with work_folder(options.work) as work:
        archive = Path(options.archive) if options.archive else work / "minilm"
        if not options.archive:
            tersor("compress", minilm(), "-o", archive, "--size", "0.1x", "--json", "-q").json()
        finish(table, file_against_entropy(archive))


if __name__ == "__main__":
    main()
