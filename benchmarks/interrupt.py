"""Row 9: compress interrupted by SIGINT and SIGKILL at random moments; a full disk; an output that exists.

Use: python benchmarks/interrupt.py      about 4 minutes; the full disk needs root (it mounts a small tmpfs)
The model is a random BERT of 41,000 parameters from tests/models.py, so that a run takes seconds.
After each interruption: the original's files have the same SHA-256, the output is absent, or whole (the bytes of an
undisturbed run). After the next undisturbed run: nothing but its output lies there.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common import (
    ENVIRONMENT,
    TERSOR,
    Table,
    arguments,
    finish,
    make_tiny_bert,
    run,
    tersor,
    tree,
    work_folder,
)

N_MOMENTS = 20
EXIT_INTERRUPTED, EXIT_USAGE, EXIT_FAILED = 130, 2, 1
SIZE = "0.2x"
SMALL_DISKS = {"compress": "64k", "pack": "64k"}  # less than either needs


def command(model: Path, out: Path) -> list[str]:
    return [TERSOR, "compress", str(model), "-o", str(out), "--size", SIZE, "--json", "-q"]


def interrupted(words: list[str], number: int, after_seconds: float) -> tuple[int, str]:
    """Run a command and send it a signal after a while; return its exit code and stderr."""
    child = subprocess.Popen(
        words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
    )
    time.sleep(after_seconds)
    if child.poll() is None:
        child.send_signal(number)
    _, errors = child.communicate()
    return child.returncode, errors


class Place:
    """A folder in which compress is interrupted again and again. whole: what an undisturbed run leaves."""

    def __init__(self, model: Path, folder: Path) -> None:
        self.model, self.folder, self.out = model, folder, folder / "out"
        folder.mkdir()
        started = time.monotonic()
        self.run_undisturbed()
        self.seconds = time.monotonic() - started
        self.whole, self.original = tree(self.out), tree(model)
        shutil.rmtree(self.out)

    def run_undisturbed(self) -> None:
        done = run(*command(self.model, self.out))
        if done.code:
            sys.exit(done.stderr)

    def strays(self) -> list[str]:
        """Names beside the output."""
        return sorted(path.name for path in self.folder.iterdir() if path != self.out)

    def state(self) -> str:
        """absent, whole, or what is wrong with the output or the original."""
        if tree(self.model) != self.original:
            return "ORIGINAL CHANGED"
        if not self.out.exists():
            return "absent"
        return "whole" if tree(self.out) == self.whole else "BROKEN"


def check_signal(table: Table, place: Place, number: signal.Signals, chance: random.Random) -> None:
    """Interrupt at N_MOMENTS moments spread over a run, then run undisturbed."""
    codes: Counter[int] = Counter()
    states: Counter[str] = Counter()
    most_strays = 0
    texts = set()
    for index in range(N_MOMENTS):
        moment = place.seconds * (index + chance.random()) / N_MOMENTS  # one in each twentieth of a run
        code, errors = interrupted(command(place.model, place.out), number, moment)
        codes[code] += 1
        states[place.state()] += 1
        most_strays = max(most_strays, len(place.strays()))
        texts |= set(errors.strip().splitlines())
        if number is signal.SIGINT:
            table.check(not place.strays(), f"SIGINT after {moment:.2f} s leaves {place.strays()}")
        if place.out.exists():
            shutil.rmtree(place.out)
    place.run_undisturbed()
    after = place.strays()
    allowed = {EXIT_INTERRUPTED, -number, 0} if number is signal.SIGINT else {-number, 0}
    holds = (
        set(states) <= {"absent", "whole"}
        and set(codes) <= allowed
        and not after
        and place.state() == "whole"
    )
    ok = table.check(
        holds, f"{number.name}: {dict(states)}, exit codes {dict(codes)}, left after the next run: {after}"
    )
    said = "; ".join(sorted(texts)[:3]) or "-"
    table.add(
        f"{number.name} at {N_MOMENTS} moments",
        _counts(codes),
        _counts(states),
        most_strays,
        after or "none",
        f"`{said[:160]}`",
        ok,
    )
    shutil.rmtree(place.out)


def _counts(counter: Counter[int] | Counter[str]) -> str:
    return ", ".join(f"{key}: {n}" for key, n in sorted(counter.items(), key=str))


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """A tmpfs of a few KB mounted at `folder`."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def check_full_disk(table: Table, model: Path, work: Path) -> None:
    """compress and pack onto a disk that is too small."""
    before = tree(model)
    if os.geteuid() != 0:
        table.add(
            "disk full",
            "",
            "not shown: mounting a tmpfs needs root",
            "",
            "",
            "",
            table.check(False, "disk full: run as root"),
        )
        return
    for verb, size in SMALL_DISKS.items():
        disk = work / f"disk-{verb}"
        with small_disk(disk, size):
            extra = ["--size", SIZE] if verb == "compress" else []
            done = tersor(verb, model, "-o", disk / "out", *extra, "-q")
            left = sorted(path.name for path in disk.iterdir())
        said = done.stderr.strip().splitlines()
        holds = done.code == EXIT_FAILED and not left and tree(model) == before and len(said) == 1
        ok = table.check(holds, f"{verb}, disk full: exit code {done.code}, left {left}, says {said}")
        state = "absent" if "out" not in left else "PRESENT"
        table.add(
            f"{verb}: disk full ({size} tmpfs)",
            done.code,
            state,
            len(left),
            left or "none",
            f"`{_short(said, disk)}`",
            ok,
        )


def check_existing(table: Table, place: Place) -> None:
    """An output that exists is not touched without --force, and a foreign folder not even with it."""
    place.run_undisturbed()
    done = run(*command(place.model, place.out))
    holds = done.code == EXIT_USAGE and place.state() == "whole" and not place.strays()
    said = done.stderr.strip().splitlines()
    ok = table.check(holds, f"output exists: exit code {done.code}, {place.state()}")
    table.add("output exists", done.code, place.state(), 0, "none", f"`{_short(said, place.folder)}`", ok)
    shutil.rmtree(place.out)
    place.out.mkdir()
    (place.out / "thesis.txt").write_text("years of work\n")
    before = tree(place.out)
    done = run(*command(place.model, place.out), "--force")
    holds = done.code == EXIT_USAGE and tree(place.out) == before
    said = done.stderr.strip().splitlines()
    ok = table.check(holds, f"foreign folder with --force: exit code {done.code}")
    table.add(
        "foreign folder exists, --force",
        done.code,
        "untouched" if holds else "CHANGED",
        0,
        "none",
        f"`{_short(said, place.folder)}`",
        ok,
    )


def _short(said: list[str], folder: Path) -> str:
    return (said[-1] if said else "").replace(str(folder), "FOLDER")[:200]


def main() -> None:
    options = arguments(__doc__)
    columns = "what | exit codes | output | most strays meanwhile | strays after the next run | says | ok"
    table = Table("compress, disturbed", columns)
    chance = random.Random(0)
    with work_folder(options.work) as work:
        model = make_tiny_bert(work / "model", hidden=32, layers=2)
        place = Place(model, work / "place")
        for number in (signal.SIGINT, signal.SIGKILL):
            check_signal(table, place, number, chance)
        check_existing(table, place)
        check_full_disk(table, model, work)
    finish(table)


if __name__ == "__main__":
    main()
