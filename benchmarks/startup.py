"""Row 10: what `tersor --help` and `tersor inspect SMALL` take above a bare `python -c pass`.

Use: python benchmarks/startup.py      about a minute
Medians of 15 runs, interleaved, so that a busy machine slows all alike.
"""

from __future__ import annotations

import sys
from statistics import median

from common import TERSOR, Table, arguments, finish, run, tersor, work_folder

N_RUNS = 15
BOUNDS = {"tersor --help": 0.2, "tersor inspect SMALL": 0.35}


def main() -> None:
    options = arguments(__doc__)
    table = Table(f"Start-up, medians of {N_RUNS}", "command | seconds | above python | at most | ok")
    with work_folder(options.work) as work:
        (work / "small.txt").write_text("some text\n" * 200)
        tersor("pack", work / "small.txt", "-o", work / "small", "--json", "-q").json()
        commands = {
            "python -c pass": (sys.executable, "-c", "pass"),
            "tersor --help": (TERSOR, "--help"),
            "tersor inspect SMALL": (TERSOR, "inspect", work / "small"),
        }
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(N_RUNS):
            for name, command in commands.items():
                done = run(*command)
                if done.code:
                    sys.exit(done.stderr)
                seconds[name].append(done.seconds)
    bare = median(seconds["python -c pass"])
    table.add("python -c pass", f"{bare:.3f}", "", "", "")
    for name, bound in BOUNDS.items():
        above = median(seconds[name]) - bare
        ok = table.check(above <= bound, f"{name}: {above:.3f} s above python, at most {bound}")
        table.add(name, f"{median(seconds[name]):.3f}", f"{above:.3f}", bound, ok)
    finish(table)


if __name__ == "__main__":
    main()
